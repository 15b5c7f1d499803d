//! Machines that are off in turn: what was written meanwhile is everywhere in the end.

use serde_json::json;

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
