#!/bin/sh
# Writes target/rookery-VERSION.cdx.json: the crates that are in the binary, with versions and
# licences, as a CycloneDX 1.5 bill of materials.
set -eu
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
tool=0.5.9
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=rookery-$version.cdx

PATH=$tools/bin:$PATH
export PATH
if ! command -v cargo-cyclonedx >/dev/null 2>&1; then
    echo "== cargo-cyclonedx is missing: building version $tool into target/tools (about a minute)"
    cargo install --quiet --locked --debug --root "$tools" --target-dir "$tools/build" \
        "cargo-cyclonedx@$tool"
    rm -rf "$tools/build"
fi

# It writes one file for each crate of the workspace; the binary's has the others in it.
cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps --override-filename "$name"
mv "$name.json" "target/$name.json"
rm -f crates/*/"$name.json"
echo "== target/$name.json names $(grep -c '"purl"' "target/$name.json") crates"
