#!/usr/bin/env bash
# The vault beside other products, on one machine, one after the other: qmd indexing and searching the same folder,
# sentence-transformers embedding the same passages on as many threads, and the remote stores searching the same vectors.
# Installs the others from npm and PyPI into a cache kept by version.
#
#   tests/bench/vault_peers.sh [--notes COUNT] [--passages COUNT]
set -euo pipefail

QMD_VERSION=2.8.3
NODE_VERSION=22.23.3
SENTENCE_TRANSFORMERS_VERSION=6.2.0
THREADS=2
RUNS=3

HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export HOME
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
notes=6000
passages=2000
while [ $# -gt 0 ]; do
    case $1 in
    --notes) notes=$2 && shift ;;
    --passages) passages=$2 && shift ;;
    *) sed -n '2,6s/^# \{0,1\}//p' tests/bench/vault_peers.sh >&2 && exit 64 ;;
    esac
    shift
done

# median: the middle one of the numbers on standard input
median() { sort -g | awk '{ number[NR] = $1 } END { print number[int((NR + 1) / 2)] }'; }
seconds() { # seconds COMMAND...: how long it took; one that fails ends the bench, since its time says nothing
    local began=$EPOCHREALTIME
    "$@" >/dev/null 2>"$work/said" || { printf '%s failed:\n' "$*" >&2 && cat "$work/said" >&2 && exit 1; }
    awk -v from="$began" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.2f\n", to - from }'
}

qmd=$cache/qmd-$QMD_VERSION
if [ ! -x "$qmd/node_modules/.bin/qmd" ]; then
    mkdir -p "$qmd"
    npm install --silent --no-audit --no-fund --prefix "$qmd" "node@$NODE_VERSION" "@tobilu/qmd@$QMD_VERSION" >&2
fi
transformers=$cache/sentence-transformers-$SENTENCE_TRANSFORMERS_VERSION
if [ ! -d "$transformers" ]; then
    python3 -m venv "$transformers.new"
    "$transformers.new/bin/pip" install --quiet --disable-pip-version-check \
        "sentence-transformers==$SENTENCE_TRANSFORMERS_VERSION" >&2
    mv "$transformers.new" "$transformers"
fi
model=$(deploy/minilm.sh)
cargo build --quiet --release --locked -p rhizome -p rhizome-vault --bin rhizome --examples
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
examples=$target/release/examples
rhizome=$target/release/rhizome
work=$(mktemp -d)
server=
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true; [ -z "$server" ] || kill -KILL -- "-$server" 2>/dev/null || true; rm -rf "$work"' EXIT
"$examples/corpus" "$work/vault" "$notes" 7 >/dev/null

# a word of the corpus, another in each run
word() { grep -rhoE '[a-z]{6,}' "$work/vault" | awk -v at="$(($1 * 997))" '{ word[NR] = $0 } END { print word[at % NR + 1] }'; }

export PATH=$qmd/node_modules/node/bin:$qmd/node_modules/.bin:$PATH
export XDG_CACHE_HOME=$work/qmd-cache XDG_CONFIG_HOME=$work/qmd-config
for run in $(seq "$RUNS"); do
    rm -rf "$XDG_CACHE_HOME" "$XDG_CONFIG_HOME" "$work/index"
    seconds qmd collection add "$work/vault" --name bench >>"$work/qmd.index"
    "$examples/index_speed" "$work/vault" "$work/index" | sed -n 's/^cold index \([0-9.]*\) s.*/\1/p' >>"$work/our.index"
    seconds qmd search "$(word "$run")" -n 10 >>"$work/qmd.search"
done
unset XDG_CACHE_HOME XDG_CONFIG_HOME

export RHIZOME_HOME=$work/home RAD_PASSPHRASE=
"$rhizome" init --alias bench >/dev/null
"$rhizome" up --vault "$work/vault" --set api.listen=127.0.0.1:0 --set node.listen=127.0.0.1:0 >"$work/log" 2>&1 &
daemon=$!
end=$((EPOCHSECONDS + 60))
until "$rhizome" vault status 2>/dev/null | grep -E '^index +ready$' >/dev/null; do
    if [ "$EPOCHSECONDS" -ge "$end" ]; then
        printf 'the vault was never indexed; the end of the log:\n' >&2
        tail -n 12 "$work/log" >&2
        exit 1
    fi
done
for run in $(seq "$RUNS"); do
    seconds "$rhizome" search "$(word "$run")" --limit 10 >>"$work/our.search"
done
kill "$daemon"
wait "$daemon" || true
daemon=
unset RHIZOME_HOME RAD_PASSPHRASE
printf '%-58s %10s s (median of %d)\n' "qmd $QMD_VERSION, $notes notes indexed by words" "$(median <"$work/qmd.index")" "$RUNS"
printf '%-58s %10s s (median of %d)\n' "rhizome, the same" "$(median <"$work/our.index")" "$RUNS"
printf '%-58s %10s s (median of %d)\n' "qmd search, a call of its command line" "$(median <"$work/qmd.search")" "$RUNS"
printf '%-58s %10s s (median of %d)\n' "rhizome search, the same" "$(median <"$work/our.search")" "$RUNS"

for _ in $(seq "$RUNS"); do
    "$examples/embed_speed" "$work/vault" "$model" "$passages" "$THREADS" "$work/passages.jsonl" >>"$work/our.embed"
    "$transformers/bin/python" tests/bench/sentence_transformers.py "$model" "$work/passages.jsonl" "$THREADS" \
        2>/dev/null >>"$work/their.embed"
done
ours=$(median <"$work/our.embed") theirs=$(median <"$work/their.embed")
printf '%-58s %10s passages/s (median of %d)\n' "sentence-transformers $SENTENCE_TRANSFORMERS_VERSION, $THREADS threads" "$theirs" "$RUNS"
printf '%-58s %10s passages/s (median of %d), %s times\n' "rhizome, the same passages" "$ours" "$RUNS" \
    "$(awk -v ours="$ours" -v theirs="$theirs" 'BEGIN { printf "%.2f", ours / theirs }')"

printf '\nvectors, one JSON object a line:\n'
"$examples/vector_speed" --quick
port=21700
for product in postgres milvus weaviate; do
    tests/servers/$product.sh where >/dev/null 2>&1 || { printf '%s is not installed: tests/servers/%s.sh install\n' "$product" "$product" && continue; }
    setsid tests/servers/$product.sh start "$work/$product" "$port" >"$work/$product.url" 2>"$work/$product.log" &
    server=$!
    for _ in {1..600}; do
        [ -s "$work/$product.url" ] && "$examples/vector_speed" "$(head -n 1 "$work/$product.url")" 2>/dev/null && break
        sleep 0.1
    done
    kill -KILL -- "-$server" 2>/dev/null || true
    server=
    port=$((port + 10))
done
