//! A disk that is full.

use std::fs;
use std::process::Command;

use super::check::problem;
use super::machine::Machine;
use crate::support::cli;
use crate::support::home::Home;
use crate::support::skip::skip;

/// Enough for a home and a little more.
const DISK: &str = "size=24m";

/// Unmounts when the test ends, after its daemon has.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // a lazy one, since what was killed may still be ending
        Command::new("umount").arg("-l").arg(&self.0).status().expect("what was mounted can be unmounted");
    }
}

/// A home with a small disk in it; none where that cannot be had, which is said.
fn small_disk(test: &str) -> Option<(Home, Mounted)> {
    if !rustix::process::geteuid().is_root() {
        skip(test, "only root may mount a small disk");
        return None;
    }
    let home = Home::new();
    let disk = home.join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = cli::finish(&home, Command::new("mount").args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&disk));
    if mount.code != 0 {
        skip(test, "this sandbox does not let root mount a small disk");
        return None;
    }
    Some((home, Mounted(disk)))
}

/// A key whose job the ledger's disk refused, while the node's own state could be written, is free for another try.
#[test]
fn frees_the_key_of_a_job_that_the_disk_refused() {
    let Some((home, mounted)) = small_disk("frees_the_key_of_a_job_that_the_disk_refused") else { return };
    let disk = mounted.0.clone();
    let mut machine = Machine::within(home, "disk/n");
    machine.run(&["init", "--alias", "alpha"]).ok();
    let (inside, elsewhere) = (machine.path().join("rhizome"), machine.home.join("state"));
    cli::finish(&machine.home, Command::new("mv").arg(&inside).arg(&elsewhere)).ok();
    std::os::unix::fs::symlink(&elsewhere, &inside).unwrap();
    machine.up(&[]);
    machine.run(&["run", "--", "true"]).ok();
    fill(&disk.join("filler"));
    let refused = machine.run(&["--json", "job", "submit", "--key", "once", "--", "true"]);
    assert_eq!(refused.code, 74, "{refused:?}");
    assert!(refused.stdout.contains(r#""code":"storage""#), "{refused:?}");
    fs::remove_file(disk.join("filler")).unwrap();
    machine.run(&["run", "--key", "once", "--", "true"]).ok();
    drop(machine);
    drop(mounted);
}

/// On a full disk a submit is refused in words and nothing half is left: with room again the daemon goes on.
#[test]
fn says_that_the_disk_is_full() {
    let Some((home, mounted)) = small_disk("says_that_the_disk_is_full") else { return };
    let disk = mounted.0.clone();
    let mut machine = Machine::within(home, "disk/n");
    machine.run(&["init", "--alias", "alpha"]).ok();
    machine.up(&[]);
    machine.run(&["run", "--", "true"]).ok();
    let before = machine.json(&["job", "list"])["items"].as_array().unwrap().len();
    fill(&disk.join("filler"));
    let mut refused = None;
    // what the engine has at hand may carry one or two more
    for number in 0..20 {
        let key = format!("key-{number}");
        let output = machine.run(&["--json", "job", "submit", "--key", &key, "--", "true"]);
        if output.code != 0 {
            refused = Some((output, key));
            break;
        }
    }
    let (refused, key) = refused.expect("a full disk takes no more jobs");
    assert_eq!(refused.code, 74, "{refused:?}");
    let error: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(error["error"]["code"], "storage", "{error}");
    assert!(error["error"]["hint"].as_str().is_some_and(|hint| hint.contains("disk")), "{error}");
    machine.json(&["status"]);
    let submit = ["POST /schedule HTTP/1.1", "content-type: application/json"];
    problem(&machine.ask(&submit, br#"{"command":["true"]}"#), 507, "storage", &["disk"], "a submit");
    fs::remove_file(disk.join("filler")).unwrap();
    // what was refused is not in the way of another try
    machine.run(&["run", "--key", &key, "--", "true"]).ok();
    let after = machine.json(&["job", "list"])["items"].as_array().unwrap().len();
    assert!(after > before, "{before} jobs, then {after}");
    assert_eq!(machine.json(&["status"])["status"], "ok", "what has passed is still called wrong");
    drop(machine);
    drop(mounted);
}

/// Writes until there is no room for another byte.
fn fill(path: &std::path::Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    let mut piece = vec![1; 1 << 20];
    while !piece.is_empty() {
        if file.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 2);
        }
    }
}
