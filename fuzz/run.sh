#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS seconds (default 60) and prints a line with the result.
# Inputs that make a target fail are kept in fuzz/artifacts.
set -eu
cd "$(dirname "$0")"
seconds=${FUZZ_SECONDS:-60}

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is missing: installing it (cargo install cargo-fuzz)"
    cargo install --locked cargo-fuzz
fi

failed=""
targets=$(cargo +nightly fuzz list)
for target in $targets; do
    echo "fuzzing $target for $seconds s"
    cargo +nightly fuzz run "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -rss_limit_mb=2048 || failed="$failed $target"
done

if [ -n "$failed" ]; then
    echo "fuzz: FAILED:$failed"
    exit 1
fi
echo "fuzz: ok:" $targets "($seconds s each)"
