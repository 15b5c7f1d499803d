//! `xyz.radworks.job`: its wire form, and what is said of a job in it, by whom.

use cobs::id::{CommitId, NodeId, Oid, RepoId, Term};
use cobs::job::action::{Action as Said, Create, GrantKind};
use cobs::job::history::History;
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::{Mode, Privacy, Source};
use cobs::job::state::Job;
use cobs::radworks::{Action, Line, Reason, RunUuid, Runs, Stage, Voice};

use crate::script::{ARBITER2, AUTHOR, DELEGATE, WORKER1, WORKER2};
use crate::world::{JOB, OTHER_JOB, act, create, identity, node, op, root_of, tree};

const LEDGER: &str = "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5";
const COMMIT: CommitId = CommitId(Oid::Sha1([0xcc; 20]));

fn source() -> Source {
    Source { repo: "rad:z42hL2jL4XNk6K8oHQaSWfMgCL7ji".parse().unwrap(), commit: COMMIT }
}

/// The root of a job bound to a commit.
fn bound() -> Create {
    let mut create = create();
    create.spec.source = Some(source());
    create
}

fn job(create: Create, said: &[(u8, Said)]) -> Job {
    let mut history = History::new(JOB, root_of(create));
    said.iter().for_each(|(author, action)| history.insert(op(*author, action.clone(), None)));
    history.evaluate(&identity()).unwrap()
}

fn line(job: &Job, by: NodeId, confirmed: bool) -> Option<Line> {
    Line::of(job, LEDGER.parse::<RepoId>().unwrap(), by, confirmed)
}

fn stage(said: &[(u8, Said)], confirmed: bool) -> Stage {
    line(&job(bound(), said), node(AUTHOR), confirmed).unwrap().stage
}

fn result(done: &Said) -> Settlement {
    Settlement::Result { term: Term(1), done: tree(done) }
}

fn done(code: u8) -> Said {
    act(JOB, 1).done(0, 1, RunOutcome::Exited { code })
}

/// The bytes are those that `radicle-job` 0.6.0 writes in Radicle's canonical JSON; a field that is new is not looked at.
#[test]
fn the_three_actions_have_the_bytes_of_radicle_job() {
    let uuid = RunUuid::of(JOB);
    let commit = "cc".repeat(20);
    let written = [
        (Action::Request { oid: COMMIT }, format!(r#"{{"Request":{{"oid":"{commit}"}}}}"#)),
        (
            Action::Run { uuid: uuid.clone(), log: "rad:z3x/1".to_owned() },
            format!(r#"{{"Run":{{"log":"rad:z3x/1","uuid":"{uuid}"}}}}"#),
        ),
        (
            Action::Finished { uuid: uuid.clone(), reason: Reason::Succeeded },
            format!(r#"{{"Finished":{{"reason":"Succeeded","uuid":"{uuid}"}}}}"#),
        ),
        (
            Action::Finished { uuid: uuid.clone(), reason: Reason::Failed },
            format!(r#"{{"Finished":{{"reason":"Failed","uuid":"{uuid}"}}}}"#),
        ),
    ];
    for (action, bytes) in written {
        assert_eq!(String::from_utf8(action.encode()).unwrap(), bytes);
        assert_eq!(Action::decode(bytes.as_bytes()), Some(action.clone()));
        let within = format!(r#"{},"new":[]}}}}"#, bytes.strip_suffix("}}").unwrap());
        assert_eq!(Action::decode(within.as_bytes()), Some(action));
    }
    assert_eq!(Action::decode(br#"{"type":"create"}"#), None);
}

/// A run's id is a UUID, the same for a job at any time, and another for another job.
#[test]
fn a_run_has_one_uuid() {
    assert_eq!(RunUuid::of(JOB).to_string(), "1c741416-2644-80b0-950e-6ec7df813e87");
    let text = RunUuid::of(OTHER_JOB).to_string();
    assert_ne!(RunUuid::of(JOB).to_string(), text);
    let parts: Vec<&str> = text.split('-').collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(parts[2].starts_with('8') && parts[3].starts_with(['8', '9', 'a', 'b']), "{text}");
}

/// A job is requested until a term of it is confirmed or held, or a report of a run is there; it has ended when it is settled
/// and its end is known.
#[test]
fn a_stage_follows_from_the_job() {
    let bid = (WORKER1, act(JOB, 0).bid(7));
    let granted = (AUTHOR, act(JOB, 1).leased(0, 1, WORKER1));
    let held = (AUTHOR, act(JOB, 1).grant(0, 1, AUTHOR, GrantKind::Held));
    let reported = |code| (WORKER1, done(code));
    let settled = |how| (AUTHOR, act(JOB, 2).settle(0, how));
    let released = (WORKER1, act(JOB, 1).done(0, 1, RunOutcome::Released));
    let lost = Settlement::Lost { term: Term(1) };
    let superseded = Settlement::Superseded { by: OTHER_JOB };
    let (failed, succeeded) = (Stage::Finished(Reason::Failed), Stage::Finished(Reason::Succeeded));
    for (what, said, confirmed, stage_wanted) in [
        ("nothing but the root", vec![], false, Stage::Requested),
        ("a bid", vec![bid], false, Stage::Requested),
        ("a grant that nobody confirmed", vec![granted.clone()], false, Stage::Requested),
        ("a grant that was confirmed", vec![granted.clone()], true, Stage::Started),
        ("a held grant", vec![held], false, Stage::Started),
        ("a grant given back", vec![granted.clone(), released], false, Stage::Requested),
        ("a report", vec![granted.clone(), reported(3)], false, Stage::Started),
        ("a settle before its report", vec![granted.clone(), settled(result(&done(0)))], false, Stage::Started),
        ("a result", vec![granted.clone(), reported(0), settled(result(&done(0)))], false, succeeded),
        ("a bad result", vec![granted.clone(), reported(3), settled(result(&done(3)))], true, failed),
        ("a run that was lost", vec![granted.clone(), settled(lost)], false, failed),
        ("cancelled after it began", vec![granted.clone(), settled(Settlement::Cancelled)], true, failed),
        ("cancelled before", vec![granted.clone(), settled(Settlement::Cancelled)], false, Stage::Requested),
        ("expired", vec![settled(Settlement::Expired)], false, Stage::Requested),
        ("superseded before it began", vec![granted, settled(superseded)], false, Stage::Requested),
    ] {
        assert_eq!(stage(&said, confirmed), stage_wanted, "{what}");
    }
    let mut by_rank = bound();
    by_rank.mode = Mode::Idempotent;
    let job = job(by_rank, &[(WORKER2, act(JOB, 0).done(0, 0, RunOutcome::Exited { code: 0 }))]);
    assert_eq!(line(&job, node(AUTHOR), false).unwrap().stage, Stage::Started, "a run that began by rank");
}

/// Only who decides speaks of a job, and only of one that is bound to a commit and not private.
#[test]
fn only_the_arbiter_speaks() {
    let here = job(bound(), &[]);
    let by = |job: &Job, seed| line(job, node(seed), false).map(|line| line.voice);
    assert_eq!(by(&here, AUTHOR), Some(Voice::Arbiter));
    assert_eq!([ARBITER2, WORKER1, DELEGATE].map(|seed| by(&here, seed)), [None; 3]);
    let passed_on = job(bound(), &[(AUTHOR, act(JOB, 1).step_down(0, ARBITER2, 0))]);
    assert_eq!([AUTHOR, ARBITER2].map(|seed| by(&passed_on, seed)), [Some(Voice::Former), Some(Voice::Arbiter)]);
    let mut private = bound();
    private.spec.privacy = Privacy::Private;
    for silent in [create(), private] {
        assert_eq!(by(&job(silent, &[]), AUTHOR), None);
    }
}

fn runs(actions: &[Action]) -> Runs {
    let mut runs = Runs::default();
    actions.iter().cloned().for_each(|action| runs.apply(action));
    runs
}

/// What is missing is said, once, in order; the run's address names the ledger and the job.
#[test]
fn what_is_missing_is_said_once() {
    let uuid = RunUuid::of(JOB);
    let run = Action::Run { uuid: uuid.clone(), log: format!("{LEDGER}/{JOB}") };
    let end = |reason| Action::Finished { uuid: uuid.clone(), reason };
    let line = |voice, stage| Line { voice, stage, ..line(&job(bound(), &[]), node(AUTHOR), false).unwrap() };
    let (arbiter, former) = (Voice::Arbiter, Voice::Former);
    let (failed, succeeded) = (Stage::Finished(Reason::Failed), Stage::Finished(Reason::Succeeded));
    let ended = vec![run.clone(), end(Reason::Succeeded)];
    for (what, voice, stage, there, missing) in [
        ("nothing to say", arbiter, Stage::Requested, vec![], vec![]),
        ("a run begins", arbiter, Stage::Started, vec![], vec![run.clone()]),
        ("it goes on", arbiter, Stage::Started, vec![run.clone()], vec![]),
        ("it ends", arbiter, failed, vec![run.clone()], vec![end(Reason::Failed)]),
        ("both at once", arbiter, succeeded, vec![], ended.clone()),
        ("all is said", arbiter, succeeded, ended.clone(), vec![]),
        ("an end without a run is none", arbiter, succeeded, vec![end(Reason::Succeeded)], ended.clone()),
        ("another end after a takeover", arbiter, failed, ended.clone(), vec![end(Reason::Failed)]),
        ("who no longer decides begins nothing", former, Stage::Started, vec![], vec![]),
        ("and ends nothing that he did not begin", former, succeeded, vec![], vec![]),
        ("but what he did", former, succeeded, vec![run.clone()], vec![end(Reason::Succeeded)]),
        ("and corrects it", former, failed, ended.clone(), vec![end(Reason::Failed)]),
    ] {
        let line = line(voice, stage);
        let said = line.missing(&runs(&there));
        assert_eq!(said, missing, "{what}");
        let after: Vec<Action> = there.into_iter().chain(said).collect();
        assert_eq!(line.missing(&runs(&after)), [], "{what}, once more");
    }
    assert!(line(arbiter, succeeded).founds() && !line(former, succeeded).founds());
    assert_eq!(line(arbiter, failed).request(), Action::Request { oid: COMMIT });
}
