//! What is sent and what comes back: bounds, errors, headers, content.

use std::collections::BTreeSet;

use base64::Engine as _;
use hyper::Method;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fake::{ARTIFACT, WRITER};
use super::rig::Rig;
use crate::api::problem::meaning;
use crate::api::settings::{JSON_BYTES_MAX, Limits, Settings};
use crate::ops::error::Code;

/// All codes, by an exhaustive match: a new one does not compile until it stands here.
macro_rules! codes {
    ($($code:ident),* $(,)?) => {
        pub const CODES: &[Code] = &[$(Code::$code),*];

        #[expect(dead_code, reason = "it is there to be compiled")]
        fn is_listed(code: Code) {
            match code { $(Code::$code => {}),* }
        }
    };
}

codes!(
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    Ambiguous,
    RepositoryNotFound,
    RepositoryUnreadable,
    CommitNotFound,
    DirtyTree,
    NotPublished,
    Infeasible,
    PathEscapes,
    IdempotencyConflict,
    TooLarge,
    RateLimited,
    InvitationUsed,
    InvitationExpired,
    WrongTransportKey,
    PeerUnreachable,
    NoLedger,
    RestoredHome,
    NotDelegate,
    LedgerFull,
    Busy,
    NoDaemon,
    AlreadyRunning,
    PortInUse,
    NewerVersion,
    StateCorrupt,
    Config,
    Storage,
    Unconfirmed,
    Locked,
    Gone,
    Conflict,
    NoVault,
    Internal,
);

/// Every code has an error status, a title and a word of its own.
#[test]
fn every_code_has_its_status_and_title() {
    let words: BTreeSet<String> = CODES.iter().copied().map(Code::word).collect();
    assert_eq!(words.len(), CODES.len());
    for code in CODES {
        let (status, title) = meaning(*code);
        assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
        assert!(!title.is_empty());
    }
}

/// Each wrong request gets its own status, code and detail that says what and where.
#[tokio::test]
async fn tells_what_is_wrong() {
    let rig = Rig::start(Settings::default()).await;
    let large = format!(r#"{{"command":["{}"]}}"#, "x".repeat(JSON_BYTES_MAX));
    let cases: [(Method, &str, &str, u16, &str, &str); 9] = [
        (Method::GET, "/nowhere", "", 404, "not_found", "/nowhere"),
        (Method::PUT, "/schedule", "", 405, "bad_request", "no method PUT"),
        (Method::POST, "/schedule", "{\n  nonsense", 400, "bad_request", "line 2 column 3"),
        (Method::POST, "/schedule", r#"{"command":1}"#, 400, "bad_request", "invalid type: integer"),
        (Method::POST, "/schedule", r#"{"command":[],"comand":1}"#, 400, "bad_request", "unknown field `comand`"),
        (Method::POST, "/schedule", &large, 413, "too_large", "1048576 bytes"),
        (Method::GET, "/v1/jobs?limit=many", "", 400, "bad_request", "limit"),
        (Method::GET, "/v1/jobs/ffff", "", 404, "not_found", "'ffff'"),
        (Method::GET, "/v1/jobs/%ff", "", 400, "bad_request", "UTF-8"),
    ];
    for (method, target, body, status, code, detail) in cases {
        let answer = rig.owner(method.clone(), target, body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{method} {target}: {answer:?}");
        let told = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains(detail), "{method} {target}: {told}");
    }
    let text = rig.request(Method::POST, "/schedule").header("authorization", format!("Bearer {WRITER}"));
    let mut text = text.body(String::from("{}")).unwrap();
    text.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let answer = rig.tcp(text).await;
    assert_eq!((answer.status, answer.problem().as_str()), (415, "bad_request"));
}

/// A fault of ours ends one request, says nothing of itself, and names where to look.
#[tokio::test]
async fn a_panic_is_a_plain_500() {
    let rig = Rig::start(Settings::default()).await;
    let answer = rig.owner(Method::POST, "/schedule", r#"{"command":["panic"]}"#).await;
    assert_eq!((answer.status, answer.problem().as_str()), (500, "internal"));
    assert!(!String::from_utf8_lossy(&answer.body).contains("a fault of the node"));
    assert!(answer.json()["hint"].as_str().unwrap().contains(answer.header("x-request-id")));
    assert_eq!(rig.owner(Method::GET, "/health", "").await.status, 200);
}

/// A submit answers 202 and where the job is; its idempotency key reaches the operation, and a wrong one is refused.
#[tokio::test]
async fn passes_the_idempotency_key() {
    let rig = Rig::start(Settings::default()).await;
    let submit = async |key: &str| {
        let request = rig.request(Method::POST, "/schedule").header("authorization", format!("Bearer {WRITER}"));
        rig.tcp(request.header("idempotency-key", key).body(json!({ "command": ["true"] }).to_string()).unwrap()).await
    };
    let (first, second, other) = (submit("a").await, submit("a").await, submit("b").await);
    assert_eq!(first.status, 202);
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(first.header("location"), format!("/v1/jobs/{id}"));
    assert_eq!((&second.json()["id"], &second.json()["replayed"]), (&json!(id), &json!(true)));
    assert_ne!(other.json()["id"], id);
    for wrong in ["", "two words", &"k".repeat(256)] {
        assert_eq!(submit(wrong).await.problem(), "bad_request", "{wrong}");
    }
}

/// A log comes as lines of JSON; one that breaks off says so in its last line.
#[tokio::test]
async fn streams_a_log_as_lines() {
    let rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["say", "hello"]).await;
    let answer = rig.owner(Method::GET, &format!("/v1/jobs/{id}/logs?offset=6"), "").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(
        answer.json(),
        json!({ "offset": 6, "stream": "err", "ts": "2026-01-02T03:04:05.678Z", "base64": "//4K" })
    );
    let lost = rig.job(&["lose"]).await;
    let answer = rig.owner(Method::GET, &format!("/v1/jobs/{lost}/logs"), "").await;
    assert_eq!(answer.json()["code"], "gone");
    assert_eq!(answer.json()["correlationId"], answer.header("x-request-id"));
}

/// An artifact comes whole, with its length and digest, and never as a page.
#[tokio::test]
async fn serves_an_artifact_with_its_digest() {
    let rig = Rig::start(Settings::default()).await;
    let id = rig.job(&["true"]).await;
    let answer = rig.owner(Method::GET, &format!("/v1/jobs/{id}/artifacts/out/result.txt"), "").await;
    assert_eq!(answer.body, ARTIFACT.1);
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(ARTIFACT.1));
    assert_eq!(answer.header("repr-digest"), format!("sha-256=:{digest}:"));
    assert_eq!(answer.header("content-length"), ARTIFACT.1.len().to_string());
    assert_eq!(answer.header("content-disposition"), "attachment");
}

/// An input is taken as it is, up to its bound, whether its length is told before or not.
#[tokio::test]
async fn takes_an_input_within_its_bound() {
    let limits = Limits { blob_bytes: 10, ..Limits::default() };
    let rig = Rig::start(Settings { limits, ..Settings::default() }).await;
    let answer = rig.owner(Method::PUT, "/v1/blobs", "0123456789").await;
    assert_eq!((answer.status, &answer.json()["size"]), (201, &json!(10)));
    assert_eq!(rig.owner(Method::PUT, "/v1/blobs", "0123456789a").await.problem(), "too_large");
    let mut raw = tokio::net::UnixStream::connect(&rig.socket).await.unwrap();
    let head = "PUT /v1/blobs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    raw.write_all(format!("{head}6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
