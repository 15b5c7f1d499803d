//! Search by meaning as a user has it: the model in process, and vectors in a PostgreSQL that goes and comes back.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::context::{node, paths, ready};
use crate::support::node::{Node, text};
use crate::support::server::Server;

/// The model that `tests/run.sh` fetches.
pub fn model() -> PathBuf {
    std::env::var_os("RHIZOME_MINILM_DIR").expect("RHIZOME_MINILM_DIR is what deploy/minilm.sh prints").into()
}

pub fn until_all_have_vectors(node: &Node) {
    node.says("all notes have their vectors", &["vault", "status"], |status| {
        let meaning = &status["meaning"];
        meaning["documents"] == meaning["of"] && meaning["of"].as_u64() > Some(0) && meaning["failure"].is_null()
    });
}

fn notice(answer: &Value) -> String {
    answer["notices"].as_array().unwrap().iter().map(|notice| notice.as_str().unwrap()).collect()
}

/// A model that is added compares by meaning at the next start; a note is told when its vectors are missing, and a restart
/// makes none again.
#[test]
fn a_model_is_added() {
    let (mut node, vault) = node("ann");
    let answer = node.json(&["search", "automobile"]);
    assert_eq!(notice(&answer), "by words only: no embedder is configured");
    let wrong = node.cli(&["model", "add", vault.to_str().unwrap()]);
    assert!(wrong.code != 0 && wrong.stderr.contains("has no config.json"), "{wrong:?}");
    node.cli(&["model", "add", model().to_str().unwrap()]).ok();
    fs::write(vault.join("Car.md"), "The car is at the garage until Friday.\n").unwrap();
    node.down();
    node.up();
    ready(&node);
    until_all_have_vectors(&node);
    assert_eq!(paths(&node.json(&["search", "automobile repair", "--mode", "vector", "--limit", "1"])), ["Car.md"]);
    let status = node.json(&["vault", "status", "Car.md"]);
    assert!(status["note"]["meaningAtMs"].is_u64(), "{status:#}");
    assert!(text(&status, "/meaning/collection").contains("/notes/minilm/all-MiniLM-L6-v2-"), "{status:#}");
    node.down();
    node.up();
    ready(&node);
    until_all_have_vectors(&node);
    let status = node.json(&["vault", "status"]);
    assert_eq!(status["meaning"]["embedded"], 0, "{status:#}");
}

/// Vectors are kept in another product by its URL alone. While it is away search is by words and says so; what was missed is
/// sent when it is back, and its password is nowhere.
#[test]
fn a_store_goes_and_comes_back() {
    let Some(mut server) = Server::start("postgres", "a_store_goes_and_comes_back") else { return };
    let (mut node, vault) = node("ann");
    node.down();
    node.environment.insert("VECTOR_DB_URL".to_owned(), server.url("postgres://"));
    node.set("vault.model", model().to_str().unwrap());
    node.up();
    ready(&node);
    until_all_have_vectors(&node);
    let near = ["search", "automobile repair", "--mode", "vector", "--limit", "1"];
    fs::write(vault.join("Car.md"), "The car is at the garage until Friday.\n").unwrap();
    node.says("the note is near", &near, |answer| paths(answer) == ["Car.md"]);
    let status = node.json(&["vault", "status"]);
    assert!(text(&status, "/meaning/store").starts_with("postgres://tester@127.0.0.1:"), "{status:#}");

    server.kill();
    let answer = node.json(&["search", "car repair"]);
    assert_eq!((&answer["mode"], paths(&answer)[0]), (&Value::from("keyword"), "Car.md"));
    assert!(notice(&answer).contains("the vector store postgres://tester@127.0.0.1:"), "{answer:#}");
    fs::write(vault.join("Boat.md"), "The boat lies in the harbour, its mast broken.\n").unwrap();
    node.says("it is found by words", &["search", "mast"], |answer| paths(answer) == ["Boat.md"]);
    node.says("a note says what it waits for", &["vault", "status", "Boat.md"], |status| {
        status["note"]["wordsAtMs"].is_u64() && status["note"]["why"].as_str().is_some_and(|why| why.contains("away"))
    });
    server.restart();
    let boat = ["search", "damaged sailing ship", "--mode", "vector", "--limit", "1"];
    node.says("what was missed is sent", &boat, |answer| paths(answer) == ["Boat.md"]);
    assert!(!node.log().contains("not-asked"), "the log has the password");
}

/// What was exported is taken by another node with another store, which makes no vector again and exports the same bytes.
/// What is no export is told by its line, and nothing of it is lost.
#[test]
fn an_export_is_the_same_after_a_round_trip() {
    let Some(server) = Server::start("postgres", "an_export_is_the_same_after_a_round_trip") else { return };
    let (mut ann, vault) = node("ann");
    ann.down();
    ann.set("vault.model", model().to_str().unwrap());
    ann.up();
    ready(&ann);
    let push = br##"{"documents":[{"id":"tickets/1","text":"# Broken pump\n\nThe pump hums. #urgent"},{"id":"diary","text":"a secret","privacy":"private"}]}"##;
    let typed = ["content-type: application/json".to_owned()];
    assert_eq!(ann.ask("POST", "/v1/ingest", &typed, push).unwrap().status, 200);
    until_all_have_vectors(&ann);
    let [first, second] = ["first.jsonl", "second.jsonl"].map(|file| ann.home.join(file));
    ann.cli(&["vault", "export", first.to_str().unwrap()]).ok();
    let lines = fs::read_to_string(&first).unwrap();
    assert!(lines.starts_with(r#"{"format":"rhizome-vault","version":1,"embedder":{"kind":"minilm""#), "{lines}");
    assert_eq!(lines, ann.cli(&["vault", "export"]).ok(), "to standard output too");

    let (mut bob, other) = node("bob");
    assert_eq!(other.read_dir().unwrap().count(), vault.read_dir().unwrap().count());
    bob.down();
    bob.environment.insert("VECTOR_DB_URL".to_owned(), server.url("postgres://"));
    bob.set("vault.model", model().to_str().unwrap());
    // the notes come after their vectors
    let aside = bob.home.join("aside");
    fs::rename(&other, &aside).unwrap();
    fs::create_dir_all(other.join(".obsidian")).unwrap();
    bob.up();
    ready(&bob);
    let counts = bob.json(&["vault", "import", first.to_str().unwrap()]);
    assert_eq!((&counts["pushed"], &counts["passages"]), (&Value::from(2), &counts["vectors"]), "{counts:#}");
    assert_eq!(paths(&bob.json(&["search", "tag:urgent pump"])), ["/pushed/tickets/1"]);
    bob.down();
    fs::remove_dir_all(&other).unwrap();
    fs::rename(&aside, &other).unwrap();
    bob.up();
    ready(&bob);
    until_all_have_vectors(&bob);
    assert_eq!(bob.json(&["vault", "status"])["meaning"]["embedded"], 0);
    bob.cli(&["vault", "export", second.to_str().unwrap()]).ok();
    assert!(lines == fs::read_to_string(&second).unwrap(), "the exports differ");

    let vector = lines.split_once("\"vector\":\"").unwrap().1.split_once('"').unwrap().0;
    for (text, why) in [
        (&*lines.replacen(vector, &"A".repeat(vector.len()), 1), "the vector has the length 0, not 1"),
        ("", "line 1: there is nothing"),
        ("{}", "line 1: it is no line of ours: missing field `format`"),
        (
            &lines.replacen("\"version\":1", "\"version\":2", 1),
            "line 1: this is rhizome-vault 2, and rhizome-vault 1 is read",
        ),
        (&lines.replacen("\"vector\":\"", "\"vector\":\"AAAA", 1), "the vector has"),
        (&lines[..lines.len() / 2], "it is no line of ours"),
    ] {
        fs::write(&second, text).unwrap();
        let refused = bob.cli(&["vault", "import", second.to_str().unwrap()]);
        assert!(refused.code != 0 && refused.stderr.contains(why), "{why}: {refused:?}");
    }
    assert_eq!(paths(&bob.json(&["search", "tag:urgent pump"])), ["/pushed/tickets/1"]);
}

/// A model of Ollama compares by meaning; while it is away search is by words and says so.
#[test]
fn an_ollama_compares() {
    let Some(mut server) = Server::start("ollama", "an_ollama_compares") else { return };
    let (mut node, vault) = node("ann");
    node.down();
    node.environment.insert("OLLAMA_BASE_URL".to_owned(), format!("http://127.0.0.1:{}", server.port));
    node.set("vault.embedder", "ollama:all-minilm");
    fs::write(vault.join("Car.md"), "The car is at the garage until Friday.\n").unwrap();
    node.up();
    ready(&node);
    until_all_have_vectors(&node);
    let near = ["search", "automobile repair", "--mode", "vector", "--limit", "1"];
    assert_eq!(paths(&node.json(&near)), ["Car.md"]);
    let status = node.json(&["vault", "status"]);
    assert!(text(&status, "/meaning/collection").ends_with("/notes/ollama/all-minilm/384"), "{status:#}");
    server.kill();
    let answer = node.json(&["search", "car"]);
    assert_eq!((&answer["mode"], paths(&answer)[0]), (&Value::from("keyword"), "Car.md"));
    assert!(notice(&answer).contains("the embedder ollama/all-minilm is away"), "{answer:#}");
    server.restart();
    node.says("it is back", &near, |answer| answer["mode"] == "vector" && paths(answer) == ["Car.md"]);
}
