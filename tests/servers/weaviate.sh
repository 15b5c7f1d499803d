#!/usr/bin/env bash
# A real Weaviate for tests, built from its Go module and kept in a cache by version. Needs Go; the build takes minutes.
#
#   tests/servers/weaviate.sh install         builds what is missing, then prints the directory
#   tests/servers/weaviate.sh where           prints the directory, or fails when nothing is built there
#   tests/servers/weaviate.sh start DIR PORT  prints the URL and runs a server of its own with its data in DIR; it takes
#                                             the five ports after PORT too
set -euo pipefail

VERSION=v1.35.2

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
root=$cache/weaviate-$VERSION

built() { [ -x "$root/weaviate-server" ]; }

case ${1:-} in
install)
    if ! built; then
        mkdir -p "$cache"
        exec 9>"$root.lock"
        flock 9 # another run may be building it: then it is there once the lock is ours
    fi
    if ! built; then
        GOBIN=$root.new nice -n 15 go install "github.com/weaviate/weaviate/cmd/weaviate-server@$VERSION" >&2
        rm -rf "$root"
        mv "$root.new" "$root"
    fi
    printf '%s\n' "$root"
    ;;
where)
    built && printf '%s\n' "$root" && exit 0
    printf 'there is no Weaviate yet: run tests/servers/weaviate.sh install\n' >&2
    exit 1
    ;;
start)
    port=$3
    printf 'weaviate+http://127.0.0.1:%d\n' "$port"
    exec env PERSISTENCE_DATA_PATH="$2" AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED=true DEFAULT_VECTORIZER_MODULE=none \
        ENABLE_MODULES= DISABLE_TELEMETRY=true LOG_LEVEL=warning GO_PROFILING_DISABLE=true \
        CLUSTER_HOSTNAME=node1 CLUSTER_ADVERTISE_ADDR=127.0.0.1 CLUSTER_BIND_ADDR=127.0.0.1 RAFT_BOOTSTRAP_EXPECT=1 \
        CLUSTER_GOSSIP_BIND_PORT=$((port + 1)) CLUSTER_DATA_BIND_PORT=$((port + 2)) RAFT_PORT=$((port + 3)) \
        RAFT_INTERNAL_RPC_PORT=$((port + 4)) GRPC_PORT=$((port + 5)) \
        "$root/weaviate-server" --host 127.0.0.1 --port "$port" --scheme http >&2
    ;;
*)
    printf 'usage: tests/servers/weaviate.sh install | where | start DIR PORT\n' >&2
    exit 64
    ;;
esac
