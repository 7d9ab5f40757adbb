#!/bin/sh
# Installs what the tests need and this machine lacks, and says what that is: Debian packages
# (as root only), Node packages in tests/clients, dashboards and examples, Python packages in tests/.venv.
set -eu
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

has cargo || {
    say "Rust is missing: install rustup, which reads rust-toolchain.toml"
    exit 1
}

wanted=
has redis-server || wanted="$wanted redis-server"
has "${CHROMIUM:-chromium}" || wanted="$wanted chromium"
has prometheus && has promtool || wanted="$wanted prometheus"
has node || wanted="$wanted nodejs"
has npm || wanted="$wanted npm"
has python3 || wanted="$wanted python3"
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || wanted="$wanted python3-venv"
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || wanted="$wanted libfaketime"

# A policy that starts no service: the tests start their own servers.
without_services() {
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    "$@"
    rm -f "$policy"
    trap - EXIT
}

if [ -n "$wanted" ]; then
    if ! has apt-get || [ "$(id -u)" -ne 0 ]; then
        say "the tests need these Debian packages:$wanted"
        say "install them (as root: apt-get install$wanted), then run this again"
        exit 1
    fi
    say "installing Debian packages:$wanted"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    without_services apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends $wanted
fi

if [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 18 ]; then
    say "Node $(node --version) is too old: the tests need 18 or later"
    exit 1
fi

for folder in tests/clients dashboards examples; do
    lock=$folder/package-lock.json
    stamp=$folder/node_modules/.installed
    if ! cmp -s "$lock" "$stamp"; then
        say "installing Node packages into $folder: $(node -p \
            'const { dependencies, devDependencies } = require("./'$folder'/package.json")
            Object.keys({ ...dependencies, ...devDependencies }).join(", ")')"
        (cd $folder && npm ci)
        cp "$lock" "$stamp"
    fi
done

requirements=tests/clients/requirements.txt
stamp=tests/.venv/installed
if ! cmp -s "$requirements" "$stamp"; then
    say "installing Python packages into tests/.venv: $(grep -v '^#' "$requirements" | tr '\n' ' ')"
    python3 -m venv --clear tests/.venv
    tests/.venv/bin/pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$stamp"
fi
