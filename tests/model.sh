#!/usr/bin/env bash
# Checks the claim protocol, scheduler/model/claim.pml, with spin: every order of events under each fault by itself, and that
# each rule broken on purpose is caught by the check named here. One line per configuration; exit 1 if any went wrong, which
# includes a search that was cut short. Needs spin and gcc.
#
#   tests/model.sh [--full] [NAME...]
#
#   --full    also all the faults together, with one crash and with two
#   NAME...   only these configurations: the first word of their lines
set -euo pipefail

AT_ONCE=2
# of one fault at a time; processor time of all together is what two cores have in 90 s, however busy the machine is
MEMORY_MIB=1900 # of each search: two of them and two compilers stay below 4 GiB
SEARCH_SECONDS_MAX=90
PROCESSOR_SECONDS_MAX=180
# of all faults together
FULL_MEMORY_MIB=11500
FULL_SECONDS_MAX=1800
DEPTH_MAX=100000

CRASH_ARBITER=1 CRASH_WORKER=2 STEPDOWN=4 TAKEOVER=8 PARTITION=16

cd "$(dirname "${BASH_SOURCE[0]}")/.."
model=$PWD/scheduler/model/claim.pml
full=no
names=()
for word in "$@"; do
    case $word in
    --full) full=yes ;;
    -*) sed -n '2,9s/^# \{0,1\}//p' tests/model.sh >&2 && exit 64 ;;
    *) names+=("$word") ;;
    esac
done
for tool in spin gcc; do
    command -v "$tool" >/dev/null || { printf 'no %s here: deploy/install.sh build test installs it\n' "$tool" >&2 && exit 69; }
done

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# search DIRECTORY OPTIMISE MEMORY SECONDS DEFINITION...: the search's report, in `report` there
search() {
    cd "$1"
    spin "${@:5}" -a "$model" >report 2>&1 && [ ! -s report ] || return 0
    gcc "$2" -w -DSAFETY -DNOREDUCE "-DMEMLIM=$3" -o pan pan.c >report 2>&1 || return 0
    # -E: that nothing happens any more is no error by itself, Progress is a check of the model
    timeout "$4" ./pan -E "-m$DEPTH_MAX" -w22 >report 2>&1 || printf 'exit %d\n' $? >>report
}

# verdict REPORT CHECK: what the search says, `ok` or `caught` if that is what was to be; CHECK is empty if nothing is broken
verdict() {
    local violated
    violated=$(sed -n 's/^pan:1: assertion violated \(\S*\).*/\1/p' "$1")
    if [ -n "$2" ] && [ "$violated" = "$2" ]; then
        printf 'caught by %s' "$2"
    elif [ -n "$violated" ]; then
        printf 'FAILED: violates %s' "$violated"
    elif ! grep -q '^Full statespace search for:' "$1" || ! grep -q 'errors: 0$' "$1" ||
        grep -qE 'Search not completed|max search depth too small|^exit ' "$1"; then
        printf 'FAILED: not exhaustive: %s' "$(grep -E '^(exit|error|pan:|spin:)|limit|MEMLIM|Error' "$1" | head -1)"
    elif [ -n "$2" ]; then
        printf 'FAILED: not caught by %s' "$2"
    else
        printf 'ok'
    fi
}

# configuration NAME FAULTS [BROKEN CHECK]: builds it, searches it, prints its line
configuration() {
    local started=$EPOCHREALTIME directory=$work/$1 limits=(-O0 "$MEMORY_MIB" "$SEARCH_SECONDS_MAX") result states
    [[ $1 != all_* ]] || limits=(-O2 "$FULL_MEMORY_MIB" "$FULL_SECONDS_MAX")
    mkdir "$directory"
    # shellcheck disable=SC2086
    (search "$directory" "${limits[@]}" -DFAULTS=$2 ${3:+"-DBROKEN=$3" "-DCHECKED=$4"})
    result=$(verdict "$directory/report" "${4:-}")
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$directory/report")
    printf '%-22s %9s states %6.1f s  %s\n' "$1" "${states:-0}" \
        "$(((${EPOCHREALTIME/./} - ${started/./}) / 100000))e-1" "$result" | tee -a "$work/lines"
    rm -rf "$directory"
}

# run NAME FAULTS [BROKEN CHECK]: as soon as fewer than AT_ONCE are at it
run() {
    [ ${#names[@]} -eq 0 ] || [[ " ${names[*]} " == *" $1 "* ]] || return 0
    while [ "$(jobs -rp | wc -l)" -ge "$AT_ONCE" ]; do wait -n || true; done
    configuration "$@" &
}

# broken RULE FAULTS CHECK: the model without this rule fails this check under these faults
broken() { run "$1" "$2" "$1" "$3"; }

run takeover $TAKEOVER
run stepdown $STEPDOWN
run crash_worker $CRASH_WORKER
run crash_arbiter $CRASH_ARBITER
run partition $PARTITION
run no_fault 0

# a successor grants, or confirms a first start, before it holds every grant up to `last`
broken SUCCESSOR_UNREAD $TAKEOVER P2_one_node_runs
# a successor waits only the bare lease
broken SUCCESSOR_BARE_LEASE $TAKEOVER P2_one_node_runs
# a Takeover ends a held term
broken TAKEOVER_ENDS_HELD $TAKEOVER P2_one_node_runs
# after a Takeover that names no grant nobody is thought to hold one
broken TAKEOVER_TRUSTS_LAST $TAKEOVER P2_one_node_runs
# grants above `last` count
broken COUNTS_ABOVE_LAST $TAKEOVER P2_one_node_runs
# an arbiter that has stepped down still confirms
broken STEPPED_DOWN_CONFIRMS $((STEPDOWN | PARTITION)) P2_one_node_runs
# an arbiter that restarts waits only the bare lease
broken RESTART_BARE_LEASE $((CRASH_ARBITER | PARTITION)) P2_one_node_runs
# message numbers are used again after a restart: an old answer passes for one to a new message
broken REUSES_NUMBERS $((CRASH_WORKER | PARTITION)) P2_one_node_runs
# the note never to confirm a term again is not honoured
broken CONFIRMS_NOTED $PARTITION P2_one_node_runs
# a token below the highest is confirmed
broken CONFIRMS_LOWER $PARTITION P2_one_node_runs
# an arbiter grants another term after only the bare lease
broken WAITS_BARE_LEASE $PARTITION P2_one_node_runs
# a worker counts the lease from the answer, not from when it sent the message
broken COUNTS_FROM_ANSWER $PARTITION P2_one_node_runs
# nothing ends a run at its deadline
broken RUNS_PAST_DEADLINE $PARTITION P2_one_node_runs
# `lost` is settled without the wait
broken LOST_WITHOUT_WAIT $PARTITION lost_runs_nowhere
# a machine forgets which tokens it has started
broken NO_START_RECORD $CRASH_WORKER token_starts_once
# a settled job is handed over
broken STEPS_DOWN_SETTLED $STEPDOWN P1_one_result
# a holder renews no more once it is finished
broken SILENT_WHEN_DONE 0 finished_not_granted
# renewals go to one arbiter only, and one that stepped down does not say so
broken RENEWS_WITH_ONE $STEPDOWN finished_not_granted
# a successor's wait counts from the hand-over, also while grants up to `last` are still to come
broken SUCCESSOR_UNREAD_WAIT $STEPDOWN finished_not_granted
# a finished holder's renewal postpones also an arbiter that has its Done
broken DONE_POSTPONES $STEPDOWN progress_job_settles
# a holder obeys the arbiter that granted its term, though it knows the successor
broken OBEYS_OLD_ARBITER $STEPDOWN progress_job_settles
# a run that ended while its daemon was down gets no Done
broken FORGETS_ENDED_RUN $CRASH_WORKER progress_job_settles

while [ -n "$(jobs -rp)" ]; do wait -n || true; done
times >"$work/times" # its second line is of everything that has ended: user and system, as 1m2.345s
used=$(awk 'NR == 2 { split($1 $2, part, /[ms]/); printf "%d", 60 * (part[1] + part[3]) + part[2] + part[4] }' "$work/times")
printf '%d s, %d s of processor time\n' "$SECONDS" "$used"
[ "$used" -le "$PROCESSOR_SECONDS_MAX" ] || printf 'FAILED: over the limit of %d s\n' "$PROCESSOR_SECONDS_MAX" | tee -a "$work/lines"
if [ "$full" = yes ]; then
    all=$((CRASH_ARBITER | CRASH_WORKER | STEPDOWN | TAKEOVER | PARTITION))
    run all_faults $all
    wait
    run all_two_crashes "$all -DCRASHES=2"
    wait
fi
[ -s "$work/lines" ] || { printf 'no configuration of that name\n' >&2 && exit 64; }
! grep -q FAILED "$work/lines"
