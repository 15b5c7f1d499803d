//! Cases of the fold, one rule each: a set of operations, and what it means.

use crate::script::{ARBITER2, AUTHOR, DELEGATE, FORMER, LATER, STRANGER, WORKER1, WORKER2};
use crate::world::{JOB, OTHER_JOB, act, create, identity, node, op, revision, root, root_of, tree};
use cobs::id::{Epoch, Seq, Term, Token};
use cobs::job::action::{Action, ActionError, GrantKind, RootGrant};
use cobs::job::history::{Content, History, Op};
use cobs::job::outcome::{Outcome, RunOutcome, Settlement};
use cobs::job::spec::Mode;
use cobs::job::state::{Ignored, Job, NoJob, Status};

const OK: RunOutcome = RunOutcome::Exited { code: 0 };
const SEQ_MAX: u32 = Seq::MAX.0;

fn job_of(root: Op, ops: impl IntoIterator<Item = Op>) -> Job {
    let mut history = History::new(JOB, root);
    ops.into_iter().for_each(|op| history.insert(op));
    history.evaluate(&identity()).unwrap()
}

/// The job of operations given as (author, action), all without a pin.
fn job(ops: &[(u8, cobs::job::action::Action)]) -> Job {
    job_of(root(), ops.iter().map(|(author, action)| op(*author, action.clone(), None)))
}

fn ignored(job: &Job) -> Vec<(Ignored, u32)> {
    job.ignored.iter().map(|(reason, count)| (*reason, *count)).collect()
}

#[test]
fn a_job_runs_its_course() {
    let done = act(JOB, 1).done(0, 1, OK);
    let result = Settlement::Result { term: Term(1), done: tree(&done) };
    let course = [
        (WORKER1, act(JOB, 0).bid(700)),
        (AUTHOR, act(JOB, 1).leased(0, 1, WORKER1)),
        (WORKER1, done),
        (AUTHOR, act(JOB, 2).settle(0, result)),
    ];
    let statuses: Vec<Status> = (0..=4).map(|upto| job(&course[..upto]).status()).collect();
    assert_eq!(statuses, [Status::Queued, Status::Queued, Status::Granted, Status::Provisional, Status::Settled]);
    let end = job(&course);
    assert_eq!(end.outcome(), Some(Outcome::Succeeded));
    assert_eq!(ignored(&end), []);
}

#[test]
fn a_settle_before_its_done_waits_for_the_result() {
    let done = act(JOB, 1).done(0, 1, OK);
    let result = Settlement::Result { term: Term(1), done: tree(&done) };
    let early = job(&[(AUTHOR, act(JOB, 1).leased(0, 1, WORKER1)), (AUTHOR, act(JOB, 2).settle(0, result))]);
    assert_eq!((early.status(), early.outcome()), (Status::Settled, None));
}

#[test]
fn each_operation_without_authority_is_ignored_for_its_reason() {
    let grant = (AUTHOR, act(JOB, 1).leased(0, 1, WORKER1));
    let cases = [
        ("a tree copied from another job", WORKER1, act(OTHER_JOB, 0).bid(1), Ignored::WrongJob),
        ("a stranger's bid", STRANGER, act(JOB, 0).bid(1), Ignored::NotAdmitted),
        ("a bid of one who is no worker", ARBITER2, act(JOB, 0).bid(1), Ignored::NotWorker),
        ("a grant of a worker", WORKER1, act(JOB, 0).leased(0, 2, WORKER1), Ignored::NotArbiter),
        ("a grant of the next arbiter, too early", ARBITER2, act(JOB, 0).leased(0, 2, WORKER1), Ignored::NotArbiter),
        ("a grant in an epoch that is not open", AUTHOR, act(JOB, 2).leased(1, 2, WORKER1), Ignored::BadEpoch),
        ("a grant to one who is no worker", AUTHOR, act(JOB, 2).leased(0, 2, ARBITER2), Ignored::NotWorker),
        ("a held grant to another", AUTHOR, act(JOB, 2).grant(0, 2, WORKER1, GrantKind::Held), Ignored::HeldNotAllowed),
        ("a report of another worker", WORKER2, act(JOB, 0).done(0, 1, OK), Ignored::NotHolder),
        ("a report of a term never granted", WORKER1, act(JOB, 0).done(0, 2, OK), Ignored::NoGrant),
        ("a start by itself of an exclusive job", WORKER1, act(JOB, 0).done(0, 0, OK), Ignored::ModeForbids),
        ("a settle of a worker", WORKER1, act(JOB, 0).settle(0, Settlement::Cancelled), Ignored::NotArbiter),
        ("a cancel of a worker", WORKER1, act(JOB, 0).cancel("no"), Ignored::NotDelegate),
        ("a step-down of a worker", WORKER1, act(JOB, 0).step_down(0, ARBITER2, 1), Ignored::NotArbiter),
        ("a step-down to one who is no arbiter", AUTHOR, act(JOB, 2).step_down(0, WORKER1, 1), Ignored::BadTarget),
        ("a step-down to itself", AUTHOR, act(JOB, 2).step_down(0, AUTHOR, 1), Ignored::BadTarget),
        ("a takeover of a worker", WORKER1, act(JOB, 0).takeover(1, WORKER1, 1), Ignored::NotDelegate),
        ("a takeover that leaves an epoch out", DELEGATE, act(JOB, 0).takeover(2, WORKER1, 1), Ignored::BadEpoch),
        ("a number too high", AUTHOR, act(JOB, SEQ_MAX + 1).leased(0, 2, WORKER1), Ignored::SequenceTooHigh),
    ];
    let before = job(std::slice::from_ref(&grant));
    for (what, author, action, reason) in cases {
        let after = job(&[grant.clone(), (author, action)]);
        assert_eq!(ignored(&after), [(reason, 1)], "{what}");
        assert_eq!((&after.grants, &after.dones), (&before.grants, &before.dones), "{what}");
        assert_eq!((&after.epochs, &after.settled), (&before.epochs, &before.settled), "{what}");
        assert_eq!((&after.bids, &after.cancels), (&before.bids, &before.cancels), "{what}");
    }
}

#[test]
fn of_one_number_the_smaller_tree_counts_and_the_other_has_no_effect_at_all() {
    // found with the laws: a StepDown that had lost its number still opened an epoch
    let step_down = (AUTHOR, act(JOB, 1).step_down(0, ARBITER2, 1));
    let mut losing = None;
    for score in 0.. {
        let other = act(JOB, 1).leased(0, score + 1, WORKER1);
        if tree(&other) < tree(&step_down.1) {
            losing = Some(other);
            break;
        }
    }
    let job = job(&[step_down, (AUTHOR, losing.unwrap())]);
    assert_eq!(job.epochs.len(), 1);
    assert_eq!(job.grants.len(), 1);
    assert_eq!(ignored(&job), [(Ignored::SequenceReused, 1)]);
}

#[test]
fn a_takeover_outranks_a_step_down_and_the_smaller_tree_another_takeover() {
    let step_down = (AUTHOR, act(JOB, 1).step_down(0, ARBITER2, 0));
    let one = (DELEGATE, act(JOB, 0).takeover(1, WORKER1, 0));
    let two = (DELEGATE, act(JOB, 1).takeover(1, WORKER2, 0));
    let smaller = if tree(&one.1) < tree(&two.1) { WORKER1 } else { WORKER2 };
    assert_eq!(job(std::slice::from_ref(&step_down)).arbiter(), (Epoch(1), node(ARBITER2)));
    assert_eq!(job(&[step_down.clone(), one.clone()]).arbiter(), (Epoch(1), node(WORKER1)));
    assert_eq!(job(&[step_down, one, two]).arbiter(), (Epoch(1), node(smaller)));
}

#[test]
fn a_takeover_may_admit_a_stranger_whose_grants_then_count() {
    let takeover = (DELEGATE, act(JOB, 0).takeover(1, STRANGER, 1));
    let grant = (STRANGER, act(JOB, 0).leased(1, 2, WORKER2));
    let job = job(&[(AUTHOR, act(JOB, 1).leased(0, 1, WORKER1)), takeover, grant]);
    assert_eq!(job.holder().map(|(token, granted)| (token, granted.node)), Some((Token::new(1, 2), node(WORKER2))));
    assert_eq!(ignored(&job), []);
}

#[test]
fn grants_above_the_last_term_of_a_hand_over_do_not_count() {
    let ops = [
        (AUTHOR, act(JOB, 1).leased(0, 1, WORKER1)),
        (AUTHOR, act(JOB, 2).leased(0, 2, WORKER2)),
        (AUTHOR, act(JOB, 3).step_down(0, ARBITER2, 1)),
        (ARBITER2, act(JOB, 0).leased(1, 1, WORKER2)),
        (ARBITER2, act(JOB, 1).leased(1, 2, WORKER2)),
    ];
    let job = job(&ops);
    assert_eq!(job.grants.keys().copied().collect::<Vec<_>>(), [Token::new(0, 1), Token::new(1, 2)]);
    assert_eq!(ignored(&job), [(Ignored::TermOutOfRange, 2)]);
}

#[test]
fn a_grant_in_the_root_counts_like_another() {
    let granted = |grant: RootGrant| root_of(cobs::job::action::Create { grant: Some(grant), ..create() });
    let leased = RootGrant { node: node(WORKER1), kind: GrantKind::Leased, lease_ms: 30_000 };
    let with = job_of(granted(leased), []);
    assert_eq!(with.holder().map(|(token, _)| token), Some(Token::new(0, 1)));
    // found with the laws: it stood although the hand-over left no term of epoch 0
    let takeover = op(DELEGATE, act(JOB, 0).takeover(1, WORKER2, 0), None);
    let without = job_of(granted(leased), [takeover]);
    assert_eq!(without.holder(), None);
    assert_eq!(ignored(&without), [(Ignored::TermOutOfRange, 1)]);

    let evaluate = |grant| History::new(JOB, granted(grant)).evaluate(&identity());
    assert_eq!(evaluate(RootGrant { node: node(ARBITER2), ..leased }).unwrap_err(), NoJob::Grant);
    assert_eq!(evaluate(RootGrant { kind: GrantKind::Held, ..leased }).unwrap_err(), NoJob::Grant);
    let own = RootGrant { node: node(AUTHOR), kind: GrantKind::Held, ..leased };
    assert!(evaluate(own).is_ok());
    let mut other = create();
    other.arbiters = vec![node(ARBITER2)];
    other.grant = Some(leased);
    assert_eq!(History::new(JOB, root_of(other)).evaluate(&identity()).unwrap_err(), NoJob::Grant);
}

#[test]
fn two_settles_are_decided_by_epoch_then_by_tree_and_the_other_is_kept() {
    let (one, two) = (act(JOB, 1).settle(0, Settlement::Cancelled), act(JOB, 2).settle(0, Settlement::Expired));
    let smaller = tree(&one).min(tree(&two));
    let same_epoch = [(AUTHOR, one), (AUTHOR, two)];
    let first = job(&same_epoch);
    assert_eq!(first.settled.map(|settled| settled.tree), Some(smaller));
    assert_eq!(first.other_settles.len(), 1);

    let lost = Settlement::Lost { term: Term(1) };
    let mut ops = same_epoch.to_vec();
    ops.push((DELEGATE, act(JOB, 0).takeover(1, ARBITER2, 1)));
    ops.push((ARBITER2, act(JOB, 0).settle(1, lost)));
    let forced = job(&ops);
    assert_eq!(forced.settled.map(|settled| settled.outcome), Some(lost));
    assert_eq!(forced.other_settles.len(), 2);
}

#[test]
fn a_pin_is_known_and_not_older_than_the_roots() {
    let cancel = |author, pin: Option<u8>| {
        let job = job_of(root(), [op(author, act(JOB, 0).cancel("x"), pin.map(revision))]);
        (job.cancels.len(), ignored(&job).first().map(|(reason, _)| *reason))
    };
    assert_eq!(cancel(DELEGATE, None), (1, None));
    assert_eq!(cancel(DELEGATE, Some(1)), (1, None));
    assert_eq!(cancel(DELEGATE, Some(2)), (1, None));
    assert_eq!(cancel(DELEGATE, Some(9)), (0, Some(Ignored::PinUnknown)), "a self-made document");
    assert_eq!(cancel(DELEGATE, Some(0)), (0, Some(Ignored::PinTooOld)));
    assert_eq!(cancel(FORMER, None), (0, Some(Ignored::NotAdmitted)));
    assert_eq!(cancel(LATER, Some(2)), (1, None));
    assert_eq!(cancel(LATER, Some(1)), (0, Some(Ignored::NotDelegate)));

    let mut copies = History::new(JOB, root());
    for pin in [9, 0, 2] {
        copies.insert(op(DELEGATE, act(JOB, 0).cancel("x"), Some(revision(pin))));
    }
    assert_eq!(copies.evaluate(&identity()).unwrap().cancels.len(), 1, "any acceptable pin of a copied tree will do");

    let unpinned = Op { pin: None, ..root() };
    assert_eq!(History::new(JOB, unpinned).evaluate(&identity()).unwrap_err(), NoJob::Pin);
}

#[test]
fn an_idempotent_job_may_report_without_a_grant() {
    let root = root_of(cobs::job::action::Create { mode: Mode::Idempotent, ..create() });
    let (one, two) = (act(JOB, 0).done(0, 0, OK), act(JOB, 1).done(0, 0, OK));
    let result = Settlement::Result { term: Term(0), done: tree(&one) };
    let job =
        job_of(root, [op(WORKER1, one, None), op(WORKER1, two, None), op(AUTHOR, act(JOB, 1).settle(0, result), None)]);
    assert_eq!(job.self_started.len(), 1);
    assert_eq!(job.outcome(), Some(Outcome::Succeeded));
    assert_eq!(ignored(&job), [(Ignored::TokenTaken, 1)]);
}

#[test]
fn of_two_reports_of_one_run_the_first_by_its_author_s_numbers_counts() {
    for code in 0..8 {
        let grant = (AUTHOR, act(JOB, 1).leased(0, 1, WORKER1));
        let first = act(JOB, 0).done(0, 1, RunOutcome::Exited { code });
        let second = act(JOB, 1).done(0, 1, RunOutcome::Lost);
        let job = job(&[grant, (WORKER1, second), (WORKER1, first)]);
        assert_eq!(job.dones[&Token::new(0, 1)].outcome, RunOutcome::Exited { code });
        assert_eq!(ignored(&job), [(Ignored::TokenTaken, 1)]);
    }
}

#[test]
fn what_cannot_be_read_is_counted() {
    let shapes = [
        (Content::Many(3), Ignored::ManyActions),
        (Content::Unreadable(ActionError::TooLarge { bytes: 1 << 20 }), Ignored::TooLarge),
        (Content::Unreadable(ActionError::Bounds { field: "score" }), Ignored::Malformed),
    ];
    for (content, reason) in shapes {
        let odd = Op { content, ..op(WORKER1, act(JOB, 0).bid(1), None) };
        assert_eq!(ignored(&job_of(root(), [odd])), [(reason, 1)]);
    }
    let second = Op { id: op(WORKER1, act(JOB, 0).bid(1), None).id, ..root() };
    assert_eq!(ignored(&job_of(root(), [second])), [(Ignored::SecondRoot, 1)]);
}

#[test]
fn an_arbiter_that_has_settled_does_not_step_down() {
    // or its successor could settle the job once more, in a higher epoch
    let settle = |seq: u32| (AUTHOR, act(JOB, seq).settle(0, Settlement::Cancelled));
    let step_down = |seq: u32| (AUTHOR, act(JOB, seq).step_down(0, ARBITER2, 1));
    let again = (ARBITER2, act(JOB, 0).settle(1, Settlement::Expired));
    let settled = job(&[settle(1), step_down(2), again.clone()]);
    assert_eq!(settled.settled.map(|settled| settled.outcome), Some(Settlement::Cancelled));
    assert_eq!((settled.epochs.len(), settled.other_settles.len()), (1, 0));
    assert_eq!(ignored(&settled), [(Ignored::BadEpoch, 1), (Ignored::AfterSettle, 1)]);
    // what it settles after its hand-over is an alarm
    let handed = job(&[step_down(1), settle(2), again]);
    assert_eq!(handed.settled.map(|settled| settled.outcome), Some(Settlement::Expired));
    assert_eq!((handed.epochs.len(), handed.other_settles.len()), (2, 1));
}

#[test]
fn an_id_has_one_spelling() {
    // the libraries' parsers take several, and another reader might not
    let repo = "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5";
    let digest = "ab".repeat(32);
    let mut root = create();
    root.spec.source =
        Some(cobs::job::spec::Source { repo: repo.parse().unwrap(), commit: "c".repeat(40).parse().unwrap() });
    root.spec.inputs = vec![cobs::job::spec::Input { path: "in".into(), digest: digest.parse().unwrap(), size: 1 }];
    root.spec.requirements.labels = ["a".to_owned(), "b".to_owned()].into();
    let text = String::from_utf8(Action::Create(Box::new(root)).encode()).unwrap();
    assert!(Action::decode(text.as_bytes()).is_ok());
    let unsorted = text.replace(r#"["a","b"]"#, r#"["b","a","b"]"#);
    assert_eq!(Action::decode(unsorted.as_bytes()), Action::decode(text.as_bytes()), "a set has no order");
    assert_ne!(unsorted, text);
    let hex: String = [WORKER1; 32].iter().map(|byte| format!("{byte:02x}")).collect();
    let spellings = [
        (repo.to_owned(), repo.trim_start_matches("rad:").to_owned()),
        (node(WORKER1).to_string(), format!("fed01{hex}")),
        (digest.clone(), digest.to_uppercase()),
        (digest.clone(), format!("+b{}", &digest[2..])),
        ("c".repeat(40), "C".repeat(40)),
    ];
    for (own, other) in spellings {
        let odd = text.replacen(&own, &other, 1);
        assert_ne!(odd, text, "{own} is not there");
        assert!(Action::decode(odd.as_bytes()).is_err(), "{other} was taken for {own}");
    }
}
