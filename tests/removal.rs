//! A peer that is no longer trusted, or comes with another key: what it may do ends at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::node::{Node, text};
use crate::support::wait;

const SHORT: (&str, &str) = ("scheduler.lease_ms", "2000");
/// How long a removed peer is watched for what it must not get; replication takes a tenth of a second.
const WATCHED: Duration = Duration::from_secs(3);
/// A short lease and what a busy machine adds.
const LEASE_OVER: Duration = Duration::from_secs(15);

/// A peer that is removed while it runs a job loses its link at once, its run ends with its lease, and it is granted and
/// fetches nothing more.
#[test]
fn a_removed_peer_gets_nothing_more() {
    let ann = Node::start_with("ann", &[SHORT]);
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    bob.running(&id);
    ann.cli(&["peers", "remove", "bob"]).ok();
    assert_eq!(ann.peer("bob"), Value::Null);
    wait::until("the link is down", Duration::from_secs(2), || (bob.peer("ann")["linked"] == false).then_some(()));
    wait::until("the run has ended", LEASE_OVER, || {
        let pods = bob.ask("GET", "/pods", &[], b"")?.json();
        pods.as_array()?.iter().all(|pod| pod["phase"] == "finished").then_some(())
    });
    let job = ann.until(&id, "the job is settled", LEASE_OVER * 2, |job| job["status"] == "settled");
    assert_eq!(job["outcome"], "lost", "{job:#}");

    let refused = ann.cli(&["run", "--detach", "--on", "bob", "--", "true"]);
    assert_eq!(refused.code, 65, "{refused:?}");
    let later = ann.submit(&["--", "true"]);
    let job = ann.settled(&later);
    assert_eq!(job.pointer("/state/create/workers"), Some(&json!([ann.id()])), "{job:#}");
    let fetched = wait::poll(WATCHED, || (bob.cli(&["job", "show", &later]).code == 0).then_some(()));
    assert_eq!(fetched, None, "a removed peer fetched a new job");
    assert_eq!(bob.peer("ann")["linked"], false, "a removed peer is linked again");
    assert_eq!(bob.runs(&later), 0);
    // bob is no delegate of the ledger: he lets ann do nothing more, and is told what he cannot do
    let told = bob.cli(&["peers", "remove", "ann"]).ok();
    assert!(told.contains("removed ann") && told.contains("it stays a member of the ledger"), "{told}");
}

/// A peer that comes back with another transport key is not let in by the key it had, and is once its signed record
/// names the new one.
#[test]
fn a_new_transport_key_is_taken_over() {
    let ann = Node::start("ann");
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    let before = text(&ann.peer("bob"), "/transportKey");
    bob.down();
    std::fs::remove_file(bob.place().join("rhizome/link.pem")).unwrap();
    bob.up();
    wait::until("the new key is known", wait::LIMIT, || {
        (ann.peer("bob")["transportKey"].as_str()? != before).then_some(())
    });
    ann.until_linked(&bob);
    let output = ann.cli(&["run", "--on", "bob", "--", "echo", "hello"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "hello\n"), "{output:?}");
}
