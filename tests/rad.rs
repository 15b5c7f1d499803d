//! Radicle's own `rad` beside a node: it runs our commands, reads our objects, and writes what means nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::cli::{self, Output};
use crate::support::node::Node;
use crate::support::{repository, skip, tools, wait};

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

/// `rad cob` reads what a job shows of itself in the repository of its commit.
#[test]
fn rad_reads_what_is_shown_of_a_job() {
    let node = Node::start("ann");
    let Some(tools) = rad(&node, "rad_reads_what_is_shown_of_a_job") else { return };
    let path = node.home.join("source");
    let commit = repository::create(&node.home, &path, &[("greeting", "hello\n")]);
    let id = node.submit(&["--repo", path.to_str().unwrap(), "--publish", "--", "cat", "greeting"]);
    let job = node.settled(&id);
    let repo = job.pointer("/state/create/spec/source/repo").and_then(Value::as_str).unwrap();
    let of = ["--repo", repo, "--type", "xyz.radworks.job"];
    let mut shown = Value::Null;
    let ended = wait::poll(wait::LIMIT, || {
        let listed = run(&node, &tools, &[&["cob", "list"], &of[..]].concat()).ok();
        let object = listed.lines().next()?;
        let log = run(&node, &tools, &[&["cob", "log"], &of[..], &["--object", object]].concat()).ok();
        let printed = run(&node, &tools, &[&["cob", "show"], &of[..], &["--object", object]].concat()).ok();
        shown = serde_json::from_str(&printed).unwrap();
        (listed.lines().count() == 1 && log.contains("Finished")).then_some(())
    });
    assert!(ended.is_some() && shown["oid"] == commit, "{shown:#}");
    let runs = shown["runs"][node.id()].as_object().unwrap();
    let runs: Vec<(&Value, &Value)> = runs.values().map(|run| (&run["status"], &run["log"])).collect();
    let log = json!(format!("{}/{id}", node.ledger()));
    assert_eq!(runs, [(&json!({ "Finished": "Succeeded" }), &log)], "{shown:#}");
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

/// A root that is written by `rad cob create` pins no identity, and is no job.
#[test]
fn a_root_without_a_pin_is_no_job() {
    let ann = Node::start("ann");
    let Some(tools) = rad(&ann, "a_root_without_a_pin_is_no_job") else { return };
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

/// A root that another node copies into its own namespace, with the author's signature and under a new id, is no job in
/// the author's name, here or there.
#[test]
fn a_copied_root_is_no_job() {
    let mut ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let id = ann.submit(&["--", "true"]);
    ann.settled(&id);
    bob.settled(&id);
    let ledger = ann.ledger();
    let storage = |node: &Node| node.place().join("storage").join(ledger.trim_start_matches("rad:"));
    let root = repository::git(&bob.home, &storage(&bob), &["cat-file", "commit", &id]);
    // the signature is over the tree alone, so another time is another commit with the same author
    let line = root.lines().find(|line| line.starts_with("committer ")).unwrap();
    let copied = root.replacen(line, &line.replacen("committer ", "committer copied ", 1), 1);
    let file = bob.home.join("copied");
    std::fs::write(&file, copied).unwrap();
    let hash = ["hash-object", "-t", "commit", "-w", file.to_str().unwrap()];
    let copy = repository::git(&bob.home, &storage(&bob), &hash).trim().to_owned();
    assert_ne!(copy, id);
    let name = format!("refs/namespaces/{}/refs/cobs/{TYPE}/{copy}", bob.id());
    repository::git(&bob.home, &storage(&bob), &["update-ref", &name, &copy]);
    // what bob writes next signs everything in his namespace
    let next = bob.submit(&["--on", "bob", "--", "true"]);
    ann.settled(&next);
    wait::until("ann has the copy", wait::LIMIT, || {
        let found = repository::git(&ann.home, &storage(&ann), &["for-each-ref", "--format=%(objectname)", &name]);
        (found.trim() == copy).then_some(())
    });
    let looks = |ann: &Node| {
        let figures = String::from_utf8(ann.ask("GET", "/metrics", &[], b"")?.body).ok()?;
        let line = figures.lines().find_map(|line| line.strip_prefix("rhizome_objects_ignored_total "))?;
        line.parse::<u64>().ok()
    };
    wait::until("ann has looked at it", wait::LIMIT, || looks(&ann));
    // once a scan has listed it, no later one looks again: each start is one, and counts anew
    for _ in 0..2 {
        ann.down();
        ann.up();
    }
    assert_eq!(looks(&ann), None, "an object that is ignored is read again and again");
    for node in [&ann, &bob] {
        let seen: BTreeSet<String> = node.jobs().into_iter().map(|(id, ..)| id).collect();
        let all = BTreeSet::from([&id, &next].map(String::clone));
        assert_eq!(seen, all, "{}", node.alias);
        let refused = node.cli(&["job", "show", &copy]);
        assert!(refused.code == 66 && refused.stderr.contains("no job"), "{refused:?}");
    }
}

/// `rad init` and `git push rad` work beside the daemon, and a job runs at what was pushed.
#[test]
fn git_push_rad_works_beside_the_daemon() {
    let node = Node::start("ann");
    let Some(tools) = rad(&node, "git_push_rad_works_beside_the_daemon") else { return };
    let path = node.home.join("source");
    repository::create(&node.home, &path, &[("greeting", "hello\n")]);
    let of = |program: std::path::PathBuf, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&path).env("RAD_HOME", node.place()).env("RAD_PASSPHRASE", "");
        let own = std::env::var("PATH").expect("programs are found by PATH");
        command.env("PATH", format!("{}:{own}", tools.display()));
        cli::finish(&node.home, &mut command)
    };
    let words = ["init", "--name", "source", "--description", "x", "--default-branch", "main", "--private"];
    of(tools.join("rad"), &[&words[..], &["--no-confirm"]].concat()).ok();
    std::fs::write(path.join("greeting"), "pushed\n").unwrap();
    repository::git(&node.home, &path, &["commit", "--quiet", "--all", "--message", "More"]);
    of("git".into(), &["push", "rad", "main"]).ok();
    let repo = of(tools.join("rad"), &["."]).ok().trim().to_owned();
    for repo in [repo.as_str(), path.to_str().unwrap()] {
        let output = node.cli(&["run", "--quiet", "--repo", repo, "--", "cat", "greeting"]);
        assert_eq!((output.code, output.stdout.as_str()), (0, "pushed\n"), "{repo}: {output:?}");
    }
}
