//! Embedders over HTTP against a server that answers what Ollama and OpenAI do.

mod ollama;
mod openai;
mod server;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::runtime::Runtime;
use vault::embed::{EmbedError, Reach};

use super::*;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Enough for a machine with much to do.
fn patient() -> Limits {
    Limits { connect: Duration::from_secs(30), call: Duration::from_secs(60) }
}

/// An address where nobody listens.
fn nobody() -> Address {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    Address::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

/// Asserts what an error says, after whether it may pass by itself.
#[track_caller]
fn assert_says<T>(result: Result<T, EmbedError>, begin: &str, words: &[&str]) -> String {
    let said = match result.err().expect("it fails") {
        error @ EmbedError::Away { .. } => format!("away: {error}"),
        error @ EmbedError::Refused { .. } => format!("refused: {error}"),
    };
    assert!(said.starts_with(begin) && words.iter().all(|word| said.contains(word)), "{said}");
    said
}

/// Only what cannot leave this machine is called local.
#[test]
fn an_address_tells_where_texts_go() {
    let local =
        ["http://127.0.0.1:11434", "http://127.8.9.1", "https://localhost:1/v1", "http://[::1]:80", "unix:/run/o.sock"];
    let remote = [
        "https://api.openai.com/v1",
        "http://10.0.0.1:11434",
        "http://0.0.0.0:11434",
        "http://localhost.example.org",
        "http://[::ffff:10.0.0.1]",
        "http://gpu",
    ];
    for text in local {
        assert_eq!(Address::new(text).unwrap().reach(), Reach::Local, "{text}");
    }
    for text in remote {
        assert_eq!(Address::new(text).unwrap().reach(), Reach::Remote, "{text}");
    }
    assert_eq!(Address::new("http://[::ffff:127.0.0.1]").unwrap().reach(), Reach::Local);
    assert_eq!(
        Address::new("https://api.openai.com/v1/").unwrap().below("embeddings"),
        "https://api.openai.com/v1/embeddings"
    );
    for text in ["", "127.0.0.1:11434", "ftp://a", "unix:run", "file:///a", "http://"] {
        assert!(matches!(Address::new(text), Err(AddressError::Unreadable(_))), "{text}");
    }
    for text in ["http://me:secret@localhost", "http://a/?key=secret", "http://a/#secret"] {
        assert!(!Address::new(text).unwrap_err().to_string().contains("secret"), "{text}");
    }
}

#[test]
fn batches_keep_the_order_and_their_limits() {
    let texts = ["a", "bb", "", "cccccc", "d", "e", "f"];
    let batches = vectors::batches(&texts, 3, 4);
    assert_eq!(batches.concat(), texts);
    assert_eq!(batches, [&["a", "bb", ""][..], &["cccccc"], &["d", "e", "f"]]);
    assert!(vectors::batches(&[], 3, 4).is_empty());
    assert_eq!(vectors::cut("aé", 2), "a");
}
