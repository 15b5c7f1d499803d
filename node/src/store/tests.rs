//! What the stores promise, on the engine in memory and on real files.

mod children;
mod damage;
mod promises;
mod views;

use std::process::{Command, Stdio};

use cobs::digest::Digest;
use cobs::id::{JobId, NodeId, Oid, RepoId};

use super::state::State;

/// Names the work of a test that runs again as a child process.
const CHILD: &str = "RHIZOME_TEST_CHILD";

fn job(n: u64) -> JobId {
    let mut bytes = [0xab; 20];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    JobId(Oid::from_sha1(bytes))
}

fn node(n: u8) -> NodeId {
    NodeId::from([n; 32])
}

fn ledger(n: u8) -> RepoId {
    RepoId::from(Oid::from_sha1([n; 20]))
}

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

/// Runs `check` on a state in memory and on one in a file.
fn on_both(check: impl Fn(&State)) {
    check(&State::in_memory());
    let directory = tempfile::tempdir().unwrap();
    check(&State::create(&directory.path().join("state.redb")).unwrap());
}

/// This test binary as a child that runs the test `name` alone on `argument`, with SIGXFSZ ignored.
fn child(name: &str, argument: &std::path::Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("store::tests::{name}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, argument)
        .stdout(Stdio::piped());
    command
}
