//! What a lease promises: a run lives by its arbiter's word, ends without it, and never runs twice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::node::{Node, runs_nothing, runs_something};
use crate::support::{fault, wait};

/// A lease that a test can outwait; the shortest that the design's own tests use.
const SHORT: (&str, &str) = ("scheduler.lease_ms", "2000");
/// A lease by which a debug daemon on a busy machine is surely up again.
const LONG: (&str, &str) = ("scheduler.lease_ms", "30000");
/// A short lease, the wait for another grant after it (a fifth more and one second), and what a busy machine adds.
const LEASE_OVER: Duration = Duration::from_secs(20);

/// A run that takes several leases is renewed, and ends by itself.
#[test]
fn a_run_outlives_several_leases() {
    let ann = Node::start_with("ann", &[SHORT]);
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let output = ann.cli(&["--json", "run", "--on", "bob", "--", "sh", "-c", "sleep 6; exit 7"]);
    let job: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &job["runOutcome"]), (7, &json!({"type": "exited", "code": 7})), "{job:#}");
    assert_eq!((job["state"]["grants"].as_array().unwrap().len(), bob.runs(job["id"].as_str().unwrap())), (1, 1));
}

/// When the arbiter's daemon dies, the run ends at its lease; the job is told so after the restart, and no second run is
/// begun.
#[test]
fn a_run_ends_at_its_lease_without_its_arbiter() {
    let mut ann = Node::start_with("ann", &[SHORT]);
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--", "sh", "-c", "while :; do date +%s%N; sleep 0.05; done"]);
    bob.running(&id);
    ann.kill();
    wait::until("the run has ended", LEASE_OVER, || runs_nothing(&bob));
    assert_eq!(bob.runs(&id), 1);
    ann.up();
    let job = ann.until(&id, "the job is settled", LEASE_OVER * 2, |job| job["status"] == "settled");
    assert_eq!((&job["outcome"], &job["exitCode"]), (&json!("lost"), &json!(125)), "{job:#}");
    assert_eq!(job["state"]["grants"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!((ann.runs(&id), bob.runs(&id)), (0, 1));
}

/// A worker's daemon that dies and is up again within the lease adopts its run, which ends by itself: begun once, with
/// the whole of its log.
#[test]
fn a_run_is_adopted_within_its_lease() {
    let ann = Node::start_with("ann", &[LONG]);
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--", "sh", "-c", "for i in $(seq 60); do echo $i; sleep 0.1; done"]);
    // a daemon killed before its supervisor is armed has started nothing
    wait::until("the supervisor is armed", wait::LIMIT, || runs_something(&bob));
    bob.kill();
    bob.up();
    let job = ann.settled(&id);
    assert_eq!((&job["outcome"], &job["exitCode"]), (&json!("succeeded"), &json!(0)), "{job:#}");
    assert_eq!((job["state"]["grants"].as_array().unwrap().len(), bob.runs(&id)), (1, 1), "{job:#}");
    let wanted: String = (1..=60).map(|line| format!("{line}\n")).collect();
    assert_eq!(ann.cli(&["job", "logs", &id]).ok(), wanted);
}

/// A worker killed with its supervisors has lost its run: the job says so, and it is not begun again.
#[test]
fn a_run_killed_with_its_supervisor_is_lost() {
    let ann = Node::start_with("ann", &[SHORT]);
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    // one killed before it is armed could not start, and is lost only after that
    wait::until("the supervisor is armed", wait::LIMIT, || runs_something(&bob));
    bob.kill();
    fault::kill_named(&bob.home, fault::SUPERVISOR);
    bob.up();
    let job = ann.until(&id, "the job is settled", LEASE_OVER * 2, |job| job["status"] == "settled");
    assert_eq!((&job["outcome"], &job["exitCode"]), (&json!("lost"), &json!(125)), "{job:#}");
    assert_eq!((ann.runs(&id), bob.runs(&id)), (0, 1));
}
