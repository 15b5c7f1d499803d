//! Two machines that trust each other: a job of one runs on the other, once, and its result comes home.

use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::node::{Node, text};
use crate::support::{repository, wait};

/// All that a peer may do.
const ALL: &str = "submit,run";

fn source(node: &Node) -> PathBuf {
    let path = node.home.join("source");
    repository::create(&node.home, &path, &[("greeting", "hello\n")]);
    path
}

/// Runs a job of `author` on `worker` and holds its log and its artifact, as they came home, against their digests.
fn runs_there_once_and_comes_home(author: &Node, worker: &Node) -> Value {
    let repo = source(author);
    let script = "cat greeting; echo aside >&2; mkdir out; head -c 300000 /dev/urandom > out/noise";
    let output = author.cli(&[
        "--json",
        "run",
        "--repo",
        repo.to_str().unwrap(),
        "--publish",
        "--on",
        &worker.alias,
        "--artifact",
        "out/*",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.code, 0, "{output:?}");
    let job: Value = serde_json::from_str(&output.stdout).unwrap();
    let id = text(&job, "/id");
    assert_eq!((&job["outcome"], &job["node"]), (&json!("succeeded"), &json!(worker.id())), "{job:#}");
    assert_eq!((author.runs(&id), worker.runs(&id)), (0, 1), "{job:#}");
    assert_eq!(job.pointer("/state/grants").unwrap().as_array().unwrap().len(), 1, "{job:#}");
    // standard output and error are two pipes, and nothing orders one against the other
    let mut lines: Vec<&str> = output.stderr.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["aside", "hello"]);
    author.until(&id, "the log is home", wait::LIMIT, |job| job["logIsLocal"] == true);
    author.cli(&["job", "artifacts", &id, "--output", "home"]).ok();
    let content = std::fs::read(author.home.join("home/out/noise")).unwrap();
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = author.json(&["job", "artifacts", &id]);
    assert_eq!((content.len(), text(&listed, "/files/0/digest")), (300_000, digest));
    job
}

/// A job with the grant in its root runs once on the other machine, and its log and artifact come home; both machines see
/// the same jobs.
#[test]
fn a_granted_job_runs_there_once() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, ALL);
    let job = runs_there_once_and_comes_home(&ann, &bob);
    assert_eq!(job.pointer("/state/create/grant/node"), Some(&json!(bob.id())), "{job:#}");
    // and the other way round: the peer's jobs run here
    runs_there_once_and_comes_home(&bob, &ann);
    same_jobs(&ann, &bob);
}

/// A job without a grant in its root is bid for, granted once and run once.
#[test]
fn a_job_is_granted_by_bids() {
    let ann = Node::start_with("ann", &[("scheduler.root_grant", "never")]);
    let bob = Node::join("bob", &[], &ann, ALL);
    let job = runs_there_once_and_comes_home(&ann, &bob);
    assert_eq!(job.pointer("/state/create/grant").unwrap_or(&Value::Null), &Value::Null, "{job:#}");
    assert!(job.pointer("/state/bids").unwrap().as_object().is_some_and(|bids| !bids.is_empty()), "{job:#}");
    same_jobs(&ann, &bob);
}

/// Waits until two nodes see the same jobs in the same order with the same ends.
#[track_caller]
pub fn same_jobs(one: &Node, other: &Node) {
    let mut seen = (Vec::new(), Vec::new());
    let same = wait::poll(wait::LIMIT, || {
        seen = (one.jobs(), other.jobs());
        (seen.0 == seen.1 && !seen.0.is_empty()).then_some(())
    });
    assert!(same.is_some(), "{}: {:#?}\n{}: {:#?}", one.alias, seen.0, other.alias, seen.1);
}

/// What each may do is obeyed: a job for a machine that lets us run nothing is refused with that reason, until it does;
/// a peer that may not run ours is not asked to.
#[test]
fn grants_are_obeyed() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, ALL);
    bob.cli(&["peers", "revoke", "ann", "submit"]).ok();
    let told = wait::poll(wait::LIMIT, || {
        let refused = ann.cli(&["run", "--detach", "--on", "bob", "--", "true"]);
        (refused.code == 65 && refused.stderr.contains("bob: it takes no jobs of this node")).then_some(())
    });
    assert!(told.is_some(), "a job was taken that bob does not let run");
    bob.cli(&["peers", "grant", "ann", "submit"]).ok();
    let id = wait::until("ann hears that she may", wait::LIMIT, || {
        let output = ann.cli(&["run", "--detach", "--on", "bob", "--", "true"]);
        (output.code == 0).then(|| output.stdout.trim().to_owned())
    });
    assert_eq!(ann.settled(&id)["outcome"], "succeeded");

    ann.cli(&["peers", "revoke", "bob", "run"]).ok();
    let refused = ann.cli(&["run", "--detach", "--on", "bob", "--", "true"]);
    assert_eq!(refused.code, 65, "{refused:?}");
    let own = ann.submit(&["--", "true"]);
    let job = ann.settled(&own);
    assert_eq!(job.pointer("/state/create/workers"), Some(&json!([ann.id()])), "{job:#}");
}

/// A private job is run by its author alone, and another machine cannot be named for it.
#[test]
fn a_private_job_does_not_travel() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, ALL);
    let refused = ann.cli(&["run", "--private", "--on", "bob", "--", "true"]);
    assert!((64..=78).contains(&refused.code), "{refused:?}");
    let id = ann.submit(&["--private", "--", "echo", "secret"]);
    assert_eq!(ann.settled(&id)["node"], ann.id().as_str());
    bob.settled(&id);
    let read = bob.cli(&["job", "logs", &id]);
    assert!(read.code != 0 && !read.stdout.contains("secret"), "{read:?}");
}

/// A log is followed from the machine that submitted the job while it runs on the other, by two at once.
#[test]
fn a_live_log_is_read_from_afar_by_two() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, ALL);
    let id = ann.submit(&["--on", "bob", "--", "sh", "-c", "for i in $(seq 40); do echo $i; sleep 0.03; done"]);
    bob.running(&id);
    let follow = || ann.cli(&["job", "logs", "--follow", &id]).ok();
    let both = std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(follow)).map(|reader| reader.join().unwrap()));
    let wanted: String = (1..=40).map(|line| format!("{line}\n")).collect();
    assert_eq!(both, [wanted.clone(), wanted.clone()]);
    ann.settled(&id);
    assert_eq!(bob.cli(&["job", "logs", &id]).ok(), wanted);
}

/// Who follows the log of a job that has not arrived, or not begun, waits for it.
#[test]
fn a_log_is_followed_before_its_job_arrives() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, ALL);
    for _ in 0..3 {
        let id = ann.submit(&["--on", "bob", "--", "sh", "-c", "sleep 0.2; echo here"]);
        let follow = |node: &Node| node.cli(&["job", "logs", "--follow", &id]).ok();
        let both = std::thread::scope(|scope| {
            [&bob, &ann].map(|node| scope.spawn(move || follow(node))).map(|it| it.join().unwrap())
        });
        assert_eq!(both, ["here\n", "here\n"]);
    }
}

/// A node that is neither a job's author nor a delegate is told that it cannot cancel it, and what it can do; one that
/// arbitrates a run elsewhere knows that it runs.
#[test]
fn only_the_author_or_a_delegate_cancels() {
    let ann = Node::start_with("ann", &[("scheduler.lease_ms", "2000")]);
    let bob = Node::join("bob", &[], &ann, ALL);
    let id = ann.submit(&["--on", "bob", "--", "sleep", "600"]);
    bob.running(&id);
    ann.running(&id);
    let refused = bob.cli(&["job", "cancel", &id]);
    assert_eq!(refused.code, 77, "{refused:?}");
    assert!(refused.stderr.contains("the job is of ann") && refused.stderr.contains("job evict"), "{refused:?}");
    let job = ann.job(&id);
    assert_eq!((&job["status"], job.pointer("/state/cancels")), (&json!("granted"), Some(&json!({}))), "{job:#}");
    ann.cli(&["job", "cancel", &id]).ok();
    assert_eq!(bob.settled(&id)["outcome"], "cancelled");
    // the ledger is ann's: as its delegate she ends bob's job as well
    let id = bob.submit(&["--on", "bob", "--", "sleep", "600"]);
    ann.until(&id, "bob's job is here", wait::LIMIT, |job| job["status"] == "granted");
    ann.cli(&["job", "cancel", &id]).ok();
    assert_eq!(bob.settled(&id)["outcome"], "cancelled");
}

/// A job that names another node as its arbiter is granted and settled by that node.
#[test]
fn another_node_arbitrates() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run,arbitrate");
    let (ann_id, bob_id) = (ann.id(), bob.id());
    for on in ["ann", "bob"] {
        let id = ann.submit(&["--arbiter", "bob", "--on", on, "--", "echo", "hello"]);
        let job = ann.settled(&id);
        assert_eq!((&job["outcome"], &job["author"]), (&json!("succeeded"), &json!(ann_id)), "{job:#}");
        assert_eq!(job.pointer("/state/create/arbiters"), Some(&json!([bob_id])), "{job:#}");
        assert_eq!(job.pointer("/state/create/grant").unwrap_or(&Value::Null), &Value::Null, "{job:#}");
        assert_eq!(ann.cli(&["job", "logs", &id]).ok(), "hello\n");
    }
    bob.cli(&["peers", "revoke", "ann", "arbitrate"]).ok();
    let id = ann.submit(&["--arbiter", "bob", "--on", "ann", "--", "true"]);
    let why = "jobs of its author may not name this node as their arbiter";
    bob.until(&id, "bob does not decide", wait::LIMIT, |job| job["waitsFor"] == why);
}

/// A machine that has a ledger of its own and joins another keeps the two apart: lists, submits and workers by ledger.
#[test]
fn two_ledgers_are_kept_apart() {
    let ann = Node::start("ann");
    let bob = Node::start("bob");
    let shared = ann.ledger();
    let told = bob.cli(&["join", &ann.invitation(ALL), "--grant", ALL]).ok();
    assert!(told.contains(&format!("--ledger {shared}")), "{told}");
    wait::until("the ledger is here and ann is linked", wait::LIMIT, || {
        let status = bob.json(&["status"]);
        let ledgers = status["ledgers"].as_array()?.clone();
        let present = ledgers.iter().all(|ledger| ledger["present"] == true) && ledgers.len() == 2;
        (present && bob.peer("ann")["capacity"].is_object()).then_some(())
    });
    let refused = bob.cli(&["run", "--detach", "--on", "ann", "--", "true"]);
    assert_eq!(refused.code, 65, "ann belongs to another ledger: {refused:?}");
    let own = bob.submit(&["--", "true"]);
    let there = bob.submit(&["--ledger", &shared, "--on", "ann", "--", "true"]);
    bob.settled(&own);
    bob.settled(&there);
    let ids = |node: &Node, more: &[&str]| -> Vec<String> {
        let page = node.json(&[&["job", "list"], more].concat());
        page["items"].as_array().unwrap().iter().map(|job| text(job, "/id")).collect()
    };
    assert_eq!(ids(&bob, &[]), std::slice::from_ref(&own));
    assert_eq!(ids(&bob, &["--ledger", &shared]), std::slice::from_ref(&there));
    assert_eq!(ids(&ann, &[]), [there]);
}

/// What another's job left here, its inputs too, goes when it is too old; its author keeps them.
#[test]
fn what_was_kept_for_others_goes() {
    let ann = Node::start("ann");
    let mut bob = Node::join("bob", &[("artifacts.keep_days", "0")], &ann, ALL);
    let file = ann.home.join("input");
    std::fs::write(&file, "given\n").unwrap();
    let input = file.to_str().unwrap();
    let id = ann.submit(&["--on", "bob", "--input", input, "--", "cat", "input"]);
    ann.settled(&id);
    bob.settled(&id);
    let blobs = |node: &Node| std::fs::read_dir(node.place().join("rhizome/blobs/sha256")).unwrap().count();
    assert_eq!((blobs(&bob), bob.runs(&id)), (1, 1));
    // the same content comes home to bob as what his own job made
    let own = bob.submit(&["--on", "ann", "--artifact", "out", "--", "sh", "-c", "echo given > out"]);
    bob.settled(&own);
    wait::until("list and artifact are home", wait::LIMIT, || (blobs(&bob) == 2).then_some(()));
    let given = Sha256::digest(b"given\n").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let kept = bob.place().join("rhizome/blobs/sha256").join(given);
    let other = ann.home.join("other");
    std::fs::write(&other, "other\n").unwrap();
    let second = ann.submit(&["--on", "bob", "--input", other.to_str().unwrap(), "--", "cat", "other"]);
    ann.settled(&second);
    bob.settled(&second);
    assert_eq!(blobs(&bob), 3);
    // each start is a look at what is too old
    bob.down();
    bob.up();
    let gone = || (blobs(&bob), bob.runs(&id), bob.runs(&second)) == (2, 0, 0);
    wait::until("what was given is gone", wait::LIMIT, || gone().then_some(()));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "given\n", "bob's own artifact went with ann's input");
    assert!(blobs(&ann) >= 1, "its author let its input go");
    assert_eq!(ann.cli(&["job", "logs", &id]).ok(), "given\n");
}
