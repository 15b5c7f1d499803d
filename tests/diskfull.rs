//! A disk that is full under storage, state, view and logs at once: it is told, nothing acknowledged is lost, and all goes
//! on once there is room.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::support::node::Node;
use crate::support::wait;

const CHUNK_BYTES: usize = 1 << 20;
/// Blocks of a small file system.
const BLOCK_BYTES: usize = 1 << 10;

/// Takes all the room there is.
fn fill(disk: &Path) {
    for (name, bytes) in [("large", CHUNK_BYTES), ("small", BLOCK_BYTES)] {
        let mut file = File::create(disk.join(name)).unwrap();
        let bytes = vec![7; bytes];
        while file.write_all(&bytes).and_then(|()| file.sync_data()).is_ok() {}
    }
}

fn empty(disk: &Path) {
    for name in ["large", "small"] {
        fs::remove_file(disk.join(name)).unwrap();
    }
}

/// Submissions are refused with what to do, by an exit status and a code; what was acknowledged stays readable. A run that
/// can write no log any more ends, and is settled when there is room again; then everything is as on any other day.
#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let Some(mut ann) = Node::on_disk("a_full_disk_is_told_and_nothing_is_lost", "ann", &[], None) else { return };
    let disk = ann.home.join("d");
    let before = ann.submit(&["--", "echo", "before"]);
    ann.settled(&before);
    let wordy = ann.submit(&["--", "sh", "-c", "echo begun; sleep 2; seq 100000"]);
    ann.running(&wordy);
    fill(&disk);

    let refused = wait::until("a submission is refused", wait::LIMIT, || {
        // the last blocks of the storage itself may take one more
        let output = ann.cli(&["run", "--detach", "--", "true"]);
        (output.code != 0).then_some(output)
    });
    assert_eq!(refused.code, 74, "{refused:?}");
    assert!(refused.stderr.contains("disk"), "{refused:?}");
    let headers = ["Content-Type: application/json".to_owned()];
    let answer = ann.ask("POST", "/schedule", &headers, br#"{"command":["true"]}"#).unwrap();
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (507, &json!("storage")), "{problem:#}");
    assert_eq!(ann.job(&before)["outcome"], "succeeded");
    assert_eq!(ann.cli(&["job", "logs", &before]).ok(), "before\n");

    wait::until("the run has ended", wait::LIMIT, || (ann.job(&wordy)["running"] != true).then_some(()));
    empty(&disk);
    let ended = ann.settled(&wordy);
    let log = ann.cli(&["job", "logs", &wordy]).ok();
    assert!(log.starts_with("begun\n"), "{log}");
    if ended["outcome"] == "succeeded" {
        assert!(log.contains("\n100000\n"), "a log that is not whole is called so: {ended:#}");
    }
    let after = ann.submit(&["--", "echo", "after"]);
    assert_eq!(ann.settled(&after)["outcome"], "succeeded");
    let jobs = ann.jobs();
    for job in [&before, &wordy, &after] {
        assert!(jobs.iter().any(|(id, ..)| id == job), "{job} is lost: {jobs:?}");
    }
    assert!(!ann.log().contains("panicked"), "{}", ann.log());
    ann.down();
    ann.up();
    assert_eq!(ann.jobs(), jobs, "a restart changes nothing");
}
