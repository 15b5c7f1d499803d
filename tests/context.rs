//! The vault of a node as its owner, a program and a job use it: real daemons, a real folder, edits as an editor makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cli::{self, Output};
use crate::support::node::{Node, text};
use crate::support::{fault, tools};

/// A note that is saved is to be found within this.
const SOON: Duration = Duration::from_secs(5);

/// A node with a copy of the fixture's vault.
pub fn node(alias: &str) -> (Node, PathBuf) {
    let mut node = Node::start(alias);
    let vault = node.home.join("vault");
    copy(&tools::root().join("fixtures/vault"), &vault);
    node.down();
    node.set("vault.path", vault.to_str().unwrap());
    node.up();
    ready(&node);
    (node, vault)
}

pub fn ready(node: &Node) {
    node.says("the index is ready", &["vault", "status"], |status| status["index"]["phase"]["is"] == "ready");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub fn paths(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect()
}

fn told(output: &Output) -> String {
    assert_ne!(output.code, 0, "{output:?}");
    output.stderr.clone()
}

/// A saved note is found; a section, a property and a name are changed with every link following; what was changed by
/// somebody else is not written over.
#[test]
fn a_vault_is_searched_and_changed() {
    let (node, vault) = node("ann");
    // the line that scripts wait for, which run outside of the tests
    let printed = cli::finish(&node.home, &mut node.command(&["vault", "status"])).ok();
    assert!(
        printed.lines().any(|line| line.split(' ').filter(|word| !word.is_empty()).eq(["index", "ready"])),
        "{printed}"
    );
    for script in ["deploy/demo.sh", "tests/bench/vault_peers.sh"] {
        assert!(fs::read_to_string(tools::root().join(script)).unwrap().contains("'^index +ready$'"), "{script}");
    }
    assert_eq!(paths(&node.json(&["search", "tag:project path:Projects"])), ["Projects/Garden.md"]);
    fs::write(vault.join("Fresh.md"), "# Fresh\n\nThe wombat sleeps in [[Garden]].\n").unwrap();
    let began = Instant::now();
    node.says("a saved note is found", &["search", "wombat"], |answer| paths(answer) == ["Fresh.md"]);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    let note = node.json(&["note", "show", "Fresh.md"]);
    let seen = text(&note, "/digest");
    node.json(&[
        "note",
        "patch",
        "Fresh.md",
        "--if-match",
        &seen,
        "--heading",
        "Fresh",
        "--append",
        "It wakes at night.",
    ]);
    let written = fs::read_to_string(vault.join("Fresh.md")).unwrap();
    assert_eq!(written, "# Fresh\n\nThe wombat sleeps in [[Garden]].\nIt wakes at night.\n");
    let refused =
        node.cli(&["note", "patch", "Fresh.md", "--if-match", &seen, "--property", "mood", "--value", "calm"]);
    assert!(told(&refused).contains("Fresh.md has changed: its digest is"), "{refused:?}");
    assert_eq!(fs::read_to_string(vault.join("Fresh.md")).unwrap(), written);

    let renamed = node.json(&["note", "rename", "Projects/Garden.md", "Projects/Orchard.md"]);
    assert!(renamed["written"].as_array().unwrap().contains(&json!("Fresh.md")), "{renamed:#}");
    assert!(fs::read_to_string(vault.join("Fresh.md")).unwrap().contains("[[Orchard]]"));
    let links = node.json(&["note", "links", "Projects/Orchard.md"]);
    let from: Vec<&str> =
        links["backlinks"].as_array().unwrap().iter().map(|link| link["path"].as_str().unwrap()).collect();
    assert!(from.contains(&"Fresh.md"), "{links:#}");
    let status = node.json(&["vault", "status", "Fresh.md"]);
    assert!(status["note"]["wordsAtMs"].is_u64() && status["note"]["linksAtMs"].is_u64(), "{status:#}");
    assert_eq!(status["note"]["why"], "no embedder is configured");
}

/// What cannot be meant is told, with what to do, by the command line and by HTTP.
#[test]
fn wrong_input_is_told() {
    let (node, _) = node("ann");
    let cases: &[(&[&str], &str)] = &[
        (&["search", "/a(/"], "is not one: unclosed group"),
        (&["search", "foo:bar"], "there is no operator foo"),
        (&["search", "bees", "--limit", "0"], "1 to 200 hits, not 0"),
        (&["context", "bees", "--tokens", "0"], "the budget of the pack is 0"),
        (&["context", "--note", "Nowhere"], "there is no note Nowhere"),
        (&["context"], "neither a text to search for nor a note"),
        (&["note", "show", "../secret.md"], "leads out of the vault"),
        (&["note", "show", "/etc/passwd"], "the path is absolute"),
        (&["note", "patch", "Home.md", "--heading", "Nowhere", "--append", "x"], "there is no heading Nowhere"),
        (&["note", "patch", "Home.md", "--append", "x"], "names one of heading, block and property"),
        (&["note", "rename", "Home.md", "People/Ada.md"], "there is a file People/Ada.md already"),
        (&["note", "rename", "Home.md", "a|b.md"], "which no link can have"),
        (&["vault", "status", "Nowhere.md"], "there is no document Nowhere.md"),
    ];
    for (arguments, words) in cases {
        let output = node.cli(arguments);
        assert!(told(&output).contains(words), "{arguments:?}: {output:?}");
    }
    let typed = ["content-type: application/json".to_owned()];
    let twice = br#"{"heading":["Home"],"replace":"a","append":"b"}"#;
    let answer = node.ask("PATCH", "/v1/notes?path=Home.md", &typed, twice).unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    let nothing = Node::start("bob");
    assert!(told(&nothing.cli(&["search", "bees"])).contains("this node has no vault and no documents"));
}

/// A folder that is no vault keeps the daemon from starting, and nothing was changed.
#[test]
fn what_is_no_vault_is_told() {
    let mut node = Node::start("ann");
    node.down();
    let empty = node.home.join("empty");
    fs::create_dir(&empty).unwrap();
    let missing = node.home.join("missing");
    let file = node.home.join("file");
    fs::write(&file, "").unwrap();
    let cases = [(&missing, "there is no folder"), (&file, "is not a folder"), (&empty, "is not a vault")];
    for (path, words) in cases {
        let output = node.cli(&["up", "--vault", path.to_str().unwrap()]);
        assert!(told(&output).contains(words), "{output:?}");
    }
}

/// Documents that a program pushes are found at once, with the scopes that a token has, and are there after a restart.
#[test]
fn pushed_documents_are_found() {
    let mut node = Node::start("ann");
    let reader = text(&node.json(&["token", "create", "reader", "--scope", "context:read"]), "/secret");
    let writer = text(&node.json(&["token", "create", "writer", "--scope", "context:write"]), "/secret");
    let push = json!({ "documents": [{ "id": "tickets/17", "text": "# Ticket\n\nThe axolotl tank leaks. #urgent" }] });
    let push = push.to_string();
    let json_body = ["content-type: application/json".to_owned()];
    let pushed = |token: &str| node.ask_with(token, "POST", "/v1/ingest", &json_body, push.as_bytes()).unwrap();
    assert_eq!(pushed(&reader).status, 403);
    assert_eq!(pushed(&writer).status, 200);
    let found = node.ask_with(&reader, "GET", "/v1/search?q=axolotl", &[], b"").unwrap();
    assert_eq!(paths(&found.json()), ["/pushed/tickets/17"]);
    node.kill();
    node.up();
    ready(&node);
    let found = node.json(&["search", "tag:urgent axolotl"]);
    assert_eq!(paths(&found), ["/pushed/tickets/17"]);
}

/// A job gets the notes that fit it, by digest; what is private is in the pack of a private job alone, and in nothing that
/// replicates.
#[test]
fn a_job_gets_its_notes() {
    const MARKER: &str = "zebramarker7731";
    let (node, vault) = node("ann");
    fs::write(vault.join("Open.md"), "# Narwhal plan\n\nFeed the narwhal at noon, see [[Hidden]].\n").unwrap();
    fs::write(vault.join("Hidden.md"), format!("---\nprivacy: private\n---\nThe narwhal's code is {MARKER}.\n"))
        .unwrap();
    node.says("both are found", &["search", "narwhal"], |answer| paths(answer).len() == 2);

    let job = node.submit(&["--context", "--title", "Feed the narwhal", "--", "sh", "-c", "cat $RHIZOME_CONTEXT"]);
    assert_eq!(node.settled(&job)["outcome"], "succeeded");
    let pack = node.json(&["context", "--job", &job]);
    assert!(text(&pack, "/text").contains("Feed the narwhal at noon"), "{pack:#}");
    assert_eq!(pack["privacy"], "open");
    assert!(!pack.to_string().contains(MARKER) && !pack.to_string().contains("Hidden.md"), "{pack:#}");
    let log = node.cli(&["job", "logs", &job]);
    assert!(log.stdout.contains("Feed the narwhal at noon") && !log.stdout.contains(MARKER), "{log:?}");

    let refused = node.cli(&["job", "submit", "--note", "Hidden", "--title", "x", "--", "true"]);
    assert!(told(&refused).contains("the note Hidden is private, and the job is not"), "{refused:?}");
    let private =
        node.submit(&["--private", "--note", "Hidden", "--title", "narwhal", "--", "sh", "-c", "cat $RHIZOME_CONTEXT"]);
    assert_eq!(node.settled(&private)["outcome"], "succeeded");
    assert!(text(&node.json(&["context", "--job", &private]), "/text").contains(MARKER));
    assert!(!holds(&node.place().join("storage"), MARKER), "what is private is in the storage that replicates");
}

/// Whether a file below a folder holds a text, also where git has compressed it.
fn holds(folder: &Path, marker: &str) -> bool {
    use std::io::Read as _;
    let inflated = |bytes: &[u8]| {
        let mut plain = Vec::new();
        // what is no object of git is looked at as it is
        flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain).ok();
        plain
    };
    let has = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
    fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            return holds(&path, marker);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        has(&bytes) || has(&inflated(&bytes))
    })
}

/// Working trees and what jobs did are searched as notes are. The process that finds symbols may end over a file, and a
/// private job is not found.
#[test]
fn code_and_runs_are_searched() {
    let (mut node, _) = node("ann");
    let refused = node.cli(&["search", "--in", "code", "flip_page"]);
    assert!(told(&refused).contains("no working trees to search"), "{refused:?}");
    node.down();
    let tree = node.home.join("project");
    fs::create_dir_all(tree.join("target")).unwrap();
    fs::write(tree.join(".gitignore"), "target\n").unwrap();
    fs::write(tree.join("target/old.rs"), "fn flip_page() {}\n").unwrap();
    fs::write(
        tree.join("book.rs"),
        "struct Book;\n\nimpl Book {\n    fn flip_page(&mut self) {\n        self.turn();\n    }\n}\n",
    )
    .unwrap();
    // one that is not there keeps nothing from working, nor does a model that was copied in part
    node.set("code.paths", &format!("{},{}", tree.display(), node.home.join("nowhere").display()));
    let partly = node.place().join("rhizome/models/.partly.new");
    fs::create_dir_all(&partly).unwrap();
    fs::write(partly.join("config.json"), "{").unwrap();
    node.up();
    ready(&node);
    let answer = node.says("the code is found", &["search", "--in", "code", "flip_page"], |answer| {
        paths(answer) == ["project/book.rs"]
    });
    assert_eq!(answer["hits"][0]["headings"], json!(["impl Book"]), "{answer:#}");
    fault::kill_child(node.daemon().id(), "symbols");
    fs::write(tree.join("late.py"), "class Late:\n    def wombat(self):\n        return 1\n").unwrap();
    let wombat = ["search", "--in", "code", "wombat"];
    let answer = node.says("what comes after is found", &wombat, |answer| paths(answer) == ["project/late.py"]);
    assert_eq!(answer["hits"][0]["headings"], json!(["class Late"]), "{answer:#}");

    let job = node.submit(&["--title", "Count the wombats", "--", "sh", "-c", "echo forty-two at dawn"]);
    node.settled(&job);
    let private = node.submit(&["--private", "--title", "Count the secret wombats", "--", "true"]);
    node.settled(&private);
    let found = ["search", "--in", "runs", "wombats dawn", "--all"];
    let path = format!("/runs/{job}");
    node.says("what a job said is found", &found, |answer| paths(answer) == [&*path]);
    assert_eq!(paths(&node.json(&["search", "--in", "runs", "[outcome:succeeded]"])), [&*path]);
    assert_eq!(paths(&node.json(&["search", "wombats", "--all"])), [""; 0], "notes have no jobs");
    let status = node.json(&["vault", "status"]);
    let others: Vec<(&str, u64)> = status["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(|other| (other["in"].as_str().unwrap(), other["coverage"]["words"].as_u64().unwrap()))
        .collect();
    assert_eq!(others, [("code", 2), ("runs", 1)]);
    assert!(text(&status, "/others/0/index/faults/0").contains("left out until the next start"), "{status:#}");
}
