//! A home that was put back from a copy: it finds out before it writes, says so, and gets back what its peers hold.

use std::process::Command;

use serde_json::{Value, json};

use crate::pair::same_jobs;
use crate::support::node::Node;
use crate::support::{cli, repository, wait};

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
