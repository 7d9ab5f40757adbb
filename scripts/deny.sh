#!/bin/sh
# Checks the dependencies against deny.toml: licences, banned crates, sources, and, where the
# database of advisories can be reached, known vulnerabilities.
set -eu
cd "$(dirname "$0")/.."

tools=target/tools
version=0.20.2
deny=$tools/bin/cargo-deny
if command -v cargo-deny >/dev/null 2>&1; then
    deny=cargo-deny
elif ! [ "$($deny --version 2>/dev/null)" = "cargo-deny $version" ]; then
    echo "== cargo-deny is missing: building version $version into $tools (about a minute)"
    if ! cargo install --quiet --locked --debug --root "$tools" --target-dir "$tools/build" \
        "cargo-deny@$version"; then
        echo "cargo-deny cannot be installed: the dependencies are not checked"
        exit 0
    fi
    rm -rf "$tools/build"
fi

# Everything that a build reads is in the lock file.
"$deny" --locked check bans licenses sources
if "$deny" --locked fetch db >/dev/null 2>&1; then
    "$deny" --locked check --disable-fetch advisories
else
    echo "the database of advisories cannot be reached: known vulnerabilities are not checked"
fi
