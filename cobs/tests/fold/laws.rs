//! Laws of the fold: what a set of operations means does not depend on order, number, delay or grouping of arrivals, and
//! those without authority change nothing. No storage.

use std::collections::BTreeMap;

use cobs::id::NodeId;
use cobs::job::action::Action;
use cobs::job::history::{Content, History, Op};
use cobs::job::state::Job;
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::fuzz::{effects, rules};
use crate::script::strategy::{cases, courses, histories, lines};
use crate::script::{AUTHOR, Body, DELEGATE, FORMER, Line, MEMBERS, NODES, Root, STRANGER, WORKER1, WORKER2};
use crate::world::{JOB, World, identity, node, revision, root_of};

/// Operations of one history at most.
const OPS_MAX: usize = 48;
/// After how many arrivals the job is looked at.
const LOOK_EACH: usize = 4;

fn blank(root: Root) -> History {
    History::new(JOB, root_of(root.create(&World, &"0".repeat(32))))
}

fn grown<'a>(root: Root, ops: impl IntoIterator<Item = &'a Op>) -> History {
    let mut history = blank(root);
    ops.into_iter().for_each(|op| history.insert(op.clone()));
    history
}

fn evaluate<'a>(root: Root, ops: impl IntoIterator<Item = &'a Op>) -> Job {
    grown(root, ops).evaluate(&identity()).unwrap()
}

fn ops(lines: &[Line]) -> Vec<Op> {
    lines.iter().map(|line| line.op(&World)).collect()
}

/// A history with the same operations in another order.
fn shuffled() -> impl Strategy<Value = (Root, Vec<Op>, Vec<Op>)> {
    histories().prop_flat_map(|(root, lines)| {
        let ops = ops(&lines);
        (Just(root), Just(ops.clone()), Just(ops).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(cases(400))]

    /// Any order, any repetition and any grouping of the same operations is the same job.
    #[test]
    fn arrival_leaves_no_trace(
        (root, ops, shuffled) in shuffled(),
        groups in prop::collection::vec(0..3usize, OPS_MAX),
        again in prop::collection::vec(any::<bool>(), OPS_MAX),
    ) {
        let expected = evaluate(root, &ops);
        let twice = shuffled.iter().zip(&again).filter(|(_, again)| **again).map(|(op, _)| op);
        prop_assert_eq!(&evaluate(root, shuffled.iter().chain(twice)), &expected);

        let part = |which: usize| {
            grown(root, shuffled.iter().zip(&groups).filter(|(_, group)| **group == which).map(|(op, _)| op))
        };
        let joined = |parts: &[&History]| {
            let mut joined = blank(root);
            parts.iter().for_each(|part| joined.merge(part));
            joined
        };
        let (one, two, three) = (part(0), part(1), part(2));
        let whole = grown(root, &ops);
        prop_assert_eq!(&joined(&[&one, &two, &three]), &whole);
        prop_assert_eq!(&joined(&[&three, &one, &three, &two, &one]), &whole, "in any order, and again");
        prop_assert_eq!(&joined(&[&one, &joined(&[&two, &three])]), &whole, "in any grouping");
        prop_assert_eq!(&joined(&[&joined(&[&one, &two]), &three]), &whole);
        prop_assert_eq!(&joined(&[&whole, &one]).evaluate(&identity()).unwrap(), &expected);
    }

    /// Each author's operations come in their order, however late: looking meanwhile changes nothing, and what is seen
    /// is what those would mean that have come.
    #[test]
    fn delay_leaves_no_trace(
        (root, lines) in histories(),
        turns in prop::collection::vec(prop::sample::select(&NODES[..]), OPS_MAX),
    ) {
        let ops = ops(&lines);
        let mut waiting: BTreeMap<NodeId, Vec<&Op>> = BTreeMap::new();
        ops.iter().rev().for_each(|op| waiting.entry(op.id.author).or_default().push(op));
        let mut slow = blank(root);
        let mut come: Vec<&Op> = Vec::new();
        for turn in turns {
            let Some(op) = waiting.get_mut(&node(turn)).and_then(Vec::pop) else { continue };
            come.push(op);
            slow.insert(op.clone());
            if come.len().is_multiple_of(LOOK_EACH) {
                let seen = slow.evaluate(&identity()).unwrap();
                prop_assert_eq!(seen, evaluate(root, come.iter().copied().rev()));
            }
        }
        waiting.into_values().flatten().for_each(|op| slow.insert(op.clone()));
        prop_assert_eq!(slow.evaluate(&identity()).unwrap(), evaluate(root, &ops));
    }

    /// Who has no part in the job changes nothing, whatever he signs.
    #[test]
    fn a_stranger_changes_nothing(
        course in courses(Root::default()),
        honest in lines(&MEMBERS, &MEMBERS),
        hostile in lines(&[STRANGER, FORMER], &NODES),
    ) {
        let honest: Vec<Op> = ops(&course).into_iter().chain(ops(&honest)).collect();
        let expected = effects(evaluate(Root::default(), &honest));
        prop_assert_eq!(effects(evaluate(Root::default(), honest.iter().chain(&ops(&hostile)))), expected);
    }

    /// A worker changes its own bid and its own reports, and nothing else.
    #[test]
    fn a_worker_speaks_for_its_own_runs_alone(
        honest in lines(&[AUTHOR, WORKER1, DELEGATE], &[AUTHOR, WORKER1, WORKER2, DELEGATE]),
        hostile in lines(&[WORKER2], &NODES),
    ) {
        let without_worker = |mut job: Job| {
            job.ignored.clear();
            job.last_seq.remove(&node(WORKER2));
            job.bids.remove(&node(WORKER2));
            job.dones.retain(|_, report| report.node != node(WORKER2));
            job.self_started.retain(|(_, by), _| *by != node(WORKER2));
            job
        };
        let honest = ops(&honest);
        let alone = evaluate(Root::default(), &honest);
        // a hand-over may have made the worker an arbiter
        if alone.epochs.iter().all(|opened| opened.arbiter != node(WORKER2)) {
            let all = evaluate(Root::default(), honest.iter().chain(&ops(&hostile)));
            prop_assert_eq!(without_worker(all), without_worker(alone));
        }
    }

    /// What counts obeys the rules, whatever is thrown at the fold, and is stored and read as itself.
    #[test]
    fn what_counts_obeys_the_rules((root, lines) in histories()) {
        let job = evaluate(root, &ops(&lines));
        rules(&job, &identity().admitted(&job));
        let stored = serde_json::to_string(&job).unwrap();
        prop_assert_eq!(serde_json::from_str::<Job>(&stored).unwrap(), job);
    }

    /// Whatever stands in a root's place, it is a job or none, whatever stands below it.
    #[test]
    fn any_root_is_a_job_or_none(
        pin in prop::sample::select(&[0u8, 1, 2, 9][..]),
        which in any::<prop::sample::Index>(),
        (root, lines) in histories(),
    ) {
        let ops = ops(&lines);
        let usual = root_of(root.create(&World, &"0".repeat(32)));
        let odd = ops.get(which.index(OPS_MAX)).unwrap_or(&usual).content.clone();
        let accepted = matches!(&odd, Content::Action(Action::Create(_))) && pin != 9;
        let mut history = History::new(JOB, Op { content: odd, pin: Some(revision(pin)), ..usual });
        let alone = history.evaluate(&identity());
        ops.into_iter().for_each(|op| history.insert(op));
        prop_assert_eq!(history.evaluate(&identity()).map(|job| job.create), alone.map(|job| job.create));
        prop_assert_eq!(history.evaluate(&identity()).is_ok(), accepted);
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

    /// What a script says is an action, and what it garbles is none, so that the laws are tried on what they are about.
    #[test]
    fn a_script_says_what_it_means((_, lines) in histories()) {
        for (line, op) in lines.iter().zip(ops(&lines)) {
            let is_action = matches!(line.body, Body::Says { .. } | Body::Root);
            prop_assert!(is_action == matches!(op.content, Content::Action(_)), "{line:?}");
        }
    }
}
