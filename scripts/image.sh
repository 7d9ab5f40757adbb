#!/bin/sh
# Makes the container image $IMAGE with docker. With BINARY, a static binary built outside goes
# into it, and nothing is pulled; else the binary is built in a container.
set -eu
cd "$(dirname "$0")/.."

image=${IMAGE:-rookery:dev}
binary=${BINARY:-}
bundle=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

say() { printf '== %s\n' "$*"; }
fail() {
    say "$*"
    exit 1
}

command -v docker >/dev/null || fail "docker is missing: install Docker, or set DOCKER_HOST and install its client"

if [ -z "$binary" ]; then
    say "building $image: cargo in a container, some minutes the first time"
    docker build --tag "$image" --build-arg "VERSION=$version" .
else
    [ -x "$binary" ] || fail "BINARY=$binary is no program"
    # A binary that needs a dynamic linker, which the image has not, names it near its beginning.
    ! head -c 4096 "$binary" | grep -q -a 'ld-linux\|ld-musl' ||
        fail "$binary is linked dynamically: build it with RUSTFLAGS='-C target-feature=+crt-static' and --target"
    [ -r "$bundle" ] || fail "no certificate authorities at $bundle: install ca-certificates, or name a file in CA_BUNDLE"
    say "making $image of $binary and the certificate authorities of $bundle"
    mkdir -p target/image-context
    cp "$binary" target/image-context/rookery
    cp "$bundle" target/image-context/ca-certificates.crt
    docker build --quiet --target prebuilt --tag "$image" --build-arg "VERSION=$version" . >/dev/null
fi

docker image inspect --format 'made {{index .RepoTags 0}}: {{.Size}} bytes, user {{.Config.User}}' "$image"
