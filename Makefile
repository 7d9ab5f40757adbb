# What one types here. `make` alone lists it.

SERVER = target/release/rookery
ARGS =

.PHONY: help run test bench fuzz

help:
	@echo 'make run     build Rookery and serve on this machine (ARGS="--config FILE" and the like)'
	@echo 'make test    install what the tests need, say what that is, and run them all'
	@echo 'make bench   measure Rookery and a Node Socket.IO server with the same clients'
	@echo 'make fuzz    fuzz what reads bytes from outside'

run:
	@cargo build --release
	@SERVER=$(SERVER) scripts/run.sh $(ARGS)

test:
	@tests/run.sh

bench:
	@node bench/run.mjs $(ARGS)

fuzz:
	@fuzz/run.sh
