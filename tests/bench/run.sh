#!/usr/bin/env bash
# Measures what the README promises: builds the release binaries, starts real nodes, prints one table.
# A missed target is shown and does not change the exit status.
#
#   tests/bench/run.sh [--only AREA] [--json FILE]
#
#   --only AREA   one of: jobs ledger vault llm api scale failure
#   --json FILE   writes each row as a line of JSON: {area, name, value, unit, target, samples, baseline?}
#
# The vectors of the made corpus are kept in the cache, or in RHIZOME_BENCH_VECTORS, from the first run for the next.
set -euo pipefail

# all areas together; each has its own limit too
BENCH_SECONDS_MAX=10800

here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
arguments=()
while [ $# -gt 0 ]; do
    case $1 in
    --only) arguments+=("$1" "${2:-}") && shift ;;
    --json)
        case ${2:-} in
        /* | '') arguments+=("$1" "${2:-}") ;;
        *) arguments+=("$1" "$here/$2") ;;
        esac
        shift
        ;;
    *) sed -n '2,10s/^# \{0,1\}//p' tests/bench/run.sh >&2 && exit 64 ;;
    esac
    shift || true
done
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
cargo build --quiet --release --locked -p rhizome -p rhizome-vault --bin rhizome --example bench --example corpus
RHIZOME_MINILM_DIR=$(deploy/minilm.sh)
export RHIZOME_MINILM_DIR
# the vectors of the first run are those of the next: on two cores they take the better part of an hour
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
export RHIZOME_BENCH_VECTORS=${RHIZOME_BENCH_VECTORS:-$cache/bench-vectors.jsonl}
# by itself: what ships has no simulation in it
cargo build --quiet --release --locked -p rhizome-scheduler --example soak
exec timeout --kill-after=10 "$BENCH_SECONDS_MAX" "$target/release/examples/bench" "${arguments[@]}"
