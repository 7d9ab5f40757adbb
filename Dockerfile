# The image: one static binary, the certificate authorities, and nothing else.
#
#   docker build -t rookery:dev .                      builds the binary too; needs BuildKit
#   make image BINARY=path/to/rookery                  takes a static binary built outside
#
# The stages that take a binary come first, so that a builder which works through the file from
# the top (the one before BuildKit) pulls nothing for them.

FROM scratch AS base
ARG VERSION=dev
LABEL org.opencontainers.image.title="rookery" \
      org.opencontainers.image.description="A Socket.IO server for Kubernetes, and its operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY scripts/image/passwd /etc/passwd
USER 65532:65532
ENTRYPOINT ["/rookery"]

FROM base AS prebuilt
COPY target/image-context/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY target/image-context/rookery /rookery

# Linked against glibc, statically: an idle connection takes less memory with its allocator than
# with others (docs/architecture.md), and getaddrinfo asks DNS without an nsswitch.conf.
# The digest is that of the index of all platforms; `docker buildx imagetools inspect rust:1.95-bookworm`
# prints the latest one.
FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
WORKDIR /build
# Puts the list of crates into the binary, for scanners of images (`cargo audit bin`).
RUN cargo install --locked --root /usr/local cargo-auditable@0.7.7
ENV RUSTFLAGS="-C target-feature=+crt-static"
# The dependencies, in a layer that lasts until one of them changes. The target is named so that
# the flags are not those of build scripts and macros, which cannot be static.
COPY Cargo.toml Cargo.lock ./
COPY crates/backoff/Cargo.toml crates/backoff/
COPY crates/client/Cargo.toml crates/client/
COPY crates/config/Cargo.toml crates/config/
COPY crates/operator/Cargo.toml crates/operator/
COPY crates/ops/Cargo.toml crates/ops/
COPY crates/policy/Cargo.toml crates/policy/
COPY crates/protocol/Cargo.toml crates/protocol/
COPY crates/server/Cargo.toml crates/server/
RUN rustc -vV | sed -n 's/^host: //p' >host \
 && mkdir src && echo 'fn main() {}' >src/main.rs \
 && for crate in crates/*; do mkdir "$crate/src" && touch "$crate/src/lib.rs"; done \
 && cargo auditable build --locked --profile image --target "$(cat host)" --bin rookery
COPY charts/rookery/rules charts/rookery/rules
COPY crates crates
COPY src src
RUN touch src/main.rs crates/*/src/lib.rs \
 && cargo auditable build --locked --profile image --target "$(cat host)" --bin rookery \
 && mv "target/$(cat host)/image/rookery" /rookery

FROM base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /rookery /rookery
