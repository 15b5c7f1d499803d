//! Another attempt, another arbiter: what follows when a run fails, its machine dies, or who decides is away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::node::{Node, runs_something};
use crate::support::{fault, wait};

const SHORT: (&str, &str) = ("scheduler.lease_ms", "2000");
/// A short lease, the wait after it, and what a busy machine adds.
const LEASE_OVER: Duration = Duration::from_secs(40);

fn grants(job: &Value) -> usize {
    job["state"]["grants"].as_array().unwrap().len()
}

fn arbiter(job: &Value) -> &Value {
    &job["state"]["epochs"].as_array().unwrap().last().unwrap()["arbiter"]
}

/// A run that fails is begun again as often as was said, and no other exit than those named is worth another attempt.
#[test]
fn a_run_that_fails_is_tried_again() {
    let ann = Node::start("ann");
    for (options, runs) in [(["--attempts", "3"].as_slice(), 3), (&["--attempts", "3", "--retry-on", "4"], 1)] {
        let id = ann.submit(&[options, &["--", "sh", "-c", "exit 3"]].concat());
        let job = ann.settled(&id);
        assert_eq!((&job["outcome"], &job["exitCode"]), (&json!("failed"), &json!(3)), "{job:#}");
        assert_eq!((grants(&job), ann.runs(&id)), (runs, runs), "{job:#}");
    }
}

/// A run whose machine dies with its supervisor is begun again when its lease is surely over, and only then.
#[test]
fn a_run_that_is_lost_is_begun_again() {
    let ann = Node::start_with("ann", &[SHORT]);
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--attempts", "2", "--", "sh", "-c", "sleep 3; echo over"]);
    wait::until("the supervisor is armed", wait::LIMIT, || runs_something(&bob));
    bob.kill();
    fault::kill_named(&bob.home, fault::SUPERVISOR);
    ann.until(&id, "it is granted again", LEASE_OVER, |job| grants(job) == 2);
    bob.up();
    let job = ann.until(&id, "the job is settled", LEASE_OVER, |job| job["status"] == "settled");
    assert_eq!(job["outcome"], json!("succeeded"), "{job:#}");
    assert_eq!(grants(&job), 2, "{job:#}");
}

/// The node that decides hands a job over to the one that stands by; from then on that one ends it.
#[test]
fn a_job_is_handed_over_and_settled_by_its_new_arbiter() {
    let ann = Node::start_with("ann", &[SHORT]);
    let bob = Node::join("bob", &[], &ann, "submit,run,arbitrate");
    let id = ann.submit(&["--on", "ann", "--standby", "bob", "--", "sh", "-c", "while :; do sleep 0.1; done"]);
    ann.running(&id);
    let job = ann.json(&["job", "handover", &id]);
    assert_eq!(arbiter(&job), &json!(bob.id()), "{job:#}");
    // one that does not decide cannot pass it on, and says who can
    let refused = ann.cli(&["job", "handover", &id]);
    assert!(refused.code != 0 && refused.stderr.contains("bob decides about the job"), "{}", refused.stderr);
    ann.cli(&["job", "cancel", &id]).ok();
    let job = bob.until(&id, "bob settles it", LEASE_OVER, |job| job["status"] == "settled");
    assert_eq!((&job["outcome"], &job["state"]["settled"]["epoch"]), (&json!("cancelled"), &json!(1)), "{job:#}");
    let seen = ann.until(&id, "ann sees it", LEASE_OVER, |job| job["status"] == "settled");
    assert_eq!(seen["state"]["settled"], job["state"]["settled"]);
}

/// A delegate replaces an arbiter that is dead, and is told first what that risks; the job then runs and ends, and the old
/// arbiter comes back to the same end.
#[test]
fn a_dead_arbiter_is_replaced() {
    let ann = Node::start_with("ann", &[SHORT]);
    let mut bob = Node::join("bob", &[], &ann, "submit,run,arbitrate");
    bob.down();
    let id = ann.submit(&["--on", "ann", "--arbiter", "bob", "--", "true"]);
    let refused = ann.cli(&["job", "takeover", &id]);
    assert!(refused.code != 0 && refused.stderr.contains("may run on two nodes at once"), "{}", refused.stderr);
    let job = ann.json(&["job", "takeover", &id, "--dead", "--lease", "1s", "--reason", "its disk is gone"]);
    assert_eq!(arbiter(&job), &json!(ann.id()), "{job:#}");
    let job = ann.until(&id, "the job is settled", LEASE_OVER, |job| job["status"] == "settled");
    assert_eq!((&job["outcome"], &job["state"]["settled"]["epoch"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    bob.up();
    let seen = bob.until(&id, "bob sees it", LEASE_OVER, |job| job["status"] == "settled");
    assert_eq!(seen["state"]["settled"], job["state"]["settled"]);
}
