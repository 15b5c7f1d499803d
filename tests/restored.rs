//! A home that was put back from a copy: it finds out before it writes, says so, and gets back what its peers hold.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::pair::same_jobs;
use crate::support::node::{Node, runs_nothing};
use crate::support::process::Process;
use crate::support::{cli, repository, wait};

/// After which a term that nobody asks to confirm is given to another.
const GRANT_WAIT: Duration = Duration::from_secs(10);

/// Copies the whole home of a node that is down.
fn copy(node: &Node, from: &std::path::Path, to: &std::path::Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    cli::finish(&node.home, Command::new("cp").arg("-a").arg(from).arg(to)).ok();
}

/// Where `holder` has the signature of the node `of`.
fn signed(holder: &Node, ledger: &str, of: &str) -> String {
    let storage = holder.place().join("storage").join(ledger.trim_start_matches("rad:"));
    repository::git(&holder.home, &storage, &["rev-parse", &format!("refs/namespaces/{of}/refs/rad/sigrefs")])
}

fn told(node: &Node) -> Option<String> {
    let health = node.ask("GET", "/health", &[], b"")?.json();
    let problems = health["problems"].as_array()?.clone();
    problems.iter().find_map(|problem| problem.as_str()?.strip_prefix("restored home: ").map(ToOwned::to_owned))
}

/// The restored node writes nothing, and every door says why and what to do; `rhizome recover` brings back what was written
/// after the copy was made, and both nodes go on with the same jobs.
#[test]
fn a_restored_home_refuses_to_write_until_it_is_recovered() {
    let mut ann = Node::start("ann");
    let bob = Node::join("bob", &[("scheduler.lease_ms", "20000")], &ann, "submit,run");
    let (ledger, ann_id) = (ann.ledger(), ann.id());
    let old = ann.submit(&["--on", "bob", "--", "true"]);
    ann.settled(&old);
    ann.down();
    let kept = ann.home.join("kept");
    copy(&ann, &ann.place(), &kept);
    ann.up();
    ann.until_linked(&bob);
    let later: Vec<String> = ["ann", "bob"].iter().map(|on| ann.submit(&["--on", on, "--", "echo", "later"])).collect();
    for job in &later {
        ann.settled(job);
        bob.settled(job);
    }
    let before = bob.jobs();
    assert_eq!(before.len(), 3);
    // it runs when the disk is lost, and must not be run again under its token
    let begun = bob.submit(&["--on", "ann", "--", "sleep", "600"]);
    ann.running(&begun);
    ann.kill();
    ann.end_runs();
    copy(&ann, &kept, &ann.place());
    let newest = signed(&bob, &ledger, &ann_id);
    assert_ne!(signed(&ann, &ledger, &ann_id), newest);

    ann.up();
    let words = wait::until("ann is told", wait::LIMIT, || told(&ann));
    assert!(words.contains("restored from a copy") && words.contains("rhizome recover"), "{words}");
    let at = signed(&ann, &ledger, &ann_id);
    let refused = ann.cli(&["run", "--detach", "--", "true"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(
        refused.stderr.contains("restored from a copy") && refused.stderr.contains("rhizome recover"),
        "{refused:?}"
    );
    let headers = ["Content-Type: application/json".to_owned()];
    let answer = ann.ask("POST", "/schedule", &headers, br#"{"command":["true"]}"#).unwrap();
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (409, &json!("restored_home")), "{problem:#}");
    assert_eq!(signed(&ann, &ledger, &ann_id), at, "it signed something");

    let recovered = ann.json(&["recover"]);
    assert_eq!(recovered, json!({ "ledgers": { ledger.as_str(): "bob" } }));
    assert_eq!(told(&ann), None);
    let lost = bob.settled(&begun);
    assert_eq!(lost["outcome"], "lost");
    assert!(lost.to_string().contains("this home was restored from a copy"), "{lost:#}");
    same_jobs(&ann, &bob);
    let after = ann.jobs();
    assert!(after.len() == 4 && before.iter().all(|job| after.contains(job)), "{before:#?}\n{after:#?}");
    let next = ann.submit(&["--on", "bob", "--", "echo", "next"]);
    assert_eq!(ann.settled(&next)["outcome"], "succeeded");
    bob.settled(&next);
    same_jobs(&ann, &bob);
    assert_eq!(ann.json(&["recover"]), json!({ "ledgers": {} }));
    for job in &later {
        assert_eq!(ann.job(job).pointer("/state/create"), bob.job(job).pointer("/state/create"));
        assert_ne!(ann.job(job)["outcome"], Value::Null);
    }
}

/// A daemon that stands still until this goes, also when the test fails: what stands still cannot be stopped.
struct Still<'a>(&'a Process);

impl<'a> Still<'a> {
    fn new(daemon: &'a Process) -> Self {
        daemon.signal(Signal::STOP);
        Self(daemon)
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.0.signal(Signal::CONT);
    }
}

/// An arbiter that was put back from a copy has lost which terms it confirmed. It grants no other while the run of before
/// may go on, under a supervisor whose daemon stands still, and says what it waits for.
#[test]
fn a_recovered_arbiter_waits_for_what_it_may_have_confirmed() {
    let lease = ("scheduler.lease_ms", "120000");
    let labelled = [lease, ("node.labels", "fast")];
    let mut ann = Node::start_with("ann", &[lease]);
    let bob = Node::join("bob", &labelled, &ann, "submit,run");
    let cat = Node::join("cat", &labelled, &ann, "submit,run");
    ann.down();
    let kept = ann.home.join("kept");
    copy(&ann, &ann.place(), &kept);
    ann.up();
    ann.until_linked(&bob);
    ann.until_linked(&cat);
    let id = ann.submit(&["--attempts", "2", "--on", "fast", "--", "sleep", "600"]);
    let holder = ann.running(&id)["node"].clone();
    let (worker, other) = if holder == bob.id() { (&bob, &cat) } else { (&cat, &bob) };
    other.until(&id, "it knows of the grant", wait::LIMIT, |job| job["node"] == holder);
    let still = Still::new(worker.daemon());
    ann.kill();
    copy(&ann, &kept, &ann.place());
    ann.up();
    wait::until("ann is told", wait::LIMIT, || told(&ann));
    ann.cli(&["recover"]).ok();
    ann.until(&id, "it waits for the lease", wait::LIMIT, |job| {
        job["waitsFor"].as_str().is_some_and(|words| words.contains("before this node began to decide"))
    });
    ann.until_linked(other);
    let again = wait::poll(GRANT_WAIT + Duration::from_secs(3), || {
        let grants = ann.job(&id).pointer("/state/grants").and_then(Value::as_array).map_or(0, Vec::len);
        (grants > 1).then_some(())
    });
    assert_eq!(again, None, "another was granted: {:#}", ann.job(&id));
    assert!(runs_nothing(other).is_some());
    drop(still);
    worker.until(&id, "the run went on", wait::LIMIT, |job| job["running"] == true);
    ann.cli(&["job", "cancel", &id]).ok();
    for node in [&ann, &bob, &cat] {
        assert_eq!(node.settled(&id)["outcome"], "cancelled");
    }
}
