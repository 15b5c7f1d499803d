//! Follows a job over the daemon's stream: its output where it belongs, its changes as status lines, and again after
//! the daemon was away.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cobs::id::JobId;
use futures::StreamExt;
use hyper::Method;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::client::{Client, problem};
use super::exit::Failure;
use super::output::plain;
use super::quantity::show_ms;
use crate::api::settings::HEARTBEAT_MS;
use crate::ops::error::{Code, Error};
use crate::ops::types::{CancelRequest, JobView, LogPiece, StreamKind, StreamMessage, StreamStatus};

/// A stream that is silent for this long is taken for broken, in milliseconds.
const SILENT_MS: u64 = 3 * HEARTBEAT_MS;
/// Shortest and longest wait before the daemon is tried again, in milliseconds.
const RETRY_MS: (u64, u64) = (50, 1000);
/// How long a daemon may be away before the follower gives up, in milliseconds.
const AWAY_MS: u64 = 120_000;

/// How the following ended.
#[derive(Debug)]
pub enum Ending {
    /// With the job.
    Result(Box<JobView>),
    /// The person left it.
    Left,
}

/// What is told besides the job's own output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Each change.
    Shown,
    /// Nothing.
    Quiet,
}

impl Status {
    /// Tells a person.
    pub fn line(self, text: &str) {
        if self == Self::Shown {
            eprintln!("rhizome: {}", plain(text));
        }
    }
}

/// Where the job's output goes.
pub struct Sink<O, E> {
    /// What it wrote to its standard output.
    pub out: O,
    /// What it wrote to its standard error.
    pub err: E,
    /// What is told besides.
    pub status: Status,
}

/// Follows a job to its end. The first Ctrl-C asks to cancel it, the second leaves it.
pub async fn follow<O, E>(client: &Client, id: JobId, sink: &mut Sink<O, E>) -> Result<Ending, Failure>
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let status = sink.status;
    tokio::select! {
        ended = pump(Stream::new(client.clone(), id, status), sink) => ended,
        () = interrupted(client, id, status) => Ok(Ending::Left),
    }
}

/// Ends at the second Ctrl-C.
async fn interrupted(client: &Client, id: JobId, status: Status) {
    let mut interrupts = match signal(SignalKind::interrupt()) {
        Ok(interrupts) => interrupts,
        // then Ctrl-C does what it does by itself
        Err(_) => return std::future::pending().await,
    };
    interrupts.recv().await;
    status.line("cancelling the job; press Ctrl-C again to leave it to itself");
    let ask = async {
        loop {
            let request = CancelRequest { reason: String::from("interrupted") };
            match client.send::<JobView>(Method::POST, &format!("/v1/jobs/{id}/cancel"), &request).await {
                Ok(_) => return,
                Err(failure) => status.line(&format!("cannot ask for the cancel yet: {failure}")),
            }
            sleep(Duration::from_millis(RETRY_MS.1)).await;
        }
    };
    tokio::select! {
        _ = interrupts.recv() => return,
        () = ask => {}
    }
    interrupts.recv().await;
}

async fn pump<O, E>(mut stream: Stream, sink: &mut Sink<O, E>) -> Result<Ending, Failure>
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    loop {
        let StreamMessage { kind, payload, .. } = stream.next().await?;
        let unread = |error: serde_json::Error| {
            Error::new(Code::Internal, format!("the daemon's message cannot be read: {error}"))
                .hint("the daemon and this command may be of different versions")
        };
        match kind {
            StreamKind::Heartbeat => {}
            StreamKind::Log => {
                let piece: LogPiece = serde_json::from_value(payload).map_err(unread)?;
                write(&piece, sink).await?;
            }
            StreamKind::Status => {
                let change: StreamStatus = serde_json::from_value(payload).map_err(unread)?;
                sink.status.line(&describe(&change));
            }
            StreamKind::Result => {
                let view: JobView = serde_json::from_value(payload).map_err(unread)?;
                return Ok(Ending::Result(Box::new(view)));
            }
            StreamKind::Error => {
                let error: Error = serde_json::from_value(payload).map_err(unread)?;
                return Err(error.into());
            }
        }
    }
}

/// Writes a piece of a log where it belongs, byte by byte as the job did.
pub async fn write<O, E>(piece: &LogPiece, sink: &mut Sink<O, E>) -> Result<(), Failure>
where
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let bytes = bytes(piece)?;
    match piece.stream.as_str() {
        "out" => put(&mut sink.out, &bytes).await,
        "err" => put(&mut sink.err, &bytes).await,
        _ => {
            sink.status.line(String::from_utf8_lossy(&bytes).trim_end());
            Ok(())
        }
    }
}

async fn put(out: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Failure> {
    out.write_all(bytes).await.map_err(Failure::Output)?;
    out.flush().await.map_err(Failure::Output)
}

/// What the job wrote.
pub(crate) fn bytes(piece: &LogPiece) -> Result<Vec<u8>, Failure> {
    match (&piece.text, &piece.base64) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(encoded)) => BASE64
            .decode(encoded)
            .map_err(|error| Error::new(Code::Internal, format!("a piece of the log is no base64: {error}")).into()),
        (None, None) => Ok(Vec::new()),
    }
}

fn describe(change: &StreamStatus) -> String {
    let mut line = change.status.clone();
    let node = change.alias.clone().or_else(|| change.node.map(|node| node.to_string()));
    if let Some(node) = node {
        line.push_str(&format!(" on {node}"));
    }
    if let Some(token) = change.token {
        line.push_str(&format!(" (token {token})"));
    }
    // what runs or has ended waits for nothing that a person could change
    if matches!(change.status.as_str(), "queued" | "granted") && !change.waits_for.is_empty() {
        line.push_str(&format!(": {}", change.waits_for));
    }
    line
}

/// The messages of one job, in order and each once, over as many connections as it takes.
pub(crate) struct Stream {
    client: Client,
    id: JobId,
    status: Status,
    since: Option<u64>,
    socket: Option<WebSocketStream<UnixStream>>,
    /// Since when the daemon is away.
    away: Option<Instant>,
    retry: Duration,
}

impl Stream {
    /// From the beginning.
    pub(crate) fn new(client: Client, id: JobId, status: Status) -> Self {
        Self { client, id, status, since: None, socket: None, away: None, retry: Duration::from_millis(RETRY_MS.0) }
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Result<StreamMessage, Failure> {
        loop {
            let Some(socket) = &mut self.socket else {
                self.connect().await?;
                continue;
            };
            match timeout(Duration::from_millis(SILENT_MS), socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => match serde_json::from_str::<StreamMessage>(&text) {
                    Ok(message) => {
                        self.since = message.payload.get("seq").and_then(serde_json::Value::as_u64).or(self.since);
                        self.heard();
                        return Ok(message);
                    }
                    Err(error) => {
                        return Err(Error::new(Code::Internal, format!("no message of a stream: {error}")).into());
                    }
                },
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_)))) => {}
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => self.lost(),
            }
        }
    }

    fn lost(&mut self) {
        self.socket = None;
        if self.away.is_none() {
            self.away = Some(Instant::now());
            self.status.line("the daemon is away; the job goes on, waiting for it");
        }
    }

    fn heard(&mut self) {
        self.retry = Duration::from_millis(RETRY_MS.0);
        if self.away.take().is_some() {
            self.status.line("the daemon is back");
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        if self.away.is_some() {
            sleep(self.retry).await;
            self.retry = (self.retry * 2).min(Duration::from_millis(RETRY_MS.1));
        }
        match self.open().await {
            Ok(socket) => self.socket = Some(socket),
            Err(failure) => match self.away {
                Some(since) if worth_waiting(&failure) && since.elapsed() < Duration::from_millis(AWAY_MS) => {}
                Some(_) | None => return Err(failure),
            },
        }
        Ok(())
    }

    async fn open(&self) -> Result<WebSocketStream<UnixStream>, Failure> {
        let stream = self.client.connect().await?;
        let since = self.since.map(|seq| format!("?since={seq}")).unwrap_or_default();
        let target = format!("ws://localhost/stream/{}{since}", self.id);
        match tokio_tungstenite::client_async(target, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                Err(problem(response.status(), &body))
            }
            Err(error) => Err(Error::new(Code::NoDaemon, format!("the daemon broke the stream: {error}")).into()),
        }
    }
}

/// Whether a daemon that says this may be up again soon.
fn worth_waiting(failure: &Failure) -> bool {
    matches!(failure.code(), Some(Code::NoDaemon | Code::Busy | Code::RateLimited))
}

/// The last line about a job.
pub fn ended(view: &JobView) -> String {
    let word = view.summary.outcome.map_or_else(|| String::from("ended"), |word| format!("{word:?}").to_lowercase());
    let span = view.state.result().map(|(_, report)| format!(" after {}", show_ms(report.duration_ms)));
    let reason = if view.reason.is_empty() { String::new() } else { format!(": {}", view.reason) };
    format!("{word}{}{reason}", span.unwrap_or_default())
}
