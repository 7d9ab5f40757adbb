#!/bin/sh
# Runs every test: formatting, lints, Rust tests, stock clients, monitoring. The last line counts them.
# Exits with 1 when one failed, a step broke, or none ran.
set -u
cd "$(dirname "$0")/.."

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
passed=0
failed=0

# Runs a step and shows what it prints; $log/out keeps that, $status how it ended.
step() {
    printf '\n== %s\n' "$*"
    {
        "$@" 2>&1
        echo $? >"$log/status"
    } | tee "$log/out"
    status=$(cat "$log/status")
}

# Adds a step's tests. One that broke without a failed test counts as one failure.
count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    [ "$status" -eq 0 ] || [ "$2" -ne 0 ] || failed=$((failed + 1))
}

# The sum of what comes before a word in the lines that match: sum PATTERN WORD
sum() {
    sed -n "s/^$1.* \([0-9][0-9]*\) $2.*/\1/p" "$log/out" | awk '{ n += $1 } END { print n + 0 }'
}

finish() {
    if [ $((passed + failed)) -eq 0 ]; then
        failed=1
    fi
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
    exit
}

step tests/setup.sh
if [ "$status" -ne 0 ]; then
    exit "$status"
fi

step cargo fmt --check
count 0 0

step cargo clippy --locked --all-targets -- -D warnings
count 0 0

step scripts/deny.sh
count 0 0

step cargo test --locked --no-fail-fast
count "$(sum 'test result:' passed)" "$(sum 'test result:' failed)"

step cargo build --locked --bin rookery
count 0 0
if [ "$status" -ne 0 ]; then
    finish
fi

ROOKERY_BIN=${CARGO_TARGET_DIR:-$PWD/target}/debug/rookery
export ROOKERY_BIN
step node --test --test-concurrency=2 --test-reporter=spec tests/clients/*.test.mjs tests/monitoring/*.test.mjs
count "$(sed -n 's/^[^a-z]*pass \([0-9]*\)$/\1/p' "$log/out" | tail -n 1)" \
    "$(sed -n 's/^[^a-z]*fail \([0-9]*\)$/\1/p' "$log/out" | tail -n 1)"

finish
