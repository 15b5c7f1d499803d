//! What the laws are tried on: the random histories reach every action, every reason to ignore one, every status and
//! every end. A law over histories that never get there would hold of anything.

use std::collections::BTreeMap;

use cobs::job::action::{Action, GrantKind};
use cobs::job::history::{Content, History, Op};
use cobs::job::outcome::{Outcome, RunOutcome, Settlement};
use cobs::job::state::{HandOver, Ignored, Job, Status};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::script::strategy::histories;
use crate::world::{JOB, World, identity, root_of};

/// Histories that are looked at.
const HISTORIES: usize = 1_000;
/// How many of them must show each thing.
const EACH_MIN: usize = 10;

/// Everything that a history may show. A variant that is new must be named here, and be reached.
pub const EXPECTED: &[&str] = &[
    "ignored Malformed",
    "ignored TooLarge",
    "ignored ManyActions",
    "ignored WrongJob",
    "ignored SecondRoot",
    "ignored NotAdmitted",
    "ignored SequenceReused",
    "ignored SequenceTooHigh",
    "ignored PinUnknown",
    "ignored PinTooOld",
    "ignored NotWorker",
    "ignored NotArbiter",
    "ignored NotDelegate",
    "ignored NotHolder",
    "ignored NoGrant",
    "ignored TokenTaken",
    "ignored TermOutOfRange",
    "ignored HeldNotAllowed",
    "ignored BadTarget",
    "ignored BadEpoch",
    "ignored AfterSettle",
    "ignored ModeForbids",
    "action create",
    "action bid",
    "action grant",
    "action done",
    "action settle",
    "action cancel",
    "action stepDown",
    "action takeover",
    "Queued",
    "Granted",
    "Provisional",
    "Settled",
    "settled Result",
    "settled Cancelled",
    "settled Lost",
    "settled Expired",
    "settled Superseded",
    "result on its way",
    "second settle",
    "Succeeded",
    "Failed",
    "outcome Cancelled",
    "outcome Lost",
    "outcome Expired",
    "outcome Superseded",
    "run Exited",
    "run Signalled",
    "run OutOfMemory",
    "run TimedOut",
    "run Cancelled",
    "run CouldNotStart",
    "run Lost",
    "run Released",
    "started by rank",
    "held",
    "leased",
    "stepped down",
    "taken over",
    "third epoch",
    "duplicate run",
    "cancel asked",
    "a bid that stands",
    "a bid given back",
];

#[test]
fn the_histories_of_the_laws_reach_everything() {
    let mut runner = TestRunner::deterministic();
    let strategy = histories();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..HISTORIES {
        let (root, lines) = strategy.new_tree(&mut runner).unwrap().current();
        let mut history = History::new(JOB, root_of(root.create(&World, &"0".repeat(32))));
        let ops: Vec<Op> = lines.iter().map(|line| line.op(&World)).collect();
        let mut shown: Vec<String> = ops.iter().filter_map(action).collect();
        ops.into_iter().for_each(|op| history.insert(op));
        shown.extend(features(&history.evaluate(&identity()).unwrap()));
        shown.sort();
        shown.dedup();
        for feature in shown {
            *seen.entry(feature).or_default() += 1;
        }
    }
    let rare: Vec<_> = EXPECTED.iter().map(|name| (*name, seen.get(*name).copied().unwrap_or(0))).collect();
    let rare: Vec<_> = rare.into_iter().filter(|(_, count)| *count < EACH_MIN).collect();
    assert!(rare.is_empty(), "of {HISTORIES} histories too few show: {rare:?}");
    let unnamed: Vec<_> = seen.keys().filter(|name| !EXPECTED.contains(&name.as_str())).collect();
    assert!(unnamed.is_empty(), "name them: {unnamed:?}");
}

fn action(op: &Op) -> Option<String> {
    let Content::Action(action) = &op.content else { return None };
    Some(format!("action {}", Action::name(action)))
}

fn features(job: &Job) -> Vec<String> {
    let mut features: Vec<String> = job.ignored.keys().map(|reason: &Ignored| format!("ignored {reason:?}")).collect();
    let status: Status = job.status();
    features.push(format!("{status:?}"));
    if let Some(settled) = job.settled {
        let name = match settled.outcome {
            Settlement::Result { .. } => "Result",
            Settlement::Cancelled => "Cancelled",
            Settlement::Lost { .. } => "Lost",
            Settlement::Expired => "Expired",
            Settlement::Superseded { .. } => "Superseded",
        };
        features.push(format!("settled {name}"));
        features.push(match job.outcome() {
            None => "result on its way".to_owned(),
            Some(outcome @ (Outcome::Succeeded | Outcome::Failed)) => format!("{outcome:?}"),
            Some(outcome) => format!("outcome {outcome:?}"),
        });
    }
    for report in job.dones.values().chain(job.self_started.values()) {
        let name = match report.outcome {
            RunOutcome::Exited { .. } => "Exited",
            RunOutcome::Signalled { .. } => "Signalled",
            RunOutcome::OutOfMemory => "OutOfMemory",
            RunOutcome::TimedOut => "TimedOut",
            RunOutcome::Cancelled => "Cancelled",
            RunOutcome::CouldNotStart => "CouldNotStart",
            RunOutcome::Lost => "Lost",
            RunOutcome::Released => "Released",
        };
        features.push(format!("run {name}"));
    }
    for granted in job.grants.values() {
        features.push(match granted.kind {
            GrantKind::Leased => "leased".to_owned(),
            GrantKind::Held => "held".to_owned(),
        });
    }
    for opened in &job.epochs {
        features.extend(opened.by.as_ref().map(|by| match by {
            HandOver::StepDown(_) => "stepped down".to_owned(),
            HandOver::Takeover(_) => "taken over".to_owned(),
        }));
    }
    let standing = job.standing_bids().count();
    let facts = [
        ("second settle", !job.other_settles.is_empty()),
        ("started by rank", !job.self_started.is_empty()),
        ("third epoch", job.epochs.len() > 2),
        ("duplicate run", job.dones.len() + job.self_started.len() > 1),
        ("cancel asked", !job.cancels.is_empty()),
        ("a bid that stands", standing > 0),
        ("a bid given back", standing < job.bids.len()),
    ];
    features.extend(facts.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name.to_owned()));
    features
}
