//! What is sent to OpenAI, and what its answers mean.

use serde_json::json;
use tokio::runtime::Runtime;
use vault::embed::{EmbedError, Embedder as _, EmbedderId, Reach};

use super::super::openai::{OpenAi, Settings, TEXT_BYTES_MAX};
use super::server::{Act, Server, answer, ok};
use super::{Address, assert_says, nobody, patient, runtime};
use crate::store::secret::Secret;

const KEY: &str = "sk-very-secret";
const MODEL: &str = "text-embedding-3-small";

fn settings(address: Address, key: Option<&str>) -> Settings {
    Settings { address, model: MODEL.to_owned(), key: key.map(Secret::presented), limits: patient() }
}

fn opened(server: &Server, runtime: &Runtime) -> Result<OpenAi, EmbedError> {
    let address = Address::new(&format!("{}/v1/", server.url())).unwrap();
    OpenAi::open(settings(address, Some(KEY)), runtime.handle().clone())
}

fn probed() -> Act {
    ok(json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.0, 0.0]}]}).to_string())
}

/// Vectors are those of the texts, whatever their order in the answer, as base64 or as numbers.
#[test]
fn vectors_are_put_in_the_order_of_the_texts() {
    let runtime = runtime();
    // 3.0 and 4.0 in four bytes each
    let shuffled = json!({"data": [
        {"index": 2, "embedding": [0.0, 2.0]},
        {"index": 0, "embedding": "AABAQAAAgEA="},
        {"index": 1, "embedding": [5, 0]},
    ]});
    let server = Server::start(vec![probed(), ok(shuffled.to_string())]);
    let openai = opened(&server, &runtime).unwrap();
    let id = EmbedderId { kind: "openai".to_owned(), model: MODEL.to_owned(), dimension: 2 };
    assert_eq!((openai.id(), openai.reach()), (&id, Reach::Local));
    let long = "é".repeat(TEXT_BYTES_MAX);
    assert_eq!(openai.embed(&["one", "", &long]).unwrap(), [[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]]);
    let asked = server.asked().remove(1);
    assert!(
        asked.head.starts_with("post /v1/embeddings http/1.1\r\n")
            && asked.head.contains("\r\nauthorization: bearer sk-very-secret\r\n")
    );
    // an empty text is refused there, and a long one too
    assert_eq!(
        asked.body,
        json!({"model": MODEL, "input": ["one", " ", "é".repeat(TEXT_BYTES_MAX / 2)], "encoding_format": "base64"})
    );
}

#[test]
fn a_server_on_this_machine_needs_no_key() {
    let runtime = runtime();
    let server = Server::start(vec![probed()]);
    OpenAi::open(settings(Address::new(&server.url()).unwrap(), None), runtime.handle().clone()).unwrap();
    assert!(!server.asked()[0].head.contains("authorization"));
}

/// What OpenAI says when it does not answer, whether it may pass by itself, and that the key is not in it.
#[test]
fn a_fault_tells_what_to_do() {
    let runtime = runtime();
    let wrong = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}.","code":"invalid_api_key"}}}}"#);
    let context =
        r#"{"error":{"message":"This model's maximum context length is 8192 tokens","type":"invalid_request_error"}}"#;
    let limited = Act::Answer {
        status: "429 Too Many Requests",
        headers: "Retry-After: 20\r\n",
        body: r#"{"error":{"message":"Rate limit reached for requests"}}"#.to_owned(),
    };
    let cases: Vec<(Act, &str, &[&str])> = vec![
        (answer("401 Unauthorized", &wrong), "refused", &["[the key]", "set another"]),
        (answer("403 Forbidden", r#"{"error":{"message":"not allowed"}}"#), "refused", &["not allowed"]),
        (limited, "away: the embedder openai/text-embedding-3-small is away", &["Rate limit", "after 20 (seconds"]),
        (answer("500 Internal Server Error", &wrong), "away", &["[the key]"]),
        (answer("502 Bad Gateway", "<html>\n<b>bad</b>"), "away", &["<html> <b>bad"]),
        (answer("404 Not Found", r#"{"error":{"message":"model \"nope\" not found"}}"#), "refused", &["look at both"]),
        (answer("400 Bad Request", context), "refused", &["too long for the model", "8192"]),
        (answer("400 Bad Request", r#"{"error":{"message":"odd"}}"#), "refused", &["400 Bad Request: odd"]),
        (ok(r#"{"data":[]}"#), "refused", &["0 vectors for 1"]),
        (ok(r#"{"data":[{"index":1,"embedding":[1.0]}]}"#), "refused", &["no vector for a text"]),
        (ok(r#"{"data":[{"index":0,"embedding":"AAA"}]}"#), "refused", &["no base64"]),
        (ok(r#"{"data":[{"index":0,"embedding":"AAAA"}]}"#), "refused", &["no base64"]),
        (ok(r#"{"data":[{"index":0,"embedding":"AADAfwAAwH8="}]}"#), "refused", &["no length"]),
    ];
    for (act, begin, words) in cases {
        let server = Server::start(vec![act]);
        let said = assert_says(opened(&server, &runtime).map(drop), begin, words);
        assert!(!said.contains(KEY), "{said}");
        server.asked();
    }
    assert_says(OpenAi::open(settings(nobody(), Some(KEY)), runtime.handle().clone()).map(drop), "away", &["refused"]);
}
