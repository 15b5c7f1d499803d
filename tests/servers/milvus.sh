#!/usr/bin/env bash
# A real Milvus Lite for tests, from its Python package, kept in a cache by version. It speaks Milvus's own protocol.
#
#   tests/servers/milvus.sh install         installs what is missing, then prints the directory
#   tests/servers/milvus.sh where           prints the directory, or fails when nothing is installed there
#   tests/servers/milvus.sh start DIR PORT  prints the URL and runs a server of its own with its data in DIR
set -euo pipefail

VERSION=3.2.2
# the server takes its messages from the client's package, of which it names no version
CLIENT_VERSION=3.0.2

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
root=$cache/milvus-lite-$VERSION-$CLIENT_VERSION

installed() { [ -f "$root/installed" ]; }

case ${1:-} in
install)
    if ! installed; then
        mkdir -p "$cache"
        exec 9>"$root.lock"
        flock 9 # another run may be installing it: then it is there once the lock is ours
    fi
    if ! installed; then
        # not beside and renamed: its scripts name the directory that they are in
        rm -rf "$root"
        python3 -m venv "$root" >&2
        "$root/bin/pip" install --quiet --disable-pip-version-check "milvus-lite==$VERSION" "pymilvus==$CLIENT_VERSION" >&2
        touch "$root/installed"
    fi
    printf '%s\n' "$root"
    ;;
where)
    installed && printf '%s\n' "$root" && exit 0
    printf 'there is no Milvus yet: run tests/servers/milvus.sh install\n' >&2
    exit 1
    ;;
start)
    printf 'milvus://127.0.0.1:%d\n' "$3"
    exec "$root/bin/milvus-lite" server --data-dir "$2" --host 127.0.0.1 --port "$3" >&2
    ;;
*)
    printf 'usage: tests/servers/milvus.sh install | where | start DIR PORT\n' >&2
    exit 64
    ;;
esac
