//! The command line's way to the daemon: HTTP over its unix socket.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

use super::exit::Failure;
use crate::api::problem::ProblemBody;
use crate::ops::error::{Code, Error};

/// Most bytes of an answer that is one value.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The body of a request.
pub type Body = BoxBody<Bytes, io::Error>;

/// The daemon of one home.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon that listens on `socket`; nothing is tried yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Reads a value.
    pub async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        value(self.call(Method::GET, target, &[], empty()).await?).await
    }

    /// Sends a value and reads one.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send_with(method, target, &[], body).await
    }

    /// As [`Client::send`], with more headers.
    pub async fn send_with<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).expect("our requests hold only what JSON has");
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        value(self.call(method, target, &headers, full(body)).await?).await
    }

    /// Deletes, and drops the answer.
    pub async fn delete(&self, target: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, target, &[], empty()).await.map(drop)
    }

    /// Deletes, and reads what was deleted.
    pub async fn remove<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        value(self.call(Method::DELETE, target, &[], empty()).await?).await
    }

    /// Sends a file as it is and reads a value.
    pub async fn upload<T: DeserializeOwned>(&self, target: &str, file: tokio::fs::File) -> Result<T, Failure> {
        let body = StreamBody::new(ReaderStream::new(file).map_ok(Frame::data)).boxed();
        value(self.call(Method::PUT, target, &[], body).await?).await
    }

    /// One request on a connection of its own; an answer that is an error becomes one.
    pub async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder().method(method).uri(target).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let wrong = |error| Error::new(Code::BadRequest, format!("the request cannot be written: {error}"));
        let request = request.body(body).map_err(wrong)?;
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broke)?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// A connection to the daemon.
    pub async fn connect(&self) -> Result<UnixStream, Failure> {
        UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&self.socket, &error).into())
    }
}

fn unreachable(socket: &Path, error: &io::Error) -> Error {
    let place = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::new(Code::NoDaemon, format!("no daemon answers at {place}")).hint("start it with: rhizome up")
        }
        io::ErrorKind::PermissionDenied => {
            Error::new(Code::Forbidden, format!("the daemon at {place} belongs to another user"))
                .hint("run this as the user that runs the daemon, or use the HTTP API with a token")
        }
        _ => Error::new(Code::NoDaemon, format!("the daemon at {place} cannot be reached: {error}")),
    }
}

/// The daemon went away in the middle.
fn broke(error: hyper::Error) -> Failure {
    Error::new(Code::NoDaemon, format!("the daemon broke the connection: {error}"))
        .hint("see whether it runs with: rhizome status")
        .into()
}

async fn refused(response: Response<Incoming>) -> Failure {
    let status = response.status();
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => problem(status, &body.to_bytes()),
        Err(_) => problem(status, &[]),
    }
}

/// The error that an answer with a status that is none of success tells.
pub fn problem(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<ProblemBody>(body) {
        Ok(ProblemBody { code, detail, hint, retry_after_ms, correlation_id, .. }) => {
            Failure::Refused { error: Error { code, detail, hint, retry_after_ms }, correlation: Some(correlation_id) }
        }
        Err(_) => Error::new(Code::Internal, format!("the daemon answered {status}"))
            .hint("the daemon and this command may be of different versions")
            .into(),
    }
}

async fn value<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, Failure> {
    let unreadable = |why: String| {
        Error::new(Code::Internal, format!("the daemon's answer cannot be read: {why}"))
            .hint("the daemon and this command may be of different versions")
    };
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| unreadable(error.to_string()))?.to_bytes();
    Ok(serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))?)
}

/// A body of nothing.
pub fn empty() -> Body {
    full(Vec::new())
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed()
}

/// `text` as one segment of a target, or as a value of a parameter.
pub fn segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
