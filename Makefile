# What one types here. `make` alone lists it.

# `make run PROFILE=release` builds the optimized server: about 6 minutes the first time.
PROFILE = dev
SERVER = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/rookery
ARGS =

.PHONY: help run test e2e image bench fuzz

help:
	@echo 'make run     build Rookery and serve on this machine (ARGS="--config FILE" and the like)'
	@echo 'make test    install what the tests need, say what that is, and run them all'
	@echo 'make e2e     run the tests that need a cluster: on a kind cluster of their own, or on yours'
	@echo 'make image   make the container image rookery:dev (IMAGE=name, BINARY=static binary built outside)'
	@echo '             and target/rookery-VERSION.cdx.json, the list of the crates in it'
	@echo 'make bench   measure Rookery and a Node Socket.IO server with the same clients, and what hostile ones can take'
	@echo 'make fuzz    fuzz what reads bytes from outside'

run:
	@SERVER=$(SERVER) PROFILE=$(PROFILE) scripts/announce_build.sh
	@cargo build --locked --profile $(PROFILE) --bin rookery
	@SERVER=$(SERVER) scripts/run.sh $(ARGS)

test:
	@tests/run.sh

e2e:
	@tests/e2e/run.sh $(ARGS)

image:
	@IMAGE='$(or $(IMAGE),rookery:dev)' BINARY='$(BINARY)' scripts/image.sh
	@scripts/sbom.sh

bench:
	@node bench/run.mjs $(ARGS)

fuzz:
	@fuzz/run.sh
