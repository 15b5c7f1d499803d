//! Both listeners over one node in memory, and a caller who may send whatever he likes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::fake::Fake;
use crate::api::listen::{bind_tcp, bind_unix, serve_tcp, serve_unix};
use crate::api::settings::Settings;

/// A surface that serves until this is dropped.
pub struct Rig {
    pub address: SocketAddr,
    pub socket: PathBuf,
    pub node: Arc<Fake>,
    pub stop: CancellationToken,
    pub home: TempDir,
    owner: JoinHandle<()>,
    guard: DropGuard,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    /// The code of a problem, which must be whole.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["correlationId"], self.header("x-request-id"), "{problem}");
        assert_eq!(problem["type"], format!("urn:rhizome:problem:{}", problem["code"].as_str().unwrap()));
        assert!(!problem["title"].as_str().unwrap().is_empty() && !problem["detail"].as_str().unwrap().is_empty());
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Rig {
    pub async fn start(settings: Settings) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (socket, node, stop) = (home.path().join("s"), Arc::new(Fake::default()), CancellationToken::new());
        let door = bind_unix(&socket).await.unwrap();
        let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let owner = tokio::spawn(serve_unix(door, Arc::clone(&node), settings.clone(), stop.clone()));
        tokio::spawn(serve_tcp(listener, Arc::clone(&node), settings, stop.clone()));
        Self { address, socket, node, guard: stop.clone().drop_guard(), stop, home, owner }
    }

    /// Another daemon takes the place of this one, on the unix socket, with what it knew.
    pub async fn restart(&mut self) {
        self.stop.cancel();
        (&mut self.owner).await.unwrap();
        self.stop = CancellationToken::new();
        self.guard = self.stop.clone().drop_guard();
        let door = bind_unix(&self.socket).await.unwrap();
        let (node, stop) = (Arc::clone(&self.node), self.stop.clone());
        self.owner = tokio::spawn(serve_unix(door, node, Settings::default(), stop));
    }

    /// A request as the owner, over the unix socket.
    pub async fn owner(&self, method: Method, target: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(target).header("host", "localhost");
        let request = request.header("content-type", "application/json").body(body.to_owned()).unwrap();
        exchange(UnixStream::connect(&self.socket).await.unwrap(), request).await
    }

    /// Any request at all, over TCP.
    pub async fn tcp(&self, request: Request<String>) -> Answer {
        exchange(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    /// The beginning of a request that names the right host.
    pub fn request(&self, method: Method, target: &str) -> hyper::http::request::Builder {
        let request = Request::builder().method(method).uri(target).header("host", self.address.to_string());
        request.header("content-type", "application/json")
    }

    /// The id of a job with this command.
    pub async fn job(&self, command: &[&str]) -> String {
        let body = serde_json::json!({ "command": command }).to_string();
        let answer = self.owner(Method::POST, "/schedule", &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }
}

async fn exchange<S>(stream: S, request: Request<String>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request.map(|body| Full::new(Bytes::from(body)))).await.unwrap();
    let (head, body) = response.into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}
