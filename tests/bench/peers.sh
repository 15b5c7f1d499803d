#!/usr/bin/env bash
# Runs the same jobs through Rhizome and through radicle-ci-broker with its native adapter, on one machine, one after the
# other, and prints one table. Builds what is missing: Rhizome here, the others by cargo into a cache kept by version.
#
#   tests/bench/peers.sh [--jobs N] [--json FILE]
#   tests/bench/peers.sh --vault   the vault beside qmd, sentence-transformers and remote vector stores instead
#   tests/bench/peers.sh --where   prints the directory of what was built of the others, or fails when nothing is there
set -euo pipefail

BROKER_VERSION=0.32.1
ADAPTER_VERSION=0.14.0
NODE_VERSION=0.21.1
PEERS_SECONDS_MAX=1800

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
name=peers-$BROKER_VERSION-$ADAPTER_VERSION-$NODE_VERSION
root=$cache/$name

built() { [ -x "$root/bin/cib" ] && [ -x "$root/bin/radicle-native-ci" ] && [ -x "$root/bin/radicle-node" ]; }

# build: all three, in one target directory, since they share crates; it stays after a failure, so that the next try goes
# on from there. --locked, since with newer dependencies radicle does not compile
build() {
    local building=$cache/$name.building package
    mkdir -p "$cache"
    exec 9>"$cache/$name.lock"
    flock 9 # another run may be building it: then it is there once the lock is ours
    ! built || return 0
    mkdir -p "$building"
    for package in "radicle-node@$NODE_VERSION --no-default-features" "radicle-ci-broker@$BROKER_VERSION" \
        "radicle-native-ci@$ADAPTER_VERSION"; do
        # shellcheck disable=SC2086 # the words after a package are its flags
        CARGO_TARGET_DIR=$building/target CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_DEBUG=0 \
            cargo install --quiet --locked --no-track --root "$building/out" $package 9>&- >&2 || {
            printf 'cargo cannot install %s; without it there is nothing to measure beside\n' "$package" >&2
            exit 1
        }
    done
    rm -rf "$root"
    mv "$building/out" "$root"
    rm -rf "$building"
}

arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --vault)
        cd "$here"
        exec "$(dirname "${BASH_SOURCE[0]}")/vault_peers.sh" "${@:2}"
        ;;
    --where)
        built && printf '%s\n' "$root/bin" && exit 0
        printf 'the peers are not built yet: run tests/bench/peers.sh\n' >&2
        exit 1
        ;;
    --jobs) arguments+=("$1" "${2:-}") && shift ;;
    --json)
        case ${2:-} in
        /* | '') arguments+=("$1" "${2:-}") ;;
        *) arguments+=("$1" "$here/$2") ;;
        esac
        shift
        ;;
    *) sed -n '2,7s/^# \{0,1\}//p' tests/bench/peers.sh >&2 && exit 64 ;;
    esac
    shift || true
done
built || (build)
rad=$(deploy/rad.sh)
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
cargo build --quiet --release --locked -p rhizome --bin rhizome --example bench
printf 'radicle-ci-broker %s, radicle-native-ci %s, radicle-node %s\n' \
    "$BROKER_VERSION" "$ADAPTER_VERSION" "$NODE_VERSION"
exec timeout --kill-after=10 "$PEERS_SECONDS_MAX" "$target/release/examples/bench" \
    --only peers --peers "$root/bin" --rad "$rad" "${arguments[@]}"
