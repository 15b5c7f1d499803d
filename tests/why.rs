//! Where a change is: what a node says of its peers while they are there, away, removed, or may not read.

use std::time::Duration;

use serde_json::Value;

use crate::support::node::{Node, text};
use crate::support::{repository, wait};

/// How long after a peer's end its link may seem up.
const NOTICED: Duration = Duration::from_secs(15);

/// What a node says of an object of a job at a peer: of the operations of one author, or of a part by its kind.
#[track_caller]
fn at(said: &Value, kind: &str, author: &str, peer: &str) -> Value {
    let objects = said["objects"].as_array().unwrap_or_else(|| panic!("no objects: {said:#}"));
    let object = objects.iter().find(|object| object["kind"] == kind && object["author"] == author);
    let object = object.unwrap_or_else(|| panic!("no {kind} of {author}: {said:#}"));
    let copy = object["peers"].as_array().unwrap().iter().find(|copy| copy["alias"] == peer);
    copy.cloned().unwrap_or(Value::Null)
}

fn steps(copy: &Value) -> [&str; 3] {
    ["announced", "fetched", "seen"].map(|step| copy[step].as_str().unwrap_or_default())
}

/// The jobs that a peer has not seen, as a node says of all that is pending; none when it is not known.
#[track_caller]
fn pending(node: &Node, peer: &str) -> (Vec<String>, Value) {
    let said = node.json(&["why"]);
    let peers = said.pointer("/ledgers/0/peers").and_then(Value::as_array).unwrap_or_else(|| panic!("{said:#}"));
    let peer = peers.iter().find(|one| one["alias"] == peer).unwrap_or_else(|| panic!("no {peer}: {said:#}")).clone();
    (jobs_of(&peer["changes"]), peer)
}

fn jobs_of(changes: &Value) -> Vec<String> {
    let all = changes.as_array().into_iter().flatten();
    all.filter_map(|change| change["job"].as_str()).map(ToOwned::to_owned).collect()
}

/// What is written while a peer is off is pending there with the reason, and is fetched and seen once it is back; what it
/// had seen before stays seen.
#[test]
fn a_change_is_pending_until_the_peer_is_back() {
    let mut ann = Node::start("ann");
    let mut bob = Node::join("bob", &[], &ann, "submit,run");
    let (ann_id, bob_id) = (ann.id(), bob.id());
    let before = ann.submit(&["--on", "bob", "--", "echo", "hello"]);
    ann.settled(&before);
    let all = |said: &Value| steps(&at(said, "operations", &ann_id, "bob")) == ["yes"; 3];
    let announced = |said: &Value| {
        let objects = said["objects"].as_array().unwrap();
        let own = objects.iter().find(|object| object["kind"] == "operations" && object["author"] == ann_id.as_str());
        own.unwrap()["announcedAt"].clone()
    };
    // who is asked fetches, so he may have it before it is announced
    let said = ann.says("bob has seen it", &["why", &before], |said| all(said) && announced(said).is_string());
    assert_eq!(at(&said, "operations", &ann_id, "bob")["whyNot"], Value::Null, "{said:#}");
    assert_eq!(steps(&at(&said, "operations", &bob_id, "bob"))[1..], ["yes", "yes"], "{said:#}");
    assert_eq!(steps(&at(&said, "log", &bob_id, "bob")), ["notNeeded", "yes", "notNeeded"], "{said:#}");
    ann.says("nothing is pending", &["why"], |_| pending(&ann, "bob").0.is_empty());
    let first = announced(&said);
    assert!(first.as_str() < said["at"].as_str(), "{said:#}");

    bob.down();
    wait::until("the link is down", NOTICED, || (ann.peer("bob")["linked"] == false).then_some(()));
    let own = ann.submit(&["--on", "ann", "--", "true"]);
    ann.settled(&own);
    let copy = at(&ann.json(&["why", &own]), "operations", &ann_id, "bob");
    assert_eq!(steps(&copy)[1..], ["no", "no"], "{copy:#}");
    assert!(text(&copy, "/whyNot").starts_with("not linked since 20"), "{copy:#}");
    assert!(copy["asOf"].is_string(), "{copy:#}");
    let (jobs, peer) = pending(&ann, "bob");
    let only = std::slice::from_ref(&own);
    assert_eq!(jobs, only, "{peer:#}");
    assert!(text(&peer, "/whyNot").starts_with("not linked since 20"), "{peer:#}");
    assert_eq!(jobs_of(ann.json(&["why"]).pointer("/ledgers/0/unseen").unwrap()), only);
    let copy = at(&ann.json(&["why", &before]), "operations", &ann_id, "bob");
    assert_eq!((steps(&copy)[1..].to_vec(), copy["asOf"].is_string()), (vec!["yes", "yes"], true), "{copy:#}");
    let told = ann.cli(&["why", &own]).ok();
    assert!(
        told.contains("OBJECT") && told.contains("operations of ann: create") && told.contains("not linked"),
        "{told}"
    );
    let told = ann.cli(&["why"]).ok();
    assert!(told.contains("no peer has seen 1 change\n"), "{told}");
    assert!(told.contains("bob has not seen 1 change (not linked since"), "{told}");
    assert_eq!(announced(&ann.json(&["why", &before])), first, "a later announcement took its place");

    // the next life of ann's daemon knows as much
    ann.down();
    ann.up();
    assert_eq!(pending(&ann, "bob").0, only);
    let copy = at(&ann.json(&["why", &before]), "operations", &ann_id, "bob");
    assert_eq!((steps(&copy)[1..].to_vec(), copy["asOf"].is_string()), (vec!["yes", "yes"], true), "{copy:#}");

    bob.up();
    let said = ann.says("bob has seen it", &["why", &own], all);
    assert_eq!(at(&said, "operations", &ann_id, "bob")["whyNot"], Value::Null, "{said:#}");
    ann.says("nothing is pending", &["why"], |_| pending(&ann, "bob").0.is_empty());
    // bob writes nothing now, so nothing but what he fetches has him read
    let last = ann.submit(&["--on", "ann", "--", "true"]);
    ann.settled(&last);
    ann.says("nothing is pending", &["why"], |_| pending(&ann, "bob").0.is_empty());
    assert!(ann.cli(&["why"]).ok().contains("bob has seen everything"));
}

/// A peer that was removed is told apart from one that is away; one that is up and belongs to another ledger may not read.
#[test]
fn a_peer_that_may_not_read_is_told_so() {
    let ann = Node::start_with("ann", &[("scheduler.lease_ms", "2000")]);
    let bob = Node::start("bob");
    bob.cli(&["join", &ann.invitation("submit,run"), "--grant", "submit,run"]).ok();
    wait::until("the ledger is here and ann is linked", wait::LIMIT, || {
        let status = bob.json(&["status"]);
        let present = status["ledgers"].as_array()?.iter().filter(|ledger| ledger["present"] == true).count() == 2;
        (present && bob.peer("ann")["linked"] == true).then_some(())
    });
    let (ann_id, bob_id) = (ann.id(), bob.id());
    // ann is linked, and no member of bob's first ledger
    let own = bob.submit(&["--", "true"]);
    bob.settled(&own);
    let copy = at(&bob.json(&["why", &own]), "operations", &bob_id, "ann");
    assert_eq!(text(&copy, "/whyNot"), "it is no member of the ledger, so it may not read it", "{copy:#}");
    assert_eq!(steps(&copy)[0], "no", "{copy:#}");
    assert_eq!(bob.cli(&["job", "show", &own]).code, 0);
    assert_ne!(ann.cli(&["job", "show", &own]).code, 0, "ann has a job of a ledger that is not hers");

    let seen = ann.submit(&["--on", "bob", "--", "true"]);
    ann.settled(&seen);
    let bobs = |said: &Value| at(said, "operations", &ann_id, &short(&bob_id));
    let with_alias = |said: &Value| at(said, "operations", &ann_id, "bob");
    ann.says("bob has seen it", &["why", &seen], |said| steps(&with_alias(said)) == ["yes"; 3]);
    let runs = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    bob.running(&runs);
    ann.cli(&["peers", "remove", "bob"]).ok();
    ann.cli(&["job", "cancel", &runs]).ok();
    ann.settled(&runs);
    let copy = bobs(&ann.json(&["why", &runs]));
    assert_eq!(text(&copy, "/whyNot"), "it is no member of the ledger, so it may not read it", "{copy:#}");
    assert_ne!(copy["seen"], "yes", "{copy:#}");
    // what he saw before he was removed he has seen
    let copy = bobs(&ann.json(&["why", &seen]));
    assert_eq!((steps(&copy)[1..].to_vec(), &copy["whyNot"]), (vec!["yes", "yes"], &Value::Null), "{copy:#}");
    let later = ann.submit(&["--", "true"]);
    ann.settled(&later);
    let said = ann.json(&["why", &later]);
    assert_eq!(bobs(&said), Value::Null, "a removed peer without a part in the job is asked for: {said:#}");
}

/// What a node without a name is called.
fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A node that was removed from a ledger and does not know is refused by a peer that does; a peer whose fetch fails says
/// why.
#[test]
fn a_peer_says_itself_why_it_has_not() {
    let ann = Node::start("ann");
    let bob = Node::start("bob");
    let carol = Node::join("carol", &[], &bob, "submit,run");
    let shared = ann.ledger();
    for node in [&bob, &carol] {
        node.cli(&["join", &ann.invitation("submit,run"), "--grant", "submit,run"]).ok();
    }
    let present = |node: &Node| {
        let status = node.json(&["status"]);
        let all = status["ledgers"].as_array().cloned().unwrap_or_default();
        all.iter().any(|ledger| ledger["id"] == shared.as_str() && ledger["present"] == true)
    };
    wait::until("both have ann's ledger", wait::LIMIT, || (present(&bob) && present(&carol)).then_some(()));
    let ann_id = ann.id();
    let of_ann = |said: &Value, peer: &str| at(said, "operations", &ann_id, peer);
    let before = ann.submit(&["--on", "ann", "--", "true"]);
    carol.settled(&before);
    carol.says("bob has seen it", &["why", &before], |said| steps(&of_ann(said, "bob"))[1..] == ["yes", "yes"]);
    let after = ann.submit(&["--on", "ann", "--", "true"]);
    carol.settled(&after);
    ann.cli(&["peers", "remove", "carol"]).ok();
    let later = ann.submit(&["--on", "ann", "--", "true"]);
    ann.settled(&later);
    bob.settled(&later);
    bob.says("carol is no member", &["why", &later], |said| {
        of_ann(said, "carol")["whyNot"] == "it is no member of the ledger, so it may not read it"
    });
    // she learns nothing of it from ann, and bob tells her no more of what he has
    let said = carol.says("bob refuses her", &["why", &after], |said| {
        of_ann(said, "bob")["whyNot"] == "it refuses: as bob has the ledger, carol is no member of it"
    });
    assert_eq!(steps(&of_ann(&said, "bob"))[1..], ["unknown", "unknown"], "{said:#}");
    assert_eq!(steps(&of_ann(&said, "ann"))[1..], ["yes", "yes"], "they are ann's own: {said:#}");
    let said = carol.json(&["why", &before]);
    assert_eq!(steps(&of_ann(&said, "bob"))[1..], ["yes", "yes"], "what he had once he has: {said:#}");

    // in bob's storage stands something else than what ann signed: her next references do not follow it
    let store = bob.place().join("storage").join(shared.trim_start_matches("rad:"));
    let own = format!("refs/namespaces/{ann_id}/refs/rad");
    let git = |typed: &[&str]| repository::git(&bob.home, &store, typed);
    let other = git(&["rev-parse", &format!("{own}/root")]);
    git(&["update-ref", &format!("{own}/sigrefs"), other.trim()]);
    let lost = ann.submit(&["--on", "ann", "--", "true"]);
    ann.settled(&lost);
    ann.says("bob's fetch failed", &["why", &lost], |said| {
        let there = of_ann(said, "bob");
        let failed = there["whyNot"].as_str().is_some_and(|why| why.starts_with("its fetch failed: "));
        failed && steps(&there) == ["yes", "no", "no"]
    });
}

/// What a job has besides its operations: the commit and the input go to the worker that runs it, the log and the files
/// come home; a worker that was not granted it does not fetch them.
#[test]
fn the_parts_of_a_job_are_where_they_are_needed() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let _carol = Node::join("carol", &[], &ann, "submit,run");
    let (ann_id, bob_id) = (ann.id(), bob.id());
    let source = ann.home.join("source");
    repository::create(&ann.home, &source, &[("greeting", "hello\n")]);
    let input = ann.home.join("input");
    std::fs::write(&input, "given\n").unwrap();
    let files = ["--repo", source.to_str().unwrap(), "--publish", "--input", input.to_str().unwrap()];
    let script = "mkdir out; cat greeting input > out/both; exec sleep $0";
    let run = |on: &str, time: &str| {
        let what = ["--on", on, "--artifact", "out/*", "--", "sh", "-c", script, time];
        ann.submit(&[&files[..], &what[..]].concat())
    };
    let id = run("bob", "600");
    bob.running(&id);
    let said = ann.json(&["why", &id]);
    let has = |kind: &str| steps(&at(&said, kind, &ann_id, "bob"))[1].to_owned();
    assert_eq!((has("source"), has("input")), ("yes".into(), "yes".into()), "{said:#}");
    assert_eq!(at(&said, "source", &ann_id, "bob")["announced"], "yes", "{said:#}");
    assert_eq!(at(&said, "source", &ann_id, "carol"), Value::Null, "carol may not run it: {said:#}");
    ann.cli(&["job", "cancel", &id]).ok();
    ann.settled(&id);

    let id = run("bob", "0");
    let job = ann.settled(&id);
    assert_eq!(job["outcome"], "succeeded", "{job:#}");
    let home = |said: &Value, kind: &str| {
        let objects = said["objects"].as_array().unwrap();
        objects
            .iter()
            .any(|object| object["kind"] == kind && object["author"] == bob_id.as_str() && object["here"] == true)
    };
    let said = ann.says("what it left is home", &["why", &id], |said| home(said, "log") && home(said, "artifacts"));
    for kind in ["log", "artifacts"] {
        assert_eq!(steps(&at(&said, kind, &bob_id, "bob")), ["notNeeded", "yes", "notNeeded"], "{said:#}");
    }
    ann.says("carol has seen it all", &["why", &id], |said| {
        steps(&at(said, "operations", &ann_id, "carol")) == ["yes"; 3]
            && steps(&at(said, "operations", &bob_id, "carol"))[1..] == ["yes", "yes"]
    });
    // the same from the side of him who ran it
    let said =
        bob.says("ann has it all", &["why", &id], |said| steps(&at(said, "operations", &bob_id, "ann")) == ["yes"; 3]);
    assert_eq!(steps(&at(&said, "artifacts", &bob_id, "ann"))[1], "yes", "{said:#}");
}
