//! Why a job waits: what a node says of every node that could run it, or could not.

use serde_json::{Value, json};

use crate::support::node::{Node, text};

/// Submits to the API what cannot be typed, and returns the job's id.
#[track_caller]
fn schedule(node: &Node, body: &Value) -> String {
    let headers = ["Content-Type: application/json".to_owned()];
    let answer = node.ask("POST", "/schedule", &headers, body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    text(&answer.json(), "/id")
}

/// What a node says of another about who could run a job.
#[track_caller]
fn of(said: &Value, alias: &str) -> Value {
    let nodes = said["nodes"].as_array().unwrap_or_else(|| panic!("no nodes: {said:#}"));
    nodes.iter().find(|node| node["alias"] == alias).unwrap_or_else(|| panic!("no {alias}: {said:#}")).clone()
}

fn why_not(node: &Value) -> String {
    let all: Vec<&str> = node["whyNot"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    all.join("; ")
}

/// A job that waits is explained with every node of the ledger: one that is off, one that lacks what it needs, one that
/// is busy, one that may not be asked, and one that has bid.
#[test]
fn a_job_that_waits_is_explained_by_every_node() {
    let mut ann = Node::start_with("ann", &[("scheduler.slots", "1")]);
    let mut bob = Node::join("bob", &[("scheduler.slots", "1")], &ann, "submit,run");
    bob.down();
    // a new life knows no capacity of bob, so he may have the label
    ann.down();
    ann.up();
    let labelled = json!({ "command": ["true"], "requirements": { "labels": ["gpu"] }, "on": "bob" });
    let id = schedule(&ann, &labelled);
    let said = ann.json(&["job", "explain", &id]);
    let (own, away) = (of(&said, "ann"), of(&said, "bob"));
    assert_eq!((&own["worker"], why_not(&own)), (&json!(false), "it is not among the job's workers".to_owned()));
    assert_eq!(own["verdict"], json!({ "type": "infeasible", "reasons": ["it lacks the label 'gpu'"] }), "{own:#}");
    assert_eq!(own["capacityAgeMs"], 0);
    assert!(away["worker"] == true && away["verdict"].is_null() && away["capacityAgeMs"].is_null(), "{away:#}");
    assert!(why_not(&away).starts_with("not linked since 20"), "{away:#}");
    let told = ann.cli(&["job", "explain", &id]).ok();
    assert!(told.contains("CAN RUN") && told.contains("its capacity is unknown"), "{told}");

    bob.up();
    ann.until_linked(&bob);
    let said = ann.says("bob lacks the label", &["job", "explain", &id], |said| {
        of(said, "bob")["verdict"] == json!({ "type": "infeasible", "reasons": ["it lacks the label 'gpu'"] })
    });
    assert_eq!(why_not(&of(&said, "bob")), "", "{said:#}");
    assert_eq!(ann.job(&id)["status"], "queued");

    let busy = schedule(&ann, &json!({ "command": ["sleep", "600"], "on": "bob", "firstGrant": "bids" }));
    bob.running(&busy);
    let said = ann.says("bob has bid", &["job", "explain", &busy], |said| of(said, "bob")["bid"].is_u64());
    let bid = of(&said, "bob");
    let token = json!({ "epoch": 0, "term": 1 });
    assert_eq!((&bid["token"], text(&bid, "/bidReason").is_empty()), (&token, false), "{bid:#}");
    let next = ann.submit(&["--on", "bob", "--", "true"]);
    let said = ann.says("bob is busy", &["job", "explain", &next], |said| {
        of(said, "bob")["verdict"] == json!({ "type": "busy", "reason": "all 1 slots are taken" })
    });
    assert!(of(&said, "bob")["capacityAgeMs"].as_u64().is_some_and(|age| age < 15_000), "{said:#}");
    assert!(said["waitsFor"].as_str().is_some_and(|words| !words.is_empty()), "{said:#}");
    ann.cli(&["peers", "revoke", "bob", "run"]).ok();
    let said = ann.json(&["job", "explain", &next]);
    assert_eq!(why_not(&of(&said, "bob")), "it may not run ours: rhizome peers grant bob run", "{said:#}");
    ann.cli(&["peers", "grant", "bob", "run"]).ok();
    bob.cli(&["peers", "revoke", "ann", "submit"]).ok();
    ann.says("bob takes no jobs of ann", &["job", "explain", &next], |said| {
        why_not(&of(said, "bob")) == "it takes no jobs of this node"
    });
    let said = bob.says("ann's jobs may not run here", &["job", "explain", &next], |said| {
        why_not(&of(said, "bob")) == "jobs of ann may not run here"
    });
    assert_eq!(of(&said, "ann")["worker"], false, "{said:#}");
    bob.down();
    let said = ann.says("bob is away", &["job", "explain", &next], |said| {
        why_not(&of(said, "bob")).contains("not linked since 20")
    });
    assert_eq!(of(&said, "bob")["verdict"]["type"], "busy", "the last word of bob is shown with its age: {said:#}");
}
