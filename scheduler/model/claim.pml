/* The claim protocol, to be checked by `spin` in every order of events: which node runs one `exclusive` job, and what is its one
 * result. Read it as the definition: each option of a process is one rule. tests/model.sh lists what is run, and runs it.
 *
 * Nodes     A is the first arbiter, B is a worker and the next arbiter, C is a worker.
 * Tokens    1 and 2 are the terms of A's epoch, 3 and 4 those of B's: the larger number is the higher token.
 * Time      Ticks of the arbiters' clocks. A lease is LEASE ticks of its worker's clock, which may lag by DRIFT more. A clock that
 *           is ahead only ends the run earlier, and a run may fail at any moment. A supervisor kills within GRACE.
 * Gossip    Each author's operations reach each reader in their order, each after any delay.
 * Links     Each worker and each arbiter exchange one message in each tick. With PARTITION any message may be lost, and an answer
 *           may take any time. A request takes none: one under way for longer leaves its worker less time, and that is all.
 * Faults    CRASH_ARBITER or CRASH_WORKER: a daemon dies, a worker's alone or with its machine. STEPDOWN: A hands over.
 *           TAKEOVER: A is dead for good, and a delegate that may not know its last grants puts B in its place.
 * Checked   The properties named at `check`. Progress: in every state, if the faults ended there, the job would be settled.
 * Left out  Bids, Cancel, `idempotent` jobs, back-off, A as a worker, what is outside P2 (a Takeover that names a held term as
 *           abandoned, or from an arbiter that lives), a second hand-over, a third term, what settled jobs do, and that
 *           all nodes read the same from the same operations, which is the fold's to show. */

#ifndef FAULTS
#define FAULTS 31
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define CRASH_ARBITER (FAULTS & 1)
#define CRASH_WORKER (FAULTS >> 1 & 1)
#define STEPDOWN (FAULTS >> 2 & 1)
#define TAKEOVER (FAULTS >> 3 & 1)
#define PARTITION (FAULTS >> 4 & 1)

/* A rule may be broken on purpose: then its check must fail. */
#ifndef BROKEN
#define BROKEN NO_RULE
#endif
#ifndef CHECKED
#define CHECKED property        /* each of them; otherwise the only one that is looked at */
#endif
mtype = { NO_RULE, CONFIRMS_NOTED, CONFIRMS_LOWER, WAITS_BARE_LEASE, RESTART_BARE_LEASE, SUCCESSOR_BARE_LEASE, SUCCESSOR_UNREAD,
    SUCCESSOR_UNREAD_WAIT, SILENT_WHEN_DONE, DONE_POSTPONES, RENEWS_WITH_ONE, OBEYS_OLD_ARBITER, STEPPED_DOWN_CONFIRMS,
    COUNTS_ABOVE_LAST, REUSES_NUMBERS, COUNTS_FROM_ANSWER, RUNS_PAST_DEADLINE, LOST_WITHOUT_WAIT, NO_START_RECORD,
    STEPS_DOWN_SETTLED, FORGETS_ENDED_RUN, TAKEOVER_ENDS_HELD, TAKEOVER_TRUSTS_LAST };

#define TERMS 2
#define LEASE 3
#define DRIFT 1
#define GRACE 1
#define LONGEST_LEASE (LEASE + DRIFT)
#define FULL_WAIT (LEASE + DRIFT + GRACE)
#define WAIT_UNLESS(mutation) (BROKEN == mutation -> LEASE : FULL_WAIT)
#define NO_DEADLINE 7
#define CALM_ROUNDS 40

#define A 0
#define B 1
#define C 2
#define SUCCEEDED 1             /* outcome of a Done; 0 is none yet */
#define FAILED 2                /* also: released, killed, lost with its machine */
#define STEPPED_DOWN 1          /* how A handed over; 0 is not at all */
#define TAKEN_OVER 2

typedef Grant {
    unsigned holder : 2;
    bit held;                   /* starts without a confirmation and ends only by Done; otherwise leased */
    bit started;                /* durable on the holder */
    unsigned done : 2;
    bit seen_by_A; bit seen_by_B /* the Done */
}
typedef Node {
    bit up;                     /* the daemon; a supervisor runs on without it */
    unsigned log_A : 2;         /* the highest token read in A's log, for A granted */
    unsigned log_B : 3;         /* the same of B */
    bit knows;                  /* has read the hand-over */
    unsigned runs : 3;          /* worker: the token that it runs */
    unsigned left : 3;          /* worker: ticks until the deadline of the run, if its clock lags as far as it may */
    unsigned ended : 2;         /* worker: outcome of a run that ended while the daemon was down */
    bit renewed;                /* worker: has sent this tick's messages */
    unsigned wait : 3;          /* arbiter: ticks until nobody runs the highest token, unless it is confirmed again */
    bit noted;                  /* arbiter, durable: never to confirm the highest token from now on */
    bit settled                 /* arbiter */
}
typedef Answer { unsigned token : 3; unsigned left : 3 } /* a confirmation under way, and the ticks that it is still good for */

Grant grant[5];
Node node[3];
Answer answer[4];
unsigned handed : 2;
unsigned last : 2;              /* the `last` of the hand-over */
unsigned crashes : 2;
bit over;
hidden byte token, round;
hidden byte P1_one_result = 1, P2_one_node_runs = 1, token_starts_once = 1, lost_runs_nowhere = 1, finished_not_granted = 1,
    progress_job_settles = 1;
#define WHEN(condition, action) if :: (condition) -> action :: else fi
inline check(property, holds) { property = (holds); assert(CHECKED) }

#define HIGHEST(n) (node[n].knows && node[n].log_B -> node[n].log_B : node[n].log_A)
#define ANSWER(a, w) answer[2 * (a) + (w) - 1]
#define SETTLED (node[A].settled || node[B].settled)

/* What arbiter a may do. */
#define SEES(a, k) (grant[k].done && (a == A -> grant[k].seen_by_A : grant[k].seen_by_B || grant[k].holder == B))
#define SUCCEEDS(k) (grant[k].done == SUCCEEDED)
#define SUCCESS(a, k) (SUCCEEDS(k) && SEES(a, k) && (a == A || k > TERMS || k <= node[B].log_A))
#define SEES_SUCCESS(a) (SUCCESS(a, 1) || SUCCESS(a, 2) || SUCCESS(a, 3) || SUCCESS(a, 4))
#define SEES_FAILURE(a) (SEES(a, HIGHEST(a)) && grant[HIGHEST(a)].done == FAILED)
#define HELD(k) (grant[k].held && !(BROKEN == TAKEOVER_ENDS_HELD && handed == TAKEN_OVER))
#define LEASED(a) (HIGHEST(a) && !SEES(a, HIGHEST(a)) && !HELD(HIGHEST(a)))
#define ARBITER(a) (node[a].up && !node[a].settled && (a == A -> !handed : node[a].knows))
#define NEXT(a) (a == A -> node[A].log_A + 1 : (node[B].log_B -> node[B].log_B : TERMS + last) + 1)
#define TERM_LEFT(a) (NEXT(a) <= (a == A -> TERMS : 2 * TERMS))
/* A successor does more than answer renewals only after it holds every grant up to `last`, and then has waited. */
#define READY(a) (a == A || node[B].log_B || ((node[B].log_A >= last || BROKEN == SUCCESSOR_UNREAD) && node[B].wait == 0))
#define HAD_HOLDER(a) (a == A -> node[A].log_A > 0 : node[B].log_B > 0 || last > 0 || \
    (handed == TAKEN_OVER && BROKEN != TAKEOVER_TRUSTS_LAST))
/* Another term follows a Done, or this note: at once if the highest term was never confirmed, else after the wait. */
#define MAY_NOTE(a) (ARBITER(a) && READY(a) && TERM_LEFT(a) && LEASED(a) && node[a].wait == 0 && !node[a].noted)
#define MAY_GRANT(a) (ARBITER(a) && READY(a) && TERM_LEFT(a) && !SEES_SUCCESS(a) && \
    (!HIGHEST(a) || SEES_FAILURE(a) || node[a].noted))
#define MAY_SETTLE_RESULT(a) (ARBITER(a) && (SEES_SUCCESS(a) || (SEES_FAILURE(a) && !TERM_LEFT(a))))
#define MAY_SETTLE_LOST(a) (ARBITER(a) && LEASED(a) && !TERM_LEFT(a) && !SEES_SUCCESS(a) && \
    ((READY(a) && node[a].wait == 0) || BROKEN == LOST_WITHOUT_WAIT))
#define CONFIRMS(a, k, first) (!SEES(a, k) && (!first || READY(a)) && (!node[a].noted || BROKEN == CONFIRMS_NOTED) && \
    (k == HIGHEST(a) || (BROKEN == CONFIRMS_LOWER && k < HIGHEST(a))) && \
    (ARBITER(a) || (BROKEN == STEPPED_DOWN_CONFIRMS && a == A && node[A].up && handed == STEPPED_DOWN)))

/* What worker w may do. */
#define RUNS(w) (node[w].runs && !node[w].ended)
#define MINE(w) (node[w].up && !SETTLED && HIGHEST(w) && grant[HIGHEST(w)].holder == w)
#define STARTABLE(w) (MINE(w) && !node[w].runs && !grant[HIGHEST(w)].done && \
    (!grant[HIGHEST(w)].started || BROKEN == NO_START_RECORD))
#define RENEWS(w) (MINE(w) && !grant[HIGHEST(w)].held && \
    (STARTABLE(w) || node[w].runs == HIGHEST(w) || (grant[HIGHEST(w)].done && BROKEN != SILENT_WHEN_DONE)))
#define OBEYS(w, a) (a == ((BROKEN == OBEYS_OLD_ARBITER -> HIGHEST(w) > TERMS : node[w].knows) -> B : A))
#define ASKS(w, a) (RENEWS(w) && node[a].up && (OBEYS(w, a) || BROKEN != RENEWS_WITH_ONE))
#define EXCHANGES(w) (!PARTITION && !node[w].renewed && (ASKS(w, A) || ASKS(w, B)))
#define OVERDUE(w) (RUNS(w) && node[w].left == 0 && BROKEN != RUNS_PAST_DEADLINE)
/* A held run that the Takeover's `last` leaves out is killed when its node learns of it. Until then it is outside P2. */
#define LEFT_OUT(w) (handed == TAKEN_OVER && node[w].runs > last && node[w].runs <= TERMS && grant[node[w].runs].held)
#define BESIDE_P2(w) (!RUNS(w) || (LEFT_OUT(w) && !node[w].knows))

/* Arbiter a grants its next term to node w. */
#define MAY_HIDE_DONE (CRASH_ARBITER || CRASH_WORKER || TAKEOVER || PARTITION)
inline give(a, w, is_held) {
    check(finished_not_granted, MAY_HIDE_DONE || !(SUCCEEDS(1) || SUCCEEDS(2) || SUCCEEDS(3) || SUCCEEDS(4)));
    token = NEXT(a); grant[token].holder = w; grant[token].held = is_held; node[a].noted = 0; node[a].wait = 0;
    if :: a == A -> node[A].log_A = token :: else -> node[B].log_B = token fi
}
inline settle(a) { node[a].settled = 1; check(P1_one_result, handed == TAKEN_OVER || !node[A].settled || !node[B].settled) }
inline settle_lost(a) { check(lost_runs_nowhere, BESIDE_P2(B) && BESIDE_P2(C)); settle(a) }
/* Arbiter a has a message of worker w about its highest term: to start it, to go on, or that it is finished. */
inline hear(a, w) {
    token = HIGHEST(w);
    if
    :: !grant[token].done && CONFIRMS(a, token, (node[w].runs != token)) ->
        node[a].wait = WAIT_UNLESS(WAITS_BARE_LEASE); ANSWER(a, w).token = token; ANSWER(a, w).left = LONGEST_LEASE
    :: grant[token].done && ARBITER(a) && token == HIGHEST(a) && (!SEES(a, token) || BROKEN == DONE_POSTPONES) ->
        node[a].wait = FULL_WAIT
    :: else
    fi
}

inline forget(a, w) { ANSWER(a, w).token = 0; ANSWER(a, w).left = 0 }
inline start(w, deadline) {
    token = HIGHEST(w);
    check(token_starts_once, !grant[token].started);
    node[w].runs = token; node[w].left = deadline; grant[token].started = 1;
    check(P2_one_node_runs, BESIDE_P2(w) || BESIDE_P2(3 - w))
}
/* Worker w has a confirmation of arbiter a: the run may go on until one lease after w sent the message that was answered. */
inline accept(a, w) {
    if
    :: OBEYS(w, a) && RUNS(w) && node[w].runs == ANSWER(a, w).token ->
        WHEN(node[w].left < ANSWER(a, w).left, node[w].left = ANSWER(a, w).left)
    :: OBEYS(w, a) && STARTABLE(w) && HIGHEST(w) == ANSWER(a, w).token -> start(w, ANSWER(a, w).left)
    :: else
    fi;
    forget(a, w)
}
inline write_done(w, outcome) { grant[node[w].runs].done = outcome; node[w].runs = 0; node[w].left = 0; node[w].ended = 0 }
inline end_run(w, outcome) { if :: node[w].up -> write_done(w, outcome) :: else -> node[w].ended = outcome; node[w].left = 0 fi }
inline successor_waits() { WHEN(HAD_HOLDER(B), node[B].wait = WAIT_UNLESS(SUCCESSOR_BARE_LEASE)) }
inline learn(n) {
    if
    :: handed && !node[n].knows ->
        node[n].knows = 1;
        WHEN(node[n].log_A > last && BROKEN != COUNTS_ABOVE_LAST, node[n].log_A = last);
        WHEN(n == B, successor_waits());
        WHEN(RUNS(n) && LEFT_OUT(n) && BROKEN != COUNTS_ABOVE_LAST, end_run(n, FAILED))
    :: else
    fi
}
/* A tick's messages. The one that stepped down answers with its StepDown; worker and successor show each other the hand-over. */
inline exchange(w) {
    node[w].renewed = 1;
    WHEN(ASKS(w, A) && handed == STEPPED_DOWN && BROKEN != RENEWS_WITH_ONE, learn(w));
    WHEN(ASKS(w, A), hear(A, w));
    WHEN(ANSWER(A, w).token, accept(A, w));
    WHEN(ASKS(w, B) && (node[w].knows || node[B].knows), learn(B); learn(w));
    WHEN(ASKS(w, B), hear(B, w));
    WHEN(ANSWER(B, w).token, accept(B, w))
}

proctype Arbiter(byte a) provided (!over) {
    do
    :: d_step { MAY_GRANT(a) && a != B -> give(a, B, 0) } /* to itself a node grants held */
    :: d_step { MAY_GRANT(a) -> give(a, B, 1) }
    :: d_step { MAY_GRANT(a) -> give(a, C, 0) }
    :: d_step { MAY_GRANT(a) -> give(a, C, 1) }
    :: d_step { MAY_NOTE(a) -> node[a].noted = 1 }
    :: d_step { MAY_SETTLE_RESULT(a) -> settle(a) }
    :: d_step { MAY_SETTLE_LOST(a) -> settle_lost(a) }
    od
}

proctype Worker(byte w) provided (!over && !SETTLED) {
    do
    :: d_step { STARTABLE(w) && grant[HIGHEST(w)].held -> start(w, NO_DEADLINE) }
    :: d_step { STARTABLE(w) && !grant[HIGHEST(w)].started -> grant[HIGHEST(w)].done = FAILED } /* released */
    :: d_step { RUNS(w) -> end_run(w, SUCCEEDED) }
    :: d_step { RUNS(w) -> end_run(w, FAILED) }
    :: d_step { EXCHANGES(w) -> exchange(w) }
    :: d_step { PARTITION && ASKS(w, A) && !ANSWER(A, w).token -> hear(A, w) }
    :: d_step { PARTITION && ASKS(w, B) && !ANSWER(B, w).token -> hear(B, w) }
    :: d_step { node[w].up && ANSWER(A, w).token -> accept(A, w) }
    :: d_step { node[w].up && ANSWER(B, w).token -> accept(B, w) }
    :: d_step { ANSWER(A, w).token -> forget(A, w) }
    :: d_step { ANSWER(B, w).token -> forget(B, w) }
    od
}

/* What reaches one reader. */
#define READS(n) (node[n].up && !SETTLED)
#define COUNTED_OF_A(n) (node[n].knows && BROKEN != COUNTS_ABOVE_LAST -> last : node[A].log_A)
#define GRANT_OF_A_ARRIVES(n) (READS(n) && node[n].log_A < COUNTED_OF_A(n))
#define GRANT_OF_B_ARRIVES(n) (READS(n) && node[n].log_B < node[B].log_B && n == C)
#define HAND_OVER_ARRIVES(n) (node[n].up && handed && !node[n].knows && n != A)
#define DONE_ARRIVES(n, k) (READS(n) && grant[k].done && !SEES(n, k) && \
    (n == A -> !handed : n == B && (STEPDOWN || TAKEOVER) && (k > TERMS || !node[B].knows || k <= node[B].log_A)))
inline read_done(n, k) { if :: n == A -> grant[k].seen_by_A = 1 :: else -> grant[k].seen_by_B = 1 fi }
inline read_grant_of_B(n) { node[n].log_B = (node[n].log_B -> node[n].log_B : TERMS + last) + 1 }
inline read_grant_of_A(n) {
    node[n].log_A++;
    WHEN(n == B && node[B].knows && node[B].log_A <= last && BROKEN != SUCCESSOR_UNREAD_WAIT, successor_waits())
}
proctype Gossip(byte n) provided (!over) {
    do
    :: d_step { GRANT_OF_A_ARRIVES(n) -> read_grant_of_A(n) }
    :: d_step { GRANT_OF_B_ARRIVES(n) -> read_grant_of_B(n) }
    :: d_step { HAND_OVER_ARRIVES(n) -> learn(n) }
    :: d_step { DONE_ARRIVES(n, 1) -> read_done(n, 1) }
    :: d_step { DONE_ARRIVES(n, 2) -> read_done(n, 2) }
    :: d_step { DONE_ARRIVES(n, 3) -> read_done(n, 3) }
    :: d_step { DONE_ARRIVES(n, 4) -> read_done(n, 4) }
    od
}

inline age_answer(a, w) {
    WHEN(ANSWER(a, w).left > 0 && BROKEN != COUNTS_FROM_ANSWER, ANSWER(a, w).left--);
    WHEN(ANSWER(a, w).left == 0, forget(a, w))
}
inline tick() {
    WHEN(node[A].wait, node[A].wait--);
    WHEN(node[B].wait, node[B].wait--);
    WHEN(RUNS(B) && node[B].left && node[B].left != NO_DEADLINE, node[B].left--);
    WHEN(RUNS(C) && node[C].left && node[C].left != NO_DEADLINE, node[C].left--);
    age_answer(A, B); age_answer(A, C); age_answer(B, B); age_answer(B, C);
    node[B].renewed = 0; node[C].renewed = 0
}
/* No tick passes over a run that is past its deadline, nor over an exchange that nothing hinders. */
proctype Clock() provided (!over) {
    do :: d_step { !OVERDUE(B) && !OVERDUE(C) && !EXCHANGES(B) && !EXCHANGES(C) -> tick() } od
}

inline hand_over(how, up_to) {
    handed = how; last = up_to; node[A].wait = 0; node[A].noted = 0; grant[1].seen_by_A = 0; grant[2].seen_by_A = 0;
    WHEN(how == TAKEN_OVER, node[A].up = 0)
}
#define MAY_TAKE_OVER (TAKEOVER && !handed && !SETTLED)
#define MAY_CRASH(n) (crashes < CRASHES && node[n].up && !SETTLED && (n == A -> CRASH_ARBITER && !handed : CRASH_WORKER))
inline crash(n) {
    crashes++; node[n].up = 0; node[n].wait = 0;
    WHEN(n != A && BROKEN != REUSES_NUMBERS, forget(A, n); forget(B, n)) /* answers to messages that it knows no more */
}
inline crash_machine(n) {
    crash(n);
    if :: BROKEN == NO_START_RECORD -> node[n].runs = 0; node[n].left = 0 :: else -> end_run(n, FAILED) fi
}
inline restart(n) {
    node[n].up = 1;
    WHEN((n == A || (n == B && node[B].knows)) && HAD_HOLDER(n), node[n].wait = WAIT_UNLESS(RESTART_BARE_LEASE));
    WHEN(BROKEN == REUSES_NUMBERS && n != A && ANSWER(A, n).token, ANSWER(A, n).left = LONGEST_LEASE);
    WHEN(node[n].ended && BROKEN == FORGETS_ENDED_RUN, node[n].runs = 0; node[n].ended = 0);
    WHEN(node[n].ended, write_done(n, node[n].ended))
}
#define MAY_RESTART(n) (!node[n].up && (n != A || handed != TAKEN_OVER))
proctype Faults() provided (!over) {
    do
    :: d_step { STEPDOWN && !handed && node[A].up && (!node[A].settled || BROKEN == STEPS_DOWN_SETTLED) ->
           hand_over(STEPPED_DOWN, node[A].log_A) }
    :: d_step { MAY_TAKE_OVER -> hand_over(TAKEN_OVER, node[A].log_A) }
    :: d_step { MAY_TAKE_OVER && node[A].log_A >= 1 -> hand_over(TAKEN_OVER, node[A].log_A - 1) }
    :: d_step { MAY_TAKE_OVER && node[A].log_A >= 2 -> hand_over(TAKEN_OVER, node[A].log_A - 2) }
    :: d_step { MAY_CRASH(A) -> crash(A) }
    :: d_step { MAY_CRASH(B) -> crash(B) }
    :: d_step { MAY_CRASH(C) -> crash(C) }
    :: d_step { MAY_CRASH(B) && RUNS(B) -> crash_machine(B) }
    :: d_step { MAY_CRASH(C) && RUNS(C) -> crash_machine(C) }
    :: d_step { MAY_RESTART(A) -> restart(A) }
    :: d_step { MAY_RESTART(B) -> restart(B) }
    :: d_step { MAY_RESTART(C) -> restart(C) }
    od
}

/* Progress: the faults are over, everybody is up, everything arrives. One fair order of events then settles the job. */
inline calm_reader(n) {
    WHEN(GRANT_OF_A_ARRIVES(n), read_grant_of_A(n)); WHEN(GRANT_OF_B_ARRIVES(n), read_grant_of_B(n));
    WHEN(HAND_OVER_ARRIVES(n), learn(n));
    WHEN(DONE_ARRIVES(n, 1), read_done(n, 1)); WHEN(DONE_ARRIVES(n, 2), read_done(n, 2));
    WHEN(DONE_ARRIVES(n, 3), read_done(n, 3)); WHEN(DONE_ARRIVES(n, 4), read_done(n, 4))
}
inline calm_worker(w) {
    if
    :: RUNS(w) && (node[w].runs != HIGHEST(w) || OVERDUE(w)) -> end_run(w, FAILED)
    :: RUNS(w) -> end_run(w, SUCCEEDED)
    :: else
    fi;
    exchange(w);
    WHEN(STARTABLE(w) && grant[HIGHEST(w)].held, start(w, NO_DEADLINE))
}
inline calm_arbiter(a) {
    if
    :: MAY_SETTLE_RESULT(a) -> settle(a)
    :: MAY_SETTLE_LOST(a) -> settle_lost(a)
    :: MAY_NOTE(a) -> node[a].noted = 1
    :: MAY_GRANT(a) -> give(a, C, 0)
    :: else
    fi
}
proctype Calm() provided (!over) {
    d_step {
        !SETTLED -> over = 1;
        WHEN(MAY_RESTART(A), restart(A)); WHEN(MAY_RESTART(B), restart(B)); WHEN(MAY_RESTART(C), restart(C));
        round = 0;
        do
        :: !SETTLED && round < CALM_ROUNDS ->
            calm_reader(A); calm_reader(B); calm_reader(C); calm_worker(B); calm_worker(C); calm_arbiter(A); calm_arbiter(B);
            tick(); round++
        :: else -> break
        od;
        check(progress_job_settles, SETTLED)
    }
}

init {
    node[A].up = 1; node[B].up = 1; node[C].up = 1;
    atomic {
        run Arbiter(A); run Arbiter(B); run Worker(B); run Worker(C); run Gossip(A); run Gossip(B); run Gossip(C);
        run Clock(); run Faults(); run Calm()
    }
}
