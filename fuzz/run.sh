#!/bin/sh
# Runs every fuzz target, or those in FUZZ_TARGETS, for FUZZ_SECONDS seconds (default 60), and prints a
# line with the result. Each begins with the kept corpus; what it finds besides is left in
# fuzz/target/corpus, and inputs that make it fail in fuzz/artifacts.
set -eu
cd "$(dirname "$0")"
# The flags that instrument the code are for nightly toolchains. With this, the repository's own takes
# them too, so that what is fuzzed was compiled as what is shipped.
export RUSTC_BOOTSTRAP=1
seconds=${FUZZ_SECONDS:-60}

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: installing it (cargo install --locked cargo-fuzz)"
    cargo install --locked cargo-fuzz
fi

failed=""
targets=${FUZZ_TARGETS:-$(cargo fuzz list)}
for target in $targets; do
    echo "fuzzing $target for $seconds s"
    mkdir -p "target/corpus/$target"
    cargo fuzz run "$target" "target/corpus/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 || failed="$failed $target"
done

if [ -n "$failed" ]; then
    echo "fuzz: FAILED:$failed"
    exit 1
fi
echo "fuzz: ok:" $targets "($seconds s each)"
