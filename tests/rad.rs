//! Radicle's own `rad` beside a node: it runs our commands, reads our objects, and writes what means nothing.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::cli::{self, Output};
use crate::support::node::Node;
use crate::support::{skip, tools, wait};

const TYPE: &str = "io.rhizome.job";

/// `rad`, with our binary under its other names beside it; none on a machine without it.
fn rad(node: &Node, test: &str) -> Option<PathBuf> {
    let Some(directory) = tools::radicle() else {
        skip::skip(test, "deploy/rad.sh has not run");
        return None;
    };
    let own = node.home.join("bin");
    std::fs::create_dir_all(&own).unwrap();
    for name in ["rad-rhizome", "rad-cob-job"] {
        symlink(env!("CARGO_BIN_EXE_rhizome"), own.join(name)).unwrap();
    }
    Some(directory)
}

fn run(node: &Node, directory: &std::path::Path, arguments: &[&str]) -> Output {
    let own = node.home.join("bin");
    let path = std::env::var("PATH").expect("programs are found by PATH");
    let mut command = Command::new(directory.join("rad"));
    command.args(arguments).env("RAD_HOME", node.place()).env("RAD_PASSPHRASE", "");
    command.env("PATH", format!("{}:{}:{path}", own.display(), directory.display()));
    cli::finish(&node.home, &mut command)
}

/// `rad rhizome` is our command line, `rad node status` asks the embedded node, and `rad cob` reads our jobs.
#[test]
fn rad_runs_and_reads_ours() {
    let node = Node::start("ann");
    let Some(tools) = rad(&node, "rad_runs_and_reads_ours") else { return };
    let id = node.submit(&["--", "echo", "hello"]);
    node.settled(&id);
    let ledger = node.ledger();
    let status = run(&node, &tools, &["rhizome", "status"]).ok();
    assert!(status.contains("ann") && status.contains(&ledger), "{status}");
    let status = run(&node, &tools, &["node", "status"]).ok();
    assert!(status.contains("running"), "{status}");
    let of = ["--repo", &ledger, "--type", TYPE];
    assert_eq!(run(&node, &tools, &[&["cob", "list"], &of[..]].concat()).ok().trim(), id);
    let log = run(&node, &tools, &[&["cob", "log"], &of[..], &["--object", &id]].concat()).ok();
    assert!(log.contains("settle") && log.contains("create"), "{log}");
    let shown = run(&node, &tools, &[&["cob", "show"], &of[..], &["--object", &id]].concat()).ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown.pointer("/job/id"), Some(&json!(id)), "{shown:#}");
    assert_eq!(shown.pointer("/job/settled/outcome/type"), Some(&json!("result")), "{shown:#}");
}

/// A malformed operation written by `rad cob update` changes nothing and is counted; what is written properly after it
/// still counts.
#[test]
fn a_malformed_operation_changes_nothing() {
    let node = Node::start("ann");
    let Some(tools) = rad(&node, "a_malformed_operation_changes_nothing") else { return };
    let id = node.submit(&["--", "sleep", "600"]);
    let before = node.running(&id);
    let ledger = node.ledger();
    let file = node.home.join("action.jsonl");
    std::fs::write(&file, "{\"type\":\"settle\",\"outcome\":\"whatever I like\"}\n").unwrap();
    let file = file.to_str().unwrap();
    let written =
        run(&node, &tools, &["cob", "update", "--repo", &ledger, "--type", TYPE, "--object", &id, "-m", "x", file]);
    written.ok();
    let ignored = wait::until("the operation is counted", wait::LIMIT, || {
        let explained = node.json(&["job", "explain", &id]);
        explained["ignored"].as_object().filter(|ignored| !ignored.is_empty()).cloned()
    });
    assert_eq!(ignored.values().cloned().collect::<Vec<_>>(), [json!(1)]);
    let after = node.job(&id);
    for part in ["/status", "/state/create", "/state/grants", "/state/settled", "/state/dones"] {
        assert_eq!(after.pointer(part), before.pointer(part), "{part}");
    }
    node.cli(&["job", "cancel", &id]).ok();
    assert_eq!(node.settled(&id)["outcome"], "cancelled");
}

/// A root that another's node copies by `rad cob create` is no job in the first author's name, and a root without our
/// form is none at all.
#[test]
fn a_root_written_by_hand_is_no_job_of_another() {
    let ann = Node::start("ann");
    let Some(tools) = rad(&ann, "a_root_written_by_hand_is_no_job_of_another") else { return };
    let id = ann.submit(&["--", "true"]);
    ann.settled(&id);
    let ledger = ann.ledger();
    let log =
        run(&ann, &tools, &["cob", "log", "--repo", &ledger, "--type", TYPE, "--object", &id, "--format", "json"]);
    let mut operations = log.ok().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>();
    operations.retain(|operation| operation["id"] == id.as_str());
    let root = operations.pop().unwrap();
    let file = ann.home.join("root.jsonl");
    let action = root.pointer("/actions/0").unwrap_or_else(|| panic!("{root:#}"));
    std::fs::write(&file, format!("{action}\n")).unwrap();
    let create = ["cob", "create", "--repo", &ledger, "--type", TYPE, "-m", "x", file.to_str().unwrap()];
    run(&ann, &tools, &create).ok();
    wait::until("rad has the copy", wait::LIMIT, || {
        let listed = run(&ann, &tools, &["cob", "list", "--repo", &ledger, "--type", TYPE]).ok();
        (listed.lines().count() == 2).then_some(())
    });
    // a root without an identity pin does not count: no second job, also not after all was read anew
    let appeared = wait::poll(std::time::Duration::from_secs(2), || (ann.jobs().len() > 1).then_some(()));
    assert_eq!(appeared, None, "{:?}", ann.jobs());
    assert_eq!(ann.settled(&id)["outcome"], "succeeded");
}
