//! A node's HTTP API over its unix socket or a TCP port, on connections that are kept.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::Message;

use node::ops::types::StreamMessage;

use crate::Outcome;

/// How long any answer, and the next message of a stream, may take.
const ANSWER: Duration = Duration::from_secs(60);
/// Between two attempts to connect.
const LOOK: Duration = Duration::from_millis(5);

/// A connection that takes one request after the other.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: Option<String>,
}

impl Connection {
    pub async fn unix(socket: &Path) -> Outcome<Self> {
        Self::over(connect(socket).await?, "localhost", None).await
    }

    pub async fn tcp(address: &str, token: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, address, Some(token)).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: &str,
        token: Option<&str>,
    ) -> Outcome<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: host.to_owned(), token: token.map(str::to_owned) })
    }

    /// One request to its last byte.
    pub async fn call(&mut self, method: Method, target: &str, body: Option<&Value>) -> Outcome<Bytes> {
        let mut request = Request::builder().method(method).uri(target).header("host", &self.host);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let answer = async {
            // the last byte of an answer may be here before the connection is free again
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status();
            Ok::<(StatusCode, Bytes), hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(ANSWER, answer).await??;
        if status.is_success() {
            return Ok(body);
        }
        Err(format!("{target} answered {status}: {}", String::from_utf8_lossy(&body)).into())
    }

    pub async fn get<T: DeserializeOwned>(&mut self, target: &str) -> Outcome<T> {
        Ok(serde_json::from_slice(&self.call(Method::GET, target, None).await?)?)
    }

    pub async fn post<T: DeserializeOwned>(&mut self, target: &str, body: &Value) -> Outcome<T> {
        Ok(serde_json::from_slice(&self.call(Method::POST, target, Some(body)).await?)?)
    }
}

/// All that happens to a job, as it happens.
pub struct Stream(tokio_tungstenite::WebSocketStream<UnixStream>);

impl Stream {
    pub async fn of(socket: &Path, job: &str) -> Outcome<Self> {
        let stream = connect(socket).await?;
        let (stream, _) = tokio_tungstenite::client_async(format!("ws://localhost/stream/{job}"), stream).await?;
        Ok(Self(stream))
    }

    /// The next message; none at the end.
    pub async fn next(&mut self) -> Outcome<Option<StreamMessage>> {
        while let Some(message) = tokio::time::timeout(ANSWER, self.0.next()).await? {
            match message? {
                Message::Text(text) => return Ok(Some(serde_json::from_str(&text)?)),
                Message::Close(_) => return Ok(None),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        Ok(None)
    }
}

/// Connects; where more wait than the socket holds, a little later.
async fn connect(socket: &Path) -> Outcome<UnixStream> {
    let mut looks = tokio::time::interval(LOOK);
    let connecting = async {
        loop {
            looks.tick().await;
            match UnixStream::connect(socket).await {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                connected => return connected,
            }
        }
    };
    let connected = tokio::time::timeout(ANSWER, connecting).await?;
    connected.map_err(|error| format!("no daemon at {}: {error}", socket.display()).into())
}
