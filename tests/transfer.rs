//! An import and an export whose daemon is killed.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::context::ready;
use crate::support::node::Node;
use crate::support::wait;

/// Enough that neither is over at once, nor fits into what is under way.
const DOCUMENTS: usize = 20_000;
const TEXT_BYTES: usize = 2_000;

fn id(number: usize) -> String {
    format!("tickets/{number:06}")
}

fn lines() -> String {
    let head = "{\"format\":\"rhizome-vault\",\"version\":1,\"embedder\":null}\n".to_owned();
    let words = "quince marmalade ".repeat(TEXT_BYTES / 17);
    let line = |number: usize| {
        let pushed = json!({"id": id(number), "text": format!("{words}{number}"), "privacy": "open"});
        let name = format!("/pushed/{}", id(number));
        let document =
            json!({"name": name, "title": "", "digest": "", "privacy": "open", "tags": [], "pushed": pushed});
        format!("{}\n", json!({"document": document}))
    };
    std::iter::once(head).chain((0..DOCUMENTS).map(line)).collect()
}

/// The ids of what was pushed, as an export has them.
fn pushed(node: &Node) -> Vec<String> {
    let lines = node.cli(&["vault", "export"]).ok();
    let ids = lines.lines().skip(1).filter_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        Some(line.pointer("/document/pushed/id")?.as_str()?.to_owned())
    });
    ids.collect()
}

/// kill -9 in the middle of an import leaves the documents that were taken first, each of them found; the same import again
/// brings the rest. An export that is killed says that it is not whole.
#[test]
fn a_kill_loses_nothing_of_a_transfer() {
    let mut ann = Node::start("ann");
    let file = ann.home.join("lines.jsonl");
    fs::write(&file, lines()).unwrap();
    let words = ["vault", "import", file.to_str().unwrap()];
    let mut import = ann.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("something was taken", wait::LIMIT, || {
        let status = ann.cli(&["--json", "vault", "status"]);
        let status: Value = serde_json::from_str(&status.stdout).ok()?;
        (status["coverage"]["documents"].as_u64()? > 0).then_some(())
    });
    ann.kill();
    assert!(!import.wait().unwrap().success(), "it was killed in the middle, and is told to have gone well");
    ann.up();
    ready(&ann);
    let kept = pushed(&ann);
    assert!(!kept.is_empty() && kept.len() < DOCUMENTS, "{} were kept", kept.len());
    assert_eq!(kept, (0..kept.len()).map(id).collect::<Vec<_>>());
    let again = ann.json(&words);
    assert_eq!(again["pushed"], DOCUMENTS, "{again:#}");
    assert_eq!(pushed(&ann).len(), DOCUMENTS);

    let mut export = ann.command(&["vault", "export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = export.stdout.take().unwrap();
    out.read_exact(&mut [0; 4_096]).unwrap();
    ann.kill();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    let output = export.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("the export broke off"), "{output:?}");
}
