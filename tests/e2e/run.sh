#!/bin/sh
# Runs tests/e2e on a real cluster: makes the image, loads it, applies an ingress controller and
# runs every file, or those that are named: tests/e2e/run.sh 02-scaling. The last line counts.
#
# Without anything set it creates a kind cluster and deletes it at the end (E2E_KEEP=1 leaves it).
#   KIND_NODE_IMAGE                 the node image that kind takes
#   KUBECONFIG and E2E_LOAD_IMAGE   a cluster that exists, and a command that gives an image
#                                   archive (its argument) to the nodes
#   E2E_INGRESS_URL                 how this machine reaches NodePort 30080 there [default: at a
#                                   node's address]
#   E2E_BINARY                      a static binary for the image [default: built here]
#   E2E_IMAGE                       the image's name in the cluster
#   E2E_TRAEFIK_IMAGE, E2E_REDIS_IMAGE, E2E_PROMETHEUS_IMAGE
#   E2E_EVIDENCE                    where logs and events of a failure go
set -eu
cd "$(dirname "$0")/../.."

E2E_IMAGE=${E2E_IMAGE:-rookery.local/rookery:e2e}
E2E_EVIDENCE=${E2E_EVIDENCE:-$PWD/target/e2e-evidence}
export E2E_IMAGE E2E_EVIDENCE
traefik=${E2E_TRAEFIK_IMAGE:-traefik:v3}
kind_name=rookery-e2e
http_port=${E2E_HTTP_PORT:-18080}

work=$(mktemp -d)
made_kind=
made_traefik=

say() { printf '\n== %s\n' "$*"; }
fail() {
    say "$*"
    exit 1
}
need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "$program is missing: the tests on a cluster need $*"
    done
}

leave() {
    status=$?
    trap - EXIT INT TERM
    if [ -z "${E2E_KEEP:-}" ]; then
        if [ -n "$made_kind" ]; then
            kind delete cluster --quiet --name "$kind_name" || true
        elif [ -n "$made_traefik" ]; then
            kubectl delete --wait=false -f "$work/traefik.yaml" >/dev/null || true
        fi
    fi
    rm -rf "$work"
    exit "$status"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The binary of the image: built here where it will run, else in a container.
make_image() {
    if [ -z "${E2E_BINARY:-}" ] && [ "$(uname -s)" = Linux ] && command -v cargo >/dev/null; then
        target=$(rustc -vV | sed -n 's/^host: //p')
        say "building the image's binary"
        RUSTFLAGS='-C target-feature=+crt-static' \
            cargo build --locked --profile e2e --target "$target" --bin rookery
        E2E_BINARY=${CARGO_TARGET_DIR:-target}/$target/e2e/rookery
    fi
    IMAGE=$E2E_IMAGE BINARY=${E2E_BINARY:-} scripts/image.sh
    E2E_IMAGE_ID=$(docker image inspect --format '{{.Id}}' "$E2E_IMAGE" | sed 's/^sha256://')
    export E2E_IMAGE_ID
    docker save --output "$work/image.tar" "$E2E_IMAGE"
}

find_cluster() {
    if [ -n "${KUBECONFIG:-}" ] && [ -n "${E2E_LOAD_IMAGE:-}" ]; then
        say "using the cluster of $KUBECONFIG"
        return
    fi
    need kind
    say "creating the kind cluster $kind_name"
    sed "s/E2E_HTTP_PORT/$http_port/" tests/e2e/fixtures/kind.yaml >"$work/kind.yaml"
    KUBECONFIG=$work/kubeconfig
    E2E_LOAD_IMAGE="kind load image-archive --name $kind_name"
    E2E_INGRESS_URL=${E2E_INGRESS_URL:-http://127.0.0.1:$http_port}
    export KUBECONFIG E2E_INGRESS_URL
    kind delete cluster --quiet --name "$kind_name" || true
    made_kind=1
    kind create cluster --name "$kind_name" --config "$work/kind.yaml" --wait 120s \
        ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"}
}

apply_ingress() {
    say "the ingress controller: $traefik"
    sed "s|E2E_TRAEFIK_IMAGE|$traefik|" tests/e2e/fixtures/traefik.yaml >"$work/traefik.yaml"
    kubectl get namespace traefik >/dev/null 2>&1 || made_traefik=1
    kubectl apply -f "$work/traefik.yaml"
    kubectl -n traefik rollout status deployment/traefik --timeout=180s
}

need docker kubectl helm node
tests/setup.sh
make_image
find_cluster
say "loading $E2E_IMAGE"
$E2E_LOAD_IMAGE "$work/image.tar"
apply_ingress
node tests/e2e/suite.mjs "$@"
