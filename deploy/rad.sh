#!/usr/bin/env bash
# Builds Radicle's own `rad`, `git-remote-rad` and `radicle-node`, of the release that the node embeds, into a cache kept
# by version, and prints the directory that holds them. Tests use them, and people who want `rad` beside `rhizome`, or
# `rhizome` attached to a `radicle-node` that is managed apart.
#
#   deploy/rad.sh           builds what is missing, then prints the directory
#   deploy/rad.sh --where   prints the directory, or fails when nothing is built there
set -euo pipefail

CLI_VERSION=0.23.0
REMOTE_HELPER_VERSION=0.18.1
NODE_VERSION=0.21.1

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
name=rad-$CLI_VERSION-$REMOTE_HELPER_VERSION-$NODE_VERSION
root=$cache/$name

built() { [ -x "$root/bin/rad" ] && [ -x "$root/bin/git-remote-rad" ] && [ -x "$root/bin/radicle-node" ]; }

case ${1:-} in
'') ;;
--where)
    built && printf '%s\n' "$root/bin" && exit 0
    printf 'rad is not built yet: run deploy/rad.sh\n' >&2
    exit 1
    ;;
*)
    printf 'usage: deploy/rad.sh [--where]\n' >&2
    exit 64
    ;;
esac

if ! built; then
    mkdir -p "$cache"
    exec 9>"$cache/$name.lock"
    flock 9 # another run may be building it: then it is there once the lock is ours
fi
if ! built; then
    cd "$repository" # for the pinned toolchain
    building=$cache/$name.building
    mkdir -p "$building"
    # --locked, since with newer dependencies this release does not compile; one target directory, since they share
    # most crates; it stays after a failure, so that the next try goes on from there
    CARGO_TARGET_DIR=$building/target CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 \
        cargo install --quiet --locked --debug --no-default-features --no-track --root "$building/out" \
        "radicle-cli@$CLI_VERSION" "radicle-remote-helper@$REMOTE_HELPER_VERSION" "radicle-node@$NODE_VERSION" \
        9>&- >&2
    rm -rf "$root"
    mv "$building/out" "$root"
    rm -rf "$building"
fi
printf '%s\n' "$root/bin"
