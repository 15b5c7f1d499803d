//! Search by meaning as a user has it: the model in process, and vectors in a PostgreSQL that goes and comes back.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::context::{node, paths, ready};
use crate::support::node::{Node, text};
use crate::support::server::Server;

/// The model that `tests/run.sh` fetches.
fn model() -> PathBuf {
    std::env::var_os("RHIZOME_MINILM_DIR").expect("RHIZOME_MINILM_DIR is what deploy/minilm.sh prints").into()
}

fn until_all_have_vectors(node: &Node) {
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
    assert_eq!((&answer["mode"], &*paths(&answer)[0]), (&Value::from("keyword"), "Car.md"));
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
