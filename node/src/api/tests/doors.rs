//! The listeners: names, origins, ids, limits, sockets, ports.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hyper::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::fake::READER;
use super::rig::Rig;
use crate::api::listen::{bind_tcp, bind_unix};
use crate::api::settings::{Limits, Settings};
use crate::ops::error::Code;

fn settings() -> Settings {
    Settings {
        hosts: BTreeSet::from([String::from("node.example:8443")]),
        origins: BTreeSet::from([String::from("https://page.example")]),
        limits: Limits::default(),
    }
}

/// A name that is not ours is refused before anything else: a page whose name was pointed at us gets nothing.
#[tokio::test]
async fn refuses_other_hosts() {
    let rig = Rig::start(settings()).await;
    let port = rig.address.port();
    let cases = [
        (format!("127.0.0.1:{port}"), 200),
        (format!("LOCALHOST:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        (String::from("node.example:8443"), 200),
        (String::from("node.example"), 421),
        (String::from("127.0.0.1"), 421),
        (format!("evil.example:{port}"), 421),
        (String::new(), 421),
    ];
    for (host, status) in cases {
        let request = Request::get("/health").header("host", &host).body(String::new()).unwrap();
        let answer = rig.tcp(request).await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
    }
    let two = rig.request(Method::GET, "/health").header("host", "evil.example").body(String::new()).unwrap();
    assert_eq!(rig.tcp(two).await.problem(), "forbidden");
    let absolute = rig.request(Method::GET, "http://evil.example/health").body(String::new()).unwrap();
    assert_eq!(rig.tcp(absolute).await.status, 421);
}

/// A page of another site may not call, with or without a token; ours and a configured one may.
#[tokio::test]
async fn refuses_other_origins() {
    let rig = Rig::start(settings()).await;
    let own = format!("http://localhost:{}", rig.address.port());
    let cases =
        [(own.as_str(), 200), ("https://page.example", 200), ("https://evil.example", 403), ("null", 403), ("", 403)];
    for (origin, status) in cases {
        let request = rig.request(Method::GET, "/pods").header("origin", origin);
        let request = request.header("authorization", format!("Bearer {READER}")).body(String::new()).unwrap();
        let answer = rig.tcp(request).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        assert!(answer.headers.get("access-control-allow-origin").is_none());
    }
}

/// Every answer carries its id and what keeps browsers from using it otherwise; a sane id of the caller is kept.
#[tokio::test]
async fn names_and_shuts_every_answer() {
    let rig = Rig::start(settings()).await;
    for target in ["/health", "/pods", "/nowhere"] {
        let answer = rig.tcp(rig.request(Method::GET, target).body(String::new()).unwrap()).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(answer.header("x-request-id").len(), 32, "{target}");
    }
    for (given, kept) in [("trace-1.a_B", true), ("has space", false), (&"x".repeat(65), false)] {
        let request = rig.request(Method::GET, "/health").header("x-request-id", given).body(String::new()).unwrap();
        assert_eq!(rig.tcp(request).await.header("x-request-id") == given, kept, "{given}");
    }
}

/// Another scheme, or a word without a scheme, is a wrong token, not nobody.
#[tokio::test]
async fn refuses_what_is_no_bearer_token() {
    let rig = Rig::start(settings()).await;
    for value in ["Basic reader-secret", READER, "Bearer", "Bearer ", "Bearer nobody"] {
        let request = rig.request(Method::GET, "/health").header("authorization", value).body(String::new()).unwrap();
        let answer = rig.tcp(request).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"), "{value}");
        assert!(!String::from_utf8_lossy(&answer.body).contains(READER));
    }
}

/// Beyond the most connections one is told so, and the others go on.
#[tokio::test]
async fn refuses_a_connection_too_many() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let rig = Rig::start(Settings { limits, ..Settings::default() }).await;
    let mut first = TcpStream::connect(rig.address).await.unwrap();
    let ask = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", rig.address);
    let mut seen = [0; 12];
    first.write_all(ask.as_bytes()).await.unwrap();
    first.read_exact(&mut seen).await.unwrap();
    let mut refused = Vec::new();
    TcpStream::connect(rig.address).await.unwrap().read_to_end(&mut refused).await.unwrap();
    let refused = String::from_utf8(refused).unwrap();
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503") && head.contains(&format!("content-length: {}", body.len())), "{head}");
    let body: crate::api::problem::ProblemBody = serde_json::from_str(body).unwrap();
    assert_eq!((&seen, body.code), (b"HTTP/1.1 200", Code::Busy));
}

/// A caller that never finishes its head is let go.
#[tokio::test]
async fn drops_a_caller_that_says_nothing() {
    let limits = Limits { head: Duration::from_millis(50), ..Limits::default() };
    let rig = Rig::start(Settings { limits, ..Settings::default() }).await;
    let mut slow = TcpStream::connect(rig.address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
}

/// A port that is taken is named, and an address that others reach is refused.
#[tokio::test]
async fn names_a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind_tcp(address).await.unwrap_err();
    assert_eq!(error.code, Code::PortInUse);
    assert!(error.detail.contains(&address.port().to_string()) && error.hint.is_some(), "{error:?}");
    assert_eq!(bind_tcp("0.0.0.0:0".parse().unwrap()).await.unwrap_err().code, Code::Config);
}

/// The socket is its owner's alone from the first moment; one that nobody answers is replaced, one that somebody
/// answers is not, and what is no socket is left alone.
#[tokio::test]
async fn replaces_a_stale_socket_only() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    let socket = bind_unix(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(bind_unix(&path).await.err().unwrap().code, Code::AlreadyRunning);
    drop(socket);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(bind_unix(&path).await.err().unwrap().code, Code::Config);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
