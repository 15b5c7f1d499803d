#!/usr/bin/env bash
# Checks everything: one line per stage with its seconds; at the first failure the end of that stage's log, and exit 1.
# A person and CI run the same. Needs Debian with Rust; the rest it installs as root, or says what to install.
#
#   tests/run.sh [--full] [--no-install] [--only STAGE]
#
#   --full         adds what takes longer: many more cases of each property, crash and simulation, the model of the claim
#                  protocol under all faults together, the sandbox under each layout of control groups, the vectors in a
#                  Weaviate, which takes minutes to build once and needs Go, and the demo from a release build
#   --no-install   says what is missing instead of installing it
#   --only STAGE   one of: install minilm rad servers format shell pure alone clippy docs build unit model integration
#                  skips cgroups demo
set -euo pipefail

STAGE_SECONDS_MAX=2400
FAILED_LOG_LINES=80
FULL_PROPERTY_CASES=4096
SEEDS_USUAL=20000
FULL_SEEDS=100000

cd "$(dirname "${BASH_SOURCE[0]}")/.."
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
cache=${RHIZOME_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rhizome}
export HOME CARGO_TERM_COLOR=never

full=no
install_flags=()
only=
while [ $# -gt 0 ]; do
    case $1 in
    --full) full=yes ;;
    --no-install) install_flags=(--check) ;;
    --only) only=${2:-} && shift ;;
    *) only=usage ;;
    esac
    shift
done
case $only in
'' | install | minilm | rad | servers | format | shell | pure | alone | clippy | docs | build | unit | model | integration | skips) ;;
cgroups | demo) full=yes ;;
*) sed -n '2,12s/^# \{0,1\}//p' "tests/run.sh" >&2 && exit 64 ;;
esac

if [ "${CI:-}" = true ]; then
    # a fresh clone is built with the dependencies that an earlier one has compiled
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target} CARGO_INCREMENTAL=0
fi
target=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
logs=$target/run-logs
mkdir -p "$logs"

# leaders of process groups: the running stage, and the build of `rad` beside it
child=
rad=
end_group() { [ -z "$1" ] || kill -KILL -- "-$1" 2>/dev/null || true; }
trap 'end_group "$child"; end_group "$rad"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

# report STAGE STATUS SECONDS: the stage's line, and when it failed the end of its log and of the run
report() {
    local log=$logs/$1.log seconds=$3
    case $2 in
    0) printf 'ok     %-12s %4d s\n' "$1" "$seconds" ;;
    124) printf 'FAILED %-12s %4d s: stopped at its time limit\n' "$1" "$seconds" ;;
    *) printf 'FAILED %-12s %4d s: exit %d\n' "$1" "$seconds" "$2" ;;
    esac
    # the test runner's own closing lines, by which a run is judged
    grep -E '^(running [0-9]+ tests?|test result: .*)$' "$log" || true
    [ "$2" -ne 0 ] || return 0
    tail -n "$FAILED_LOG_LINES" "$log"
    printf 'the whole log: %s\n' "$log"
    exit 1
}

# stage NAME COMMAND...: with no input, its output in a log; what it leaves running ends with it
stage() {
    local name=$1 started=$EPOCHSECONDS status=0
    shift
    wanted "$name" || return 0
    setsid timeout --kill-after=10 "$STAGE_SECONDS_MAX" "$@" </dev/null >"$logs/$name.log" 2>&1 &
    child=$!
    wait "$child" || status=$?
    end_group "$child"
    child=
    report "$name" "$status" $((EPOCHSECONDS - started))
}

# Radicle's own tools cost minutes of compiling once: that goes on beside the first stages, after them in priority
start_rad() {
    wanted rad || wanted integration || return 0
    rad_started=$EPOCHSECONDS
    setsid timeout --kill-after=10 "$STAGE_SECONDS_MAX" nice -n 15 deploy/rad.sh </dev/null >"$logs/rad.path" 2>"$logs/rad.log" &
    rad=$!
}
finish_rad() {
    local status=0
    [ -n "$rad" ] || return 0
    wait "$rad" || status=$?
    rad=
    # its own time, not that of the stages beside it
    report rad "$status" $(($(stat -c %Y "$logs/rad.path") - rad_started))
    RHIZOME_RAD_BIN=$(cat "$logs/rad.path")
    export RHIZOME_RAD_BIN
}

# The tests that were skipped are among those that tests/skips.txt expects, each as NAME: why
skips() {
    local test_logs=("$logs/unit.log" "$logs/integration.log") new
    sed -n 's/^skipped: \(\S*\): .*/\1/p' "${test_logs[@]}" | sort -u >"$logs/skips.seen"
    sed -n 's/^\([^# ]\S*\): .*/\1/p' tests/skips.txt | sort -u >"$logs/skips.expected"
    comm -13 "$logs/skips.seen" "$logs/skips.expected" | sed 's/^/listed, but not skipped here: /'
    new=$(comm -23 "$logs/skips.seen" "$logs/skips.expected")
    [ -n "$new" ] || return 0
    printf 'not in tests/skips.txt: %s\n' $new
    grep -h '^skipped: ' "${test_logs[@]}"
    return 1
}
export -f skips
export logs

packages=(build test)
model_flags=()
servers=(postgres milvus)
[ "$full" = no ] || { packages+=(vm) model_flags=(--full) servers+=(weaviate); }
stage install deploy/install.sh "${install_flags[@]}" "${packages[@]}"
if [ "${CI:-}" = true ] && [ -z "$only" ]; then
    # what an earlier clone has compiled of our own crates is of no use to this one, and would pile up
    cargo clean --quiet --locked -p rhizome -p rhizome-cobs -p rhizome-scheduler -p rhizome-vault
fi
stage minilm deploy/minilm.sh
if RHIZOME_MINILM_DIR=$(deploy/minilm.sh --where 2>/dev/null); then export RHIZOME_MINILM_DIR; fi
start_rad
# the vector stores of other products, for the tests of ours: installed once
stage servers bash -euo pipefail -c 'for product in "$@"; do tests/servers/$product.sh install; done' - "${servers[@]}"
stage format cargo fmt --all --check -- --color never
stage shell bash -c 'for script in .ci/run deploy/*.sh tests/*.sh tests/servers/*.sh tests/bench/*.sh; do bash -n "$script" || exit 1; done'
# the pure part of cobs by itself, then cobs by itself: in the workspace a dependency's missing feature would not show
stage pure cargo check --quiet --locked -p rhizome-cobs --no-default-features
stage alone cargo check --quiet --locked -p rhizome-cobs
stage clippy cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
stage docs env RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --workspace --no-deps --document-private-items
stage build cargo test --quiet --locked --workspace --no-run
export SEEDS=$SEEDS_USUAL
[ "$full" = no ] || export PROPTEST_CASES=$FULL_PROPERTY_CASES SEEDS=$FULL_SEEDS RHIZOME_TESTS_FULL=1
[ "$full" = no ] || stage ollama tests/servers/ollama.sh install
stage unit cargo test --locked --workspace --lib --bins
stage model tests/model.sh "${model_flags[@]}"
finish_rad
stage integration cargo test --locked --workspace --test '*'
stage skips bash -euo pipefail -c skips
[ "$full" = no ] || stage cgroups tests/cgroups.sh
[ "$full" = no ] || stage demo deploy/demo.sh
