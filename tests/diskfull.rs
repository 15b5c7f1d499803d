//! A disk that is full under storage, state, view and logs at once: it is told, nothing acknowledged is lost, and all goes
//! on once there is room.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use crate::context::{paths, ready};
use crate::meaning::{model, until_all_have_vectors};
use crate::support::node::Node;
use crate::support::wait;

const CHUNK_BYTES: usize = 1 << 20;
/// More than a database has room for in its file.
const IMPORTED_BYTES: usize = 4 << 20;
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

/// One document as the lines of an import.
fn import_of(text: &str) -> String {
    let pushed = json!({"id": "large", "text": text, "privacy": "open"});
    let line = json!({"document": {"name": "/pushed/large", "title": "", "digest": "", "privacy": "open", "tags": [], "pushed": pushed}});
    format!("{}\n{line}\n", json!({"format": "rhizome-vault", "version": 1, "embedder": null}))
}

/// A disk that is full under the index, the vectors and the pushed documents: it is told, nothing acknowledged is lost, and
/// all of it goes on by itself once there is room.
#[test]
fn a_full_disk_under_the_vault_passes() {
    let Some(mut ann) = Node::on_disk("a_full_disk_under_the_vault_passes", "ann", &[], None) else { return };
    let disk = ann.home.join("d");
    let vault = ann.home.join("vault");
    fs::create_dir_all(vault.join(".obsidian")).unwrap();
    fs::write(vault.join("Car.md"), "The car is at the garage until Friday.\n").unwrap();
    ann.down();
    ann.set("vault.path", vault.to_str().unwrap());
    ann.set("vault.model", model().to_str().unwrap());
    ann.up();
    ready(&ann);
    until_all_have_vectors(&ann);
    let typed = ["content-type: application/json".to_owned()];
    let push = |number: usize| {
        let document =
            json!({"id": format!("kept/{number}"), "text": format!("A ticket about quinces, number {number}.")});
        ann.ask("POST", "/v1/ingest", &typed, json!({"documents": [document]}).to_string().as_bytes()).unwrap()
    };
    assert_eq!(push(0).status, 200);
    let lines = ann.home.join("lines.jsonl");
    fs::write(&lines, import_of(&"marmalade ".repeat(IMPORTED_BYTES / 10))).unwrap();
    fill(&disk);

    let mut acknowledged = 1;
    let refused = wait::until("a document is refused", wait::LIMIT, || {
        let answer = push(acknowledged);
        acknowledged += usize::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    let problem = refused.json();
    assert_eq!((refused.status, &problem["code"]), (507, &json!("storage")), "{problem:#}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("disk")), "{problem:#}");
    let import = ann.cli(&["vault", "import", lines.to_str().unwrap()]);
    assert_eq!(import.code, 74, "{import:?}");
    fs::write(vault.join("Boat.md"), "The boat lies in the harbour, its mast broken.\n").unwrap();
    ann.says("it is told", &["vault", "status"], |status| status["index"]["failure"].is_string());
    assert_eq!(paths(&ann.json(&["search", "garage", "--mode", "keyword"])), ["Car.md"]);

    empty(&disk);
    ann.says("it is indexed", &["search", "harbour", "--mode", "keyword"], |answer| paths(answer) == ["Boat.md"]);
    ann.says("nothing is wrong", &["vault", "status"], |status| status["index"]["failure"].is_null());
    let near = ["search", "damaged sailing ship", "--mode", "vector", "--limit", "1"];
    ann.says("it is near", &near, |answer| paths(answer) == ["Boat.md"]);
    assert_eq!(push(acknowledged).status, 200);
    ann.cli(&["vault", "import", lines.to_str().unwrap()]).ok();
    assert_eq!(paths(&ann.json(&["search", "marmalade", "--mode", "keyword"])), ["/pushed/large"]);
    until_all_have_vectors(&ann);
    let found = |node: &Node| paths(&node.json(&["search", "quinces", "--mode", "keyword", "--limit", "200"])).len();
    assert_eq!(found(&ann), acknowledged + 1);
    assert!(!ann.log().contains("panicked"), "{}", ann.log());
    ann.down();
    ann.up();
    ready(&ann);
    assert_eq!(found(&ann), acknowledged + 1);
}
