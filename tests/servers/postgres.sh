#!/usr/bin/env bash
# A real PostgreSQL with pgvector for tests, from the Python package pgserver, kept in a cache by version.
#
#   tests/servers/postgres.sh install         installs what is missing, then prints the directory
#   tests/servers/postgres.sh where           prints the directory, or fails when nothing is installed there
#   tests/servers/postgres.sh start DIR PORT  prints the URL and runs a server of its own with its data in DIR
set -euo pipefail

VERSION=0.1.4

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
root=$cache/pgserver-$VERSION

binaries() { find "$root" -type d -path '*/pgserver/pginstall/bin' 2>/dev/null | grep . ; }

case ${1:-} in
install)
    if ! binaries >/dev/null; then
        mkdir -p "$cache"
        exec 9>"$root.lock"
        flock 9 # another run may be installing it: then it is there once the lock is ours
    fi
    if ! binaries >/dev/null; then
        rm -rf "$root.new"
        python3 -m venv "$root.new" >&2
        "$root.new/bin/pip" install --quiet --disable-pip-version-check --no-deps "pgserver==$VERSION" >&2
        rm -rf "$root"
        mv "$root.new" "$root"
    fi
    printf '%s\n' "$root"
    ;;
where)
    binaries >/dev/null && printf '%s\n' "$root" && exit 0
    printf 'there is no PostgreSQL yet: run tests/servers/postgres.sh install\n' >&2
    exit 1
    ;;
start)
    data=$2 port=$3
    bin=$(binaries)
    run=()
    if [ "$(id -u)" -eq 0 ]; then
        # PostgreSQL refuses to be root: in a user namespace it is somebody else, who owns the same files
        run=(bwrap --die-with-parent --unshare-user --uid 1000 --gid 1000 --dev-bind / /)
    fi
    if [ ! -d "$data/base" ]; then
        mkdir -p "$data"
        chmod 700 "$data"
        "${run[@]}" "$bin/initdb" --pgdata "$data" --auth trust --username tester --no-sync --encoding UTF8 --locale C >&2
    fi
    # one that was killed a moment ago must be gone, or the lock that it left counts
    for _ in {1..100}; do
        [ -f "$data/postmaster.pid" ] && kill -0 "$(head -n 1 "$data/postmaster.pid")" 2>/dev/null || break
        sleep 0.05
    done
    printf 'postgres://tester:not-asked@127.0.0.1:%d/postgres\n' "$port"
    exec "${run[@]}" "$bin/postgres" -D "$data" -p "$port" -k "$data" -c listen_addresses=127.0.0.1 \
        -c shared_buffers=32MB -c fsync=off >&2
    ;;
*)
    printf 'usage: tests/servers/postgres.sh install | where | start DIR PORT\n' >&2
    exit 64
    ;;
esac
