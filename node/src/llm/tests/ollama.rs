//! What is sent to Ollama, and what its answers mean. The words of its faults are those of version 0.17.4.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;
use vault::embed::{EmbedError, Embedder as _, EmbedderId, Reach};

use super::super::ollama::{BATCH_BYTES, BATCH_TEXTS, KEEP_ALIVE, Ollama, Settings, TEXT_BYTES_MAX};
use super::server::{Act, Server, answer, ok};
use super::{Address, Limits, assert_says, nobody, patient, runtime};

fn settings(address: Address) -> Settings {
    Settings { address, model: "all-minilm".to_owned(), keep_alive: KEEP_ALIVE.to_owned(), limits: patient() }
}

fn opened(server: &Server, runtime: &Runtime) -> Result<Ollama, EmbedError> {
    Ollama::open(settings(Address::new(&server.url()).unwrap()), runtime.handle().clone())
}

/// An answer with so many vectors.
fn vectors(count: usize) -> Act {
    ok(json!({"model": "all-minilm", "embeddings": vec![[3.0, 0.0, -4.0]; count], "prompt_eval_count": 4}).to_string())
}

/// A text goes in a list, empty or not, its end is cut there, and its vector is of length 1 here.
#[test]
fn texts_are_asked_for_in_a_list() {
    let runtime = runtime();
    let server = Server::start(vec![vectors(1), vectors(2)]);
    let ollama = opened(&server, &runtime).unwrap();
    let id = EmbedderId { kind: "ollama".to_owned(), model: "all-minilm".to_owned(), dimension: 3 };
    assert_eq!((ollama.id(), ollama.reach()), (&id, Reach::Local));
    assert_eq!(ollama.embed(&["hello world", ""]).unwrap(), [[0.6, 0.0, -0.8]; 2]);
    assert_eq!(ollama.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].head.starts_with("post /api/embed http/1.1\r\n"), "{}", asked[1].head);
    let body = json!({"model": "all-minilm", "input": ["hello world", ""], "truncate": true, "keep_alive": "5m"});
    assert_eq!(asked[1].body, body);
}

/// A number of seconds is a number there, and a tag that is meant anyway is not another embedder.
#[test]
fn names_and_times_are_as_ollama_takes_them() {
    let runtime = runtime();
    let server = Server::start(vec![vectors(1)]);
    let address = Address::new(&server.url()).unwrap();
    let settings = Settings { model: "all-minilm:latest".to_owned(), keep_alive: "-1".to_owned(), ..settings(address) };
    let ollama = Ollama::open(settings, runtime.handle().clone()).unwrap();
    assert_eq!(ollama.id().model, "all-minilm");
    let body = server.asked().remove(0).body;
    assert_eq!((&body["model"], &body["keep_alive"]), (&json!("all-minilm"), &json!(-1)));
}

/// Many texts go in several requests, and what comes back is in their order.
#[test]
fn many_texts_go_in_batches() {
    let runtime = runtime();
    let numbered = |first: usize, count: usize| {
        let vectors: Vec<[usize; 2]> = (first..first + count).map(|at| [at + 1, 0]).collect();
        ok(json!({ "embeddings": vectors }).to_string())
    };
    let server =
        Server::start(vec![numbered(0, 1), numbered(0, BATCH_TEXTS), numbered(0, 2), numbered(0, 1), numbered(0, 1)]);
    let ollama = opened(&server, &runtime).unwrap();
    let texts: Vec<String> = (0..BATCH_TEXTS + 2).map(|at| format!("text {at}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(ollama.embed(&texts).unwrap().len(), texts.len());
    let long = "x".repeat(BATCH_BYTES.max(TEXT_BYTES_MAX) + 1);
    assert_eq!(ollama.embed(&["short", &long]).unwrap().len(), 2);
    let asked = server.asked();
    let inputs: Vec<&serde_json::Value> =
        asked[1..3].iter().flat_map(|asked| asked.body["input"].as_array().unwrap()).collect();
    assert!(inputs.iter().zip(&texts).all(|(sent, text)| sent.as_str() == Some(text)) && inputs.len() == texts.len());
    assert_eq!(asked[4].body["input"][0].as_str().map(str::len), Some(TEXT_BYTES_MAX));
}

/// What Ollama says when it does not answer, and whether it may pass by itself.
#[test]
fn a_fault_tells_what_to_do() {
    let runtime = runtime();
    let cases: Vec<(Act, &str, &[&str])> = vec![
        (
            answer("404 Not Found", r#"{"error":"model \"nope\" not found, try pulling it first"}"#),
            "refused: the embedder ollama/all-minilm cannot",
            &["`ollama pull all-minilm`"],
        ),
        (answer("404 Not Found", "404 page not found"), "refused", &["404 page not found", "http://127.0.0.1"]),
        (
            Act::Answer {
                status: "503 Service Unavailable",
                headers: "retry-after: 7\r\n",
                body: r#"{"error":"server busy, please try again. maximum pending requests exceeded"}"#.to_owned(),
            },
            "away: the embedder ollama/all-minilm is away",
            &["server busy", "after 7 (seconds"],
        ),
        (
            answer("400 Bad Request", r#"{"error":"the input length exceeds the context length"}"#),
            "refused",
            &["exceeds"],
        ),
        (answer("400 Bad Request", r#"{"error":"invalid input type"}"#), "refused", &["invalid input type"]),
        (answer("403 Forbidden", ""), "refused", &["403"]),
        (
            answer("500 Internal Server Error", r#"{"error":"llama runner process has terminated"}"#),
            "away",
            &["terminated"],
        ),
        (
            answer("500 Internal Server Error", r#"{"error":"this model does not support embeddings"}"#),
            "refused",
            &["does not support"],
        ),
        (
            Act::Answer {
                status: "307 Temporary Redirect",
                headers: "location: http://example.org/\r\n",
                body: String::new(),
            },
            "refused",
            &["307", "not followed"],
        ),
        (Act::Half(r#"{"embeddings":[["#), "away", &[]),
        (ok("<html>"), "refused", &["not that of Ollama"]),
        (ok(r#"{"embedding":[1.0]}"#), "refused", &["not that of Ollama"]),
        (ok(r#"{"embeddings":[]}"#), "refused", &["0 vectors for 1"]),
        (ok(r#"{"embeddings":[[]]}"#), "refused", &["no length"]),
        (ok(r#"{"embeddings":[[0.0, 0.0]]}"#), "refused", &["no length"]),
        (ok(r#"{"embeddings":[[1e39, 1.0]]}"#), "refused", &[]),
    ];
    for (act, begin, words) in cases {
        let server = Server::start(vec![act]);
        assert_says(opened(&server, &runtime).map(drop), begin, words);
        server.asked();
    }
}

#[test]
fn what_does_not_answer_is_away() {
    let runtime = runtime();
    assert_says(Ollama::open(settings(nobody()), runtime.handle().clone()).map(drop), "away", &["refused"]);
    let gone = Settings { address: Address::new("unix:/nowhere/ollama.sock").unwrap(), ..settings(nobody()) };
    assert_says(Ollama::open(gone, runtime.handle().clone()).map(drop), "away", &[]);

    let server = Server::start(vec![Act::Silence]);
    let limits = Limits { call: Duration::from_millis(50), ..patient() };
    let slow = Settings { limits, ..settings(Address::new(&server.url()).unwrap()) };
    assert_says(Ollama::open(slow, runtime.handle().clone()).map(drop), "away", &["timed out"]);
    server.asked();
}

/// A model that was replaced by another under its name is found out before its vectors are kept.
#[test]
fn another_dimension_is_refused() {
    let runtime = runtime();
    let server = Server::start(vec![vectors(1), ok(r#"{"embeddings":[[1.0, 0.0]]}"#), vectors(2), vectors(1)]);
    let ollama = opened(&server, &runtime).unwrap();
    assert_says(ollama.embed(&["text"]), "refused", &["have 2 numbers now, and 3", "index anew"]);
    assert_says(ollama.embed(&["text"]), "refused", &["2 vectors for 1"]);
    assert!(ollama.embed(&["text"]).is_ok());
}
