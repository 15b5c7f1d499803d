//! A daemon beside a `radicle-node` that its owner runs: it attaches to that one, leaves it running, and does without it
//! once it has gone.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use crate::pair::same_jobs;
use crate::support::cli::{self, Output};
use crate::support::node::{Node, text};
use crate::support::process::Process;
use crate::support::{port, skip, tools, wait};

/// All that a peer may do.
const ALL: &str = "submit,run";

/// Radicle's own tools, and a node that is set up and down.
fn prepared(test: &str) -> Option<(std::path::PathBuf, Node)> {
    let Some(tools) = tools::radicle().filter(|tools| tools.join("radicle-node").exists()) else {
        skip::skip(test, "deploy/rad.sh has not run");
        return None;
    };
    let mut ann = Node::start("ann");
    ann.down();
    Some((tools, ann))
}

/// A `radicle-node` with the home of `node`, which listens on `port`; its control socket answers.
#[track_caller]
fn radicle_node(tools: &Path, node: &Node, port: u16) -> Process {
    let mut command = Command::new(tools.join("radicle-node"));
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.env("RAD_HOME", node.place()).env("RAD_PASSPHRASE", "");
    let radicle = Process::start(&node.home, "radicle-node", &mut command);
    wait::until("the radicle-node answers", wait::LIMIT, || {
        (rad(tools, node, &["node", "status", "--only", "nid"]).code == 0).then_some(())
    });
    radicle
}

fn rad(tools: &Path, node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new(tools.join("rad"));
    command.args(arguments).env("RAD_HOME", node.place()).env("RAD_PASSPHRASE", "");
    cli::finish(&node.home, &mut command)
}

/// How `rhizome status` says that the Radicle node is run.
fn run_by(node: &Node) -> String {
    text(&node.json(&["status"]), "/radicleNode/type")
}

/// A job of each node runs on the other, and both see the same jobs.
#[track_caller]
fn work_together(ann: &Node, bob: &Node) {
    for (author, worker) in [(ann, bob), (bob, ann)] {
        let id = author.submit(&["--on", &worker.alias, "--", "true"]);
        let job = author.settled(&id);
        assert_eq!((&job["outcome"], &job["node"]), (&json!("succeeded"), &json!(worker.id())), "{job:#}");
        assert_eq!((author.runs(&id), worker.runs(&id)), (0, 1));
    }
    same_jobs(ann, bob);
}

/// A daemon attaches to the `radicle-node` of its home: it pairs and works with a peer by it, says so, and leaves it running.
#[test]
fn a_daemon_attaches_to_a_running_radicle_node() {
    let Some((tools, mut ann)) = prepared("a_daemon_attaches_to_a_running_radicle_node") else { return };
    let port = port::free();
    let mut radicle = radicle_node(&tools, &ann, port);
    ann.up();
    let status = ann.json(&["status"]);
    let attached = json!({"type": "attached", "isSilent": false, "isOutdated": false});
    assert_eq!(status["radicleNode"], attached, "{status:#}");
    assert_eq!(status.pointer("/addresses/radicle"), Some(&json!([format!("127.0.0.1:{port}")])), "{status:#}");

    let bob = Node::join("bob", &[], &ann, ALL);
    work_together(&ann, &bob);
    assert!(!radicle.ended());
    // its owner, or a pairing, writes what it has read already
    let config = ann.place().join("config.json");
    std::fs::write(&config, std::fs::read(&config).unwrap()).unwrap();
    let said = ann.cli(&["status"]).ok();
    assert!(said.contains("attached to the radicle-node that runs in this home"), "{said}");
    assert!(said.contains("what has changed in its configuration takes effect when it is started again"), "{said}");
    let of_rad = rad(&tools, &ann, &["node", "status"]).ok();
    assert!(of_rad.contains("running") && of_rad.contains(&bob.id()), "{of_rad}");

    ann.down();
    assert_eq!(rad(&tools, &ann, &["node", "status", "--only", "nid"]).ok().trim(), ann_of(&bob));
    assert!(!radicle.ended());
    ann.up();
    ann.until_linked(&bob);
    assert_eq!(run_by(&ann), "attached");
    work_together(&ann, &bob);

    ann.cli(&["peers", "remove", "bob"]).ok();
    assert!(!radicle.ended());
    assert_eq!(run_by(&ann), "attached");
}

/// The id of the only peer.
fn ann_of(node: &Node) -> String {
    text(&node.json(&["peers"]), "/0/node")
}

/// Once the `radicle-node` was killed, or stopped by its owner, the daemon replicates by itself, in the same process.
#[test]
fn a_radicle_node_that_ends_is_replaced() {
    let Some((tools, mut ann)) = prepared("a_radicle_node_that_ends_is_replaced") else { return };
    let mut radicle = radicle_node(&tools, &ann, port::free());
    ann.up();
    let bob = Node::join("bob", &[], &ann, ALL);
    work_together(&ann, &bob);

    let started = ann.daemon().id();
    radicle.signal(Signal::KILL);
    radicle.wait(wait::LIMIT);
    ann.says("it runs the node itself", &["status"], |status| status["radicleNode"]["type"] == "embedded");
    assert_eq!(ann.json(&["status"])["problems"], json!([]));
    ann.until_linked(&bob);
    work_together(&ann, &bob);
    assert_eq!(ann.daemon().id(), started);

    ann.down();
    let mut radicle = radicle_node(&tools, &ann, port::free());
    ann.up();
    ann.until_linked(&bob);
    assert_eq!(run_by(&ann), "attached");
    rad(&tools, &ann, &["node", "stop"]).ok();
    radicle.wait(wait::LIMIT);
    ann.says("it runs the node itself", &["status"], |status| status["radicleNode"]["type"] == "embedded");
    ann.until_linked(&bob);
    work_together(&ann, &bob);
}

/// A node of another key that answers at the home's control socket is refused and goes on, and so is a second daemon; a
/// home is not set up beside a node that would not read it.
#[test]
fn what_is_not_ours_is_refused() {
    let Some((tools, mut ann)) = prepared("what_is_not_ours_is_refused") else { return };
    let (mut other, socket) = (Node::start("other"), ann.place().join("node/control.sock"));
    let id = other.id();
    other.down();
    let mut command = Command::new(tools.join("radicle-node"));
    command.args(["--listen", &format!("127.0.0.1:{}", port::free())]);
    command.env("RAD_HOME", other.place()).env("RAD_SOCKET", &socket).env("RAD_PASSPHRASE", "");
    let mut radicle = Process::start(&other.home, "radicle-node", &mut command);
    wait::until("it answers", wait::LIMIT, || std::os::unix::net::UnixStream::connect(&socket).ok());
    let refused = ann.cli(&["up"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(refused.stderr.contains(&id) && refused.stderr.contains("not the one of this home"), "{refused:?}");
    assert!(!radicle.ended());
    radicle.signal(Signal::TERM);
    radicle.wait(wait::LIMIT);

    let radicle = radicle_node(&tools, &ann, port::free());
    let refused = ann.cli(&["init"]);
    assert_eq!(refused.code, 73, "{refused:?}");
    assert!(refused.stderr.contains("rad node stop"), "{refused:?}");
    ann.up();
    let refused = ann.cli(&["up"]);
    assert_eq!(refused.code, 73, "{refused:?}");
    drop(radicle);
}

/// While the `radicle-node` hangs the daemon answers, takes jobs and runs them, and peers get them when it goes on; no daemon
/// starts beside it.
#[test]
fn a_radicle_node_that_hangs_holds_nothing_up() {
    let Some((tools, mut ann)) = prepared("a_radicle_node_that_hangs_holds_nothing_up") else { return };
    let radicle = radicle_node(&tools, &ann, port::free());
    ann.up();
    let bob = Node::join("bob", &[], &ann, ALL);
    radicle.signal(Signal::STOP);
    ann.says("it does not answer", &["status"], |status| status["radicleNode"]["isSilent"] == true);
    let id = ann.submit(&["--on", "ann", "--", "true"]);
    assert_eq!(ann.settled(&id)["outcome"], "succeeded");
    radicle.signal(Signal::CONT);
    assert_eq!(bob.settled(&id)["outcome"], "succeeded");
    work_together(&ann, &bob);
    ann.says("it answers again", &["status"], |status| status["radicleNode"]["isSilent"] == false);

    ann.down();
    radicle.signal(Signal::STOP);
    let refused = ann.cli(&["up"]);
    assert_eq!(refused.code, 73, "{refused:?}");
    assert!(refused.stderr.contains("does not answer"), "{refused:?}");
    radicle.signal(Signal::CONT);
    ann.up();
    work_together(&ann, &bob);
}

/// A `radicle-node` that its owner starts again is attached to again.
#[test]
fn a_radicle_node_that_is_restarted_is_attached_to_again() {
    let Some((tools, mut ann)) = prepared("a_radicle_node_that_is_restarted_is_attached_to_again") else { return };
    // bob dials it there
    let port = port::free();
    let mut radicle = radicle_node(&tools, &ann, port);
    ann.up();
    let before = ann.log().matches("attached to a radicle-node").count();
    let bob = Node::join("bob", &[], &ann, ALL);
    // so that it is not quicker than the owner
    ann.daemon().signal(Signal::STOP);
    radicle.signal(Signal::TERM);
    radicle.wait(wait::LIMIT);
    let mut radicle = radicle_node(&tools, &ann, port);
    ann.daemon().signal(Signal::CONT);
    wait::until("it is attached to the new one", wait::LIMIT, || {
        (ann.log().matches("attached to a radicle-node").count() > before).then_some(())
    });
    assert_eq!(run_by(&ann), "attached");
    ann.until_linked(&bob);
    work_together(&ann, &bob);
    assert!(!radicle.ended());
}
