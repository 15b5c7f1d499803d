//! Settled jobs leave the live references, and nobody notices but by what it costs.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::garbage::collected;
use crate::pair::same_jobs;
use crate::support::node::Node;
use crate::support::{repository, wait};

const ALL: &str = "submit,run";
/// Settled jobs are archived at once.
const AT_ONCE: &[(&str, &str)] = &[("ledger.archive_after_ms", "0"), ("scheduler.lease_ms", "2000")];

/// The live job references that `holder` has of `of`'s namespace.
fn live(holder: &Node, ledger: &str, of: &str) -> usize {
    let storage = holder.place().join("storage").join(ledger.trim_start_matches("rad:"));
    let below = format!("refs/namespaces/{of}/refs/cobs/io.rhizome.job");
    repository::git(&holder.home, &storage, &["for-each-ref", "--format=%(refname)", &below]).lines().count()
}

/// Waits until so many of `of`'s references are live where `node` looks.
#[track_caller]
fn until_live(count: usize, node: &Node, ledger: &str, of: &str) {
    wait::until("the rest is archived", wait::LIMIT, || (live(node, ledger, of) == count).then_some(()));
}

/// A worker that is offline while the author archives, and collects its storage, comes back to the same jobs: none is lost, none is alive again. So
/// is a view that is built from the archives alone. What is not settled stays live.
#[test]
fn a_worker_offline_over_the_archive_sees_the_same_jobs() {
    let mut ann = Node::start_with("ann", &[AT_ONCE, &[("ledger.collect_every_ms", "1000")]].concat());
    let mut bob = Node::join("bob", &[("ledger.archive_after_ms", "1d")], &ann, ALL);
    let (ledger, ann_id, bob_id) = (ann.ledger(), ann.id(), bob.id());
    let unsettled = ann.submit(&["--on", "ann", "--", "sleep", "600"]);
    let run = |on: &str| ann.submit(&["--on", on, "--", "echo", "hello"]);
    let jobs: Vec<String> = ["bob", "ann", "bob"].into_iter().map(run).collect();
    for job in &jobs {
        ann.settled(job);
        bob.settled(job);
    }
    let updated: Vec<_> = jobs.iter().map(|job| bob.job(job)["updatedAt"].clone()).collect();
    bob.down();
    let fresh = ann.submit(&["--on", "ann", "--", "true"]);
    ann.settled(&fresh);
    let waiting = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    let before = collected(&ann, &ledger);
    wait::until("what was archived is collected", wait::LIMIT, || {
        // of a few objects none may lie where the number of loose ones is estimated
        ann.settled(&ann.submit(&["--on", "ann", "--", "true"]));
        (collected(&ann, &ledger) > before).then_some(())
    });
    until_live(2, &ann, &ledger, &ann_id);
    bob.up();
    bob.until_linked(&ann);
    // this one bob never saw alive
    bob.settled(&fresh);
    same_jobs(&ann, &bob);
    until_live(2, &bob, &ledger, &ann_id);
    assert_eq!(live(&ann, &ledger, &ann_id), 2, "an unsettled one left too");
    assert!(live(&bob, &ledger, &bob_id) >= 2, "bob keeps his own for a day");
    let after: Vec<_> = jobs.iter().map(|job| bob.job(job)["updatedAt"].clone()).collect();
    assert_eq!(after, updated, "nothing happened to them");
    for job in &jobs {
        assert_eq!(ann.cli(&["job", "logs", job]).ok(), "hello\n");
    }
    let before = ann.jobs();
    ann.down();
    std::fs::remove_file(ann.place().join("rhizome/view.redb")).unwrap();
    ann.up();
    assert_eq!(ann.jobs(), before);
    for job in [&unsettled, &waiting] {
        ann.cli(&["job", "cancel", job]).ok();
        assert_eq!(bob.settled(job)["outcome"], "cancelled");
    }
    until_live(0, &ann, &ledger, &ann_id);
}

/// A run is called lost and its job archived while its worker is away: what the worker reports when it is back is kept
/// beside the settle that holds, everywhere, and is archived in its turn.
#[test]
fn a_late_report_joins_what_is_archived() {
    let ann = Node::start_with("ann", AT_ONCE);
    let mut bob = Node::join("bob", AT_ONCE, &ann, ALL);
    let (ledger, ann_id, bob_id) = (ann.ledger(), ann.id(), bob.id());
    let id = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    bob.running(&id);
    bob.kill();
    assert_eq!(ann.settled(&id)["outcome"], "lost");
    until_live(0, &ann, &ledger, &ann_id);
    bob.up();
    bob.until_linked(&ann);
    let reported = |job: &Value| job.pointer("/state/dones").is_some_and(|dones| *dones != json!([]));
    for node in [&bob, &ann] {
        let both = |job: &Value| reported(job) && job["status"] == "settled";
        let job = node.until(&id, "report and settle are here", wait::LIMIT, both);
        assert_eq!(job["outcome"], "lost", "{job:#}");
    }
    for node in [&bob, &ann] {
        until_live(0, node, &ledger, &bob_id);
        assert_eq!(live(node, &ledger, &ann_id), 0, "it is alive again");
    }
    assert!(reported(&ann.job(&id)));
    same_jobs(&ann, &bob);
}

/// A job that was archived before a peer has fetched it is seen by the peer none the less, with nothing else to look for.
#[test]
fn a_job_that_arrives_archived_is_seen() {
    let ann = Node::start_with("ann", AT_ONCE);
    let bob = Node::join("bob", AT_ONCE, &ann, ALL);
    let (ledger, ann_id) = (ann.ledger(), ann.id());
    let seen = ann.submit(&["--on", "ann", "--", "true"]);
    bob.settled(&seen);
    let pid = std::fs::read_to_string(bob.place().join("rhizome.lock")).unwrap().trim().parse().unwrap();
    let signal = |signal| kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    signal(Signal::STOP);
    let id = ann.submit(&["--on", "ann", "--", "true"]);
    ann.settled(&id);
    until_live(0, &ann, &ledger, &ann_id);
    signal(Signal::CONT);
    bob.settled(&id);
}
