//! Laws of the fold: what a set of operations means does not depend on order, number or grouping of arrivals, and
//! those without authority change nothing. No storage.

use crate::world::{
    ARBITER2, AUTHOR, DELEGATE, JOB, OTHER_JOB, STRANGER, WORKER1, WORKER2, act, identity, node, op, revision, root,
};
use cobs::id::{Epoch, NodeId, Seq, Term, Token};
use cobs::job::action::{Action, GrantKind};
use cobs::job::history::{History, Op};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::state::Job;
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert_eq, prop_oneof, proptest};

const NODES: [u8; 6] = [AUTHOR, WORKER1, WORKER2, ARBITER2, DELEGATE, STRANGER];
const MEMBERS: [u8; 5] = [AUTHOR, WORKER1, WORKER2, ARBITER2, DELEGATE];

fn action(nodes: &'static [u8]) -> impl Strategy<Value = Action> {
    let job = prop_oneof![9 => Just(JOB), 1 => Just(OTHER_JOB)];
    let seq = prop_oneof![9 => 0..6u32, 1 => 250..300u32];
    let outcome = prop_oneof![
        Just(RunOutcome::Exited { code: 0 }),
        Just(RunOutcome::Exited { code: 3 }),
        Just(RunOutcome::Released),
        Just(RunOutcome::Cancelled),
    ];
    let held = prop_oneof![Just(GrantKind::Leased), Just(GrantKind::Held)];
    (0..7u8, job, seq, 0..3u32, 0..4u32, prop::sample::select(nodes), outcome, held).prop_map(
        |(which, job, seq, epoch, term, to, outcome, kind)| {
            let act = act(job, seq);
            match which {
                0 => act.bid(term * 100),
                1 => act.grant(epoch, term.max(1), to, kind),
                2 => act.done(epoch, term, outcome),
                3 => act.settle(epoch, settlement(term, to)),
                4 => act.cancel("enough"),
                5 => act.step_down(epoch, to, term),
                _ => act.takeover(epoch.max(1), to, term),
            }
        },
    )
}

fn settlement(term: u32, seed: u8) -> Settlement {
    match seed {
        AUTHOR => Settlement::Cancelled,
        WORKER1 => Settlement::Expired,
        WORKER2 => Settlement::Lost { term: Term(term) },
        _ => Settlement::Result {
            term: Term(term),
            done: crate::world::tree(&act(JOB, term).done(0, term, RunOutcome::Cancelled)),
        },
    }
}

fn operation(authors: &'static [u8], to: &'static [u8]) -> impl Strategy<Value = Op> {
    let pin = prop_oneof![Just(None), Just(Some(0u8)), Just(Some(1)), Just(Some(2)), Just(Some(9))];
    (prop::sample::select(authors), action(to), pin)
        .prop_map(|(author, action, pin)| op(author, action, pin.map(revision)))
}

fn operations(authors: &'static [u8], to: &'static [u8]) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(operation(authors, to), 0..40)
}

fn evaluate(ops: &[Op]) -> Job {
    let mut history = History::new(JOB, root());
    ops.iter().for_each(|op| history.insert(op.clone()));
    history.evaluate(&identity()).unwrap()
}

/// A job without what anyone may leave behind: counts of ignored operations.
fn effects(mut job: Job) -> Job {
    job.ignored.clear();
    job
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(400))]

    /// Any order, any repetition and any grouping of the same operations is the same job.
    #[test]
    fn arrival_leaves_no_trace(
        (ops, shuffled) in operations(&NODES, &NODES).prop_flat_map(|ops| (Just(ops.clone()), Just(ops).prop_shuffle())),
        groups in prop::collection::vec(0..3usize, 40),
        again in prop::collection::vec(any::<bool>(), 40),
    ) {
        let expected = evaluate(&ops);
        let mut repeated = shuffled.clone();
        repeated.extend(shuffled.iter().zip(&again).filter(|(_, again)| **again).map(|(op, _)| op.clone()));
        prop_assert_eq!(&evaluate(&repeated), &expected);

        let mut parts = [(); 3].map(|()| History::new(JOB, root()));
        for (op, group) in shuffled.iter().zip(&groups) {
            parts[*group].insert(op.clone());
        }
        let [first, mut second, mut third] = parts;
        third.merge(&first);
        second.merge(&third);
        second.merge(&third);
        prop_assert_eq!(&second.evaluate(&identity()).unwrap(), &expected);
    }

    /// Who has no part in the job changes nothing, whatever he signs.
    #[test]
    fn a_stranger_changes_nothing(
        honest in operations(&MEMBERS, &MEMBERS),
        hostile in operations(&[STRANGER], &NODES),
    ) {
        let expected = effects(evaluate(&honest));
        let mut all = honest;
        all.extend(hostile);
        prop_assert_eq!(effects(evaluate(&all)), expected);
    }

    /// A worker changes its own bid and its own reports, and nothing else.
    #[test]
    fn a_worker_speaks_for_its_own_runs_alone(
        honest in operations(&[AUTHOR, WORKER1, DELEGATE], &[AUTHOR, WORKER1, WORKER2, DELEGATE]),
        hostile in operations(&[WORKER2], &NODES),
    ) {
        let without_worker = |mut job: Job| {
            job.ignored.clear();
            job.last_seq.remove(&node(WORKER2));
            job.bids.remove(&node(WORKER2));
            job.dones.retain(|_, report| report.node != node(WORKER2));
            job.self_started.retain(|(_, by), _| *by != node(WORKER2));
            job
        };
        let alone = evaluate(&honest);
        // a hand-over may have made the worker an arbiter
        if alone.epochs.iter().all(|opened| opened.arbiter != node(WORKER2)) {
            let mut all = honest;
            all.extend(hostile);
            prop_assert_eq!(without_worker(evaluate(&all)), without_worker(alone));
        }
    }

    /// What counts obeys the rules, whatever is thrown at the fold.
    #[test]
    fn what_counts_obeys_the_rules(ops in operations(&NODES, &NODES)) {
        let job = evaluate(&ops);
        for (token, granted) in &job.grants {
            assert!(job.create.workers.contains(&granted.node));
            let arbiter = job.arbiter_of(token.epoch).unwrap();
            assert!(granted.kind == GrantKind::Leased || granted.node == arbiter, "held to another");
            let opened = job.epochs.iter().find(|opened| opened.epoch == token.epoch).unwrap();
            assert!(token.term > opened.last);
        }
        for (token, report) in &job.dones {
            assert_eq!(job.grants[token].node, report.node);
        }
        for pair in job.epochs.windows(2) {
            assert_eq!(pair[1].epoch, Epoch(pair[0].epoch.0 + 1));
            assert!(pair[1].last >= pair[0].last);
        }
        assert!(job.last_seq.values().all(|seq| *seq <= Seq::MAX));
        assert!(job.holder().is_none_or(|(token, _)| token >= Token::new(0, 1)));
        assert!(job.settled.is_none_or(|settled| job.other_settles.iter().all(|other| other.epoch <= settled.epoch)));
        let nodes: std::collections::BTreeSet<NodeId> = job.last_seq.keys().copied().collect();
        assert!(!nodes.contains(&node(STRANGER)) || job.epochs.iter().any(|opened| opened.arbiter == node(STRANGER)));
    }

    /// No bytes of a stranger stop the reader: text of another alphabet, where digits are expected, once did.
    #[test]
    fn reading_an_action_never_panics(text in "\\PC{0,44}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Action::decode(&bytes);
        for field in ["job", "node", "to"] {
            let mut value = serde_json::json!({"type": "grant", "job": JOB.to_string(), "seq": 1, "epoch": 0, "term": 1,
                "node": node(WORKER1).to_string(), "kind": "leased", "leaseMs": 30_000});
            value[field] = serde_json::json!(text);
            let _ = Action::decode(value.to_string().as_bytes());
        }
    }
}
