//! Daemons that cannot start, and homes that are not as they were.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::check::{told_a_person, told_a_program};
use super::machine::Machine;
use crate::support::cli::Output;

/// Flags of `up`, and what is said about them.
const FLAGS: &[(&str, &[&str])] = &[
    ("scheduler.lease=30s", &["no configuration key 'scheduler.lease'"]),
    ("scheduler.lease_ms=soon", &["scheduler.lease_ms", "soon", "write a time such as 30s"]),
    ("scheduler.lease_ms=1", &["scheduler.lease_ms", "1000 to 600000"]),
    ("api.listen=0.0.0.0:0", &["api.listen", "loopback"]),
    ("limits.memory_bytes=lots", &["limits.memory_bytes", "lots"]),
    ("node.listen=nowhere", &["node.listen", "nowhere"]),
];

/// Lines of a configuration file, and what is said about them.
const LINES: &[(&str, &[&str])] = &[
    ("[scheduler]\nlees_ms = 5\n", &["unknown key 'scheduler.lees_ms'", "did you mean 'scheduler.lease_ms'?"]),
    ("[limits]\nprocesses = \"many\"\n", &["limits.processes", "many"]),
    ("[link\n", &["not valid TOML", "line 1"]),
    ("odd = 1\n", &["unknown key 'odd'"]),
];

#[track_caller]
fn fails(machine: &Machine, flags: &[&str], exit: i32, code: &str, words: &[&str]) {
    told_a_person(&without_log(machine.fail_up(flags)), exit, words, flags);
    told_a_program(&machine.fail_up(&[flags, &["--json"]].concat()), exit, code, words, flags);
}

/// What is logged before the failure, to standard error, is no matter here.
fn without_log(output: Output) -> Output {
    let stderr: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with('{')).collect();
    Output { stderr: stderr.join("\n"), ..output }
}

/// A wrong configuration names the key, where it came from and what it may be; the hint needs no daemon.
#[test]
fn refuses_a_wrong_configuration() {
    let machine = Machine::set_up("alpha");
    for (flag, words) in FLAGS {
        fails(&machine, &["--set", flag], 78, "config", words);
    }
    let file = machine.path().join("rhizome/config.toml");
    for (lines, words) in LINES {
        fs::write(&file, lines).unwrap();
        fails(&machine, &[], 78, "config", &[words, &["config.toml"][..]].concat());
    }
}

/// Each of the three ports that is taken is named, with the key that changes it.
#[test]
fn names_a_port_that_is_in_use() {
    let machine = Machine::set_up("alpha");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    for key in ["api.listen", "link.listen", "node.listen"] {
        let flag = format!("{key}={address}");
        fails(&machine, &["--set", &flag], 73, "port_in_use", &[&port, "in use", key]);
    }
}

/// A second daemon says who is there and changes nothing; the first one goes on.
#[test]
fn refuses_a_second_daemon() {
    let machine = Machine::start("alpha");
    fails(&machine, &[], 73, "already_running", &["another daemon uses", "rhizome status"]);
    let init = machine.run(&["init"]);
    assert_eq!(init.code, 73, "{init:?}");
    // it is our own daemon, not somebody's radicle node to be stopped
    let named = init.stderr.contains("so this home is set up") && init.stderr.contains("rhizome status");
    assert!(named && !init.stderr.contains("rad node stop"), "{init:?}");
    machine.run(&["run", "--", "true"]).ok();
}

/// Where nobody has set up a home, `up` says how.
#[test]
fn refuses_a_home_that_is_none() {
    let machine = Machine::bare();
    fails(&machine, &[], 78, "no_ledger", &["no radicle home at", "rhizome init"]);
    assert!(!machine.path().exists(), "a refused command made a home");
}

/// Where a state counts its schema and its starts.
const NUMBERS: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("numbers-v1");

fn numbers(state: &Path) -> BTreeMap<String, u64> {
    let database = redb::Database::open(state).unwrap();
    let table = redb::ReadableDatabase::begin_read(&database).unwrap().open_table(NUMBERS).unwrap();
    let row = |row: Result<(redb::AccessGuard<'_, &str>, redb::AccessGuard<'_, u64>), _>| {
        let (name, number) = row.unwrap();
        (name.value().to_owned(), number.value())
    };
    redb::ReadableTable::iter(&table).unwrap().map(row).collect()
}

/// A home of a newer version is left as it is.
#[test]
fn refuses_a_home_of_a_newer_version() {
    let machine = Machine::set_up("alpha");
    let state = machine.path().join("rhizome/state.redb");
    let database = redb::Database::open(&state).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(NUMBERS).unwrap().insert("schema", 99).unwrap();
    txn.commit().unwrap();
    drop(database);
    let before = numbers(&state);
    assert_eq!(before["schema"], 99);
    fails(&machine, &[], 78, "newer_version", &["state.redb", "99", "newer rhizome"]);
    // the engine's own header moves with every opening; what is in it does not
    assert_eq!(numbers(&state), before, "the state was changed");
}

/// A corrupt state is refused and left as it is: nothing else has what is in it.
#[test]
fn refuses_a_corrupt_state() {
    let machine = Machine::set_up("alpha");
    let state = machine.path().join("rhizome/state.redb");
    let whole = fs::read(&state).unwrap();
    let noise: Vec<u8> = (0..whole.len()).map(|at| (at * 31 % 251) as u8).collect();
    for broken in [noise, Vec::new(), whole[..whole.len() / 3].to_vec()] {
        fs::write(&state, &broken).unwrap();
        fails(&machine, &[], 74, "state_corrupt", &["state.redb is corrupt", "nothing was changed"]);
        assert!(fs::read(&state).unwrap() == broken, "the state was changed");
    }
    fs::write(&state, whole).unwrap();
    machine.run(&["init"]).ok();
}

/// A corrupt view is rebuilt from the ledgers, also after a crash: no job is lost, and it says so.
#[test]
fn rebuilds_a_corrupt_view() {
    let mut machine = Machine::start("alpha");
    for code in ["0", "3"] {
        machine.run(&["run", "--", "sh", "-c", &format!("exit {code}")]);
    }
    let list = |machine: &Machine| {
        let page = machine.json(&["job", "list"]);
        let of = |job: &serde_json::Value| (job["id"].to_string(), job["outcome"].to_string());
        page["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let before = list(&machine);
    assert_eq!(before.len(), 2);
    let view = machine.path().join("rhizome/view.redb");
    for broken in [b"this is no view".to_vec(), Vec::new()] {
        machine.kill();
        fs::write(&view, broken).unwrap();
        machine.up(&[]);
        assert!(machine.log().contains("the view is rebuilt from the ledgers"), "{}", machine.log());
        assert_eq!(list(&machine), before);
    }
}
