//! Machines that are off in turn: what was written meanwhile is everywhere in the end.

use serde_json::{Value, json};

use crate::pair::same_jobs;
use crate::support::node::Node;

/// The same job list is seen on both nodes after each has been offline in turn, and a job for a machine that is off runs
/// once it is back.
#[test]
fn both_see_the_same_after_each_was_away() {
    let mut ann = Node::start("ann");
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    let first = ann.submit(&["--on", "bob", "--", "true"]);
    ann.settled(&first);

    bob.down();
    let own = ann.submit(&["--on", "ann", "--", "true"]);
    assert_eq!(ann.settled(&own)["outcome"], "succeeded");
    let waiting = ann.submit(&["--on", "bob", "--", "echo", "late"]);
    let told = ann.job(&waiting);
    assert_ne!((&told["status"], &told["waitsFor"]), (&json!("settled"), &json!("")), "{told:#}");
    bob.up();
    assert_eq!(ann.settled(&waiting)["outcome"], "succeeded");
    same_jobs(&ann, &bob);

    ann.down();
    let alone = bob.submit(&["--on", "bob", "--", "false"]);
    assert_eq!(bob.settled(&alone)["outcome"], "failed");
    ann.up();
    same_jobs(&ann, &bob);
    assert_eq!(ann.jobs().len(), 4);
    // and the two work together as before
    let last = bob.submit(&["--on", "ann", "--", "true"]);
    assert_eq!(bob.settled(&last)["outcome"], "succeeded");
    same_jobs(&ann, &bob);
}

/// Where the direct link is up and neither side's Radicle dials the other, as when each waits or has no address, one asks
/// the other to.
#[test]
fn a_peer_asks_to_be_dialled() {
    let mut ann = Node::start("ann");
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    ann.until_linked(&bob);
    ann.down();
    bob.down();
    for node in [&ann, &bob] {
        let file = node.place().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert!(config["node"]["connect"].is_array(), "{config:#}");
        config["node"]["connect"] = json!([]);
        std::fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
    }
    ann.up();
    bob.up();
    ann.until_linked(&bob);
    let asked = [&ann, &bob].map(|node| node.log().matches("dialled a peer that asked for it").count());
    // again where its first word came before the other's Radicle was up, but never both
    assert_eq!(asked.iter().filter(|times| **times > 0).count(), 1, "{asked:?}");
    let job = ann.submit(&["--on", "bob", "--", "true"]);
    assert_eq!(ann.settled(&job)["outcome"], "succeeded");
}
