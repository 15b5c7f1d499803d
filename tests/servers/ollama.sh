#!/usr/bin/env bash
# A real Ollama for tests with the sentence model of deploy/minilm.sh, built from its Go module and kept in a cache by version.
# Needs Go, a C++ compiler, Python and a processor with AVX2; the build takes minutes.
#
#   tests/servers/ollama.sh install         builds what is missing, then prints the directory
#   tests/servers/ollama.sh where           prints the directory, or fails when nothing is built there
#   tests/servers/ollama.sh start DIR PORT  runs a server of its own on the loopback, with DIR as its home; it has the model
#                                           `all-minilm`, and shares the store of models with others
set -euo pipefail

VERSION=v0.17.4
# a Go module has no folder called vendor, where these headers of the sources would be
HEADERS=(nlohmann-json3-dev libstb-dev)
PROCESSOR=x86-64-v3

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
root=$cache/ollama-$VERSION

built() { [ -x "$root/ollama" ] && [ -d "$root/store/manifests" ]; }

# serve ROOT HOME PORT: in place of this process
serve() {
    # two threads of a model starve each other on a busy machine, so the model says one; nothing is fetched by itself
    exec env HOME="$2" OLLAMA_HOST="127.0.0.1:$3" OLLAMA_MODELS="$1/store" OLLAMA_NO_CLOUD=1 OLLAMA_CONTEXT_LENGTH=2048 \
        OLLAMA_NOPRUNE="${4:-}" "$1/ollama" serve >&2
}

# headers DIR: those that are missing, from Debian's packages, without installing these
headers() {
    local folder=$1
    mkdir -p "$folder"
    (cd "$folder" && apt-get -qq download "${HEADERS[@]}") || {
        printf 'no %s to be had: run apt-get update first\n' "${HEADERS[*]}" >&2
        return 69
    }
    for package in "$folder"/*.deb; do
        dpkg-deb -x "$package" "$folder"
    done
}

# import ROOT: the model, by a server that runs only for this
import() {
    local server port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    mkdir -p "$1/store" "$1/home"
    (serve "$1" "$1/home" "$port" 1) &
    server=$!
    trap 'kill "$server" 2>/dev/null || true' EXIT
    python3 "$repository/tests/servers/ollama/import.py" "http://127.0.0.1:$port" all-minilm "$("$repository/deploy/minilm.sh")"
    kill "$server"
    wait "$server" || true
    trap - EXIT
}

case ${1:-} in
install)
    if ! built; then
        mkdir -p "$cache"
        exec 9>"$root.lock"
        flock 9 # another run may be building it: then it is there once the lock is ours
    fi
    if ! built; then
        building=$root.building
        mkdir -p "$building"
        if [ ! -x "$building/ollama" ]; then
            headers "$building/headers" >&2
            include="-I$repository/tests/servers/ollama/include -I$building/headers/usr/include"
            flags="-O2 -march=$PROCESSOR"
            GOBIN=$building CGO_ENABLED=1 CGO_CPPFLAGS=$include CGO_CFLAGS=$flags CGO_CXXFLAGS=$flags nice -n 15 \
                go install -trimpath -ldflags="-s -w -X github.com/ollama/ollama/version.Version=${VERSION#v}" \
                "github.com/ollama/ollama@$VERSION" 9>&- >&2
        fi
        import "$building" 9>&- >&2
        rm -rf "$root" "$building/headers" "$building/home"
        mv "$building" "$root"
    fi
    printf '%s\n' "$root"
    ;;
where)
    built && printf '%s\n' "$root" && exit 0
    printf 'there is no Ollama yet: run tests/servers/ollama.sh install\n' >&2
    exit 1
    ;;
start)
    mkdir -p "$2"
    serve "$root" "$2" "$3"
    ;;
*)
    printf 'usage: tests/servers/ollama.sh install | where | start DIR PORT\n' >&2
    exit 64
    ;;
esac
