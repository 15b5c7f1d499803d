//! Logs, from wherever they are: a run here, a copy brought home, or the peer that runs the job.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncBufReadExt as _;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use cobs::id::{JobId, NodeId, Token};
use cobs::job::state::Job;
use scheduler::runner::log::reader::{Chunk, LogEvent, LogReader};
use scheduler::runner::log::{FRAME_BYTES_MAX, Stream};

use super::error::{Code, Error};
use super::types::LogPiece;
use super::{Caller, Follow, Scope};
use crate::clock::rfc3339;
use crate::node::Node;
use crate::store::UnixMs;

/// Pieces on their way from a reader thread to a listener: each listener that takes nothing costs so many frames.
const PIECES_MAX: usize = 4;
/// How long a reader thread waits before it looks whether its listener is still there.
const LOOK: Duration = Duration::from_secs(2);
/// How long a follower waits for a job, or for its grant, that is not here yet.
const ARRIVAL_WAIT: Duration = Duration::from_secs(10);
/// Longest line of a peer's log stream: a frame of the log whose every byte is escaped, and what stands around it.
const LINE_BYTES_MAX: usize = FRAME_BYTES_MAX * ESCAPED_BYTES_MAX + (4 << 10);
/// Most bytes that one of a text takes in JSON: `\u0000`.
const ESCAPED_BYTES_MAX: usize = 6;

/// Pieces of a log in order.
pub type Pieces = BoxStream<'static, Result<LogPiece, Error>>;

impl Node {
    /// The log of a job's newest run, from a byte on.
    ///
    /// # Errors
    /// When there is no such job, it has not run, or its log cannot be had now.
    pub async fn logs(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        offset: u64,
        follow: Follow,
    ) -> Result<Pieces, Error> {
        caller.require(Scope::ReadJobs)?;
        if follow == Follow::Yes
            && let Ok(id) = id.parse()
        {
            arrived(self, id).await;
        }
        let mut changes = self.changes.subscribe();
        loop {
            let job = self.find(id)?;
            if let Some((token, granted)) = job.holder() {
                return of_run(self, job.id, token, granted.node, offset, follow).await;
            }
            if follow == Follow::No || job.settled.is_some() {
                return Err(Error::new(Code::NotFound, "the job has not run yet")
                    .hint(format!("see why with: rhizome job explain {id}")));
            }
            // a lagging listener only looks again
            changes.recv().await.ok();
        }
    }
}

/// A job, waited for a while when it is not here yet: who knows its id may be ahead of its replication.
pub async fn arrived(node: &Node, id: JobId) -> Option<Arc<Job>> {
    let mut changes = node.changes.subscribe();
    let arrival = async {
        loop {
            if let Some(job) = node.known_job(id) {
                return job;
            }
            changes.recv().await.ok();
        }
    };
    tokio::time::timeout(ARRIVAL_WAIT, arrival).await.ok()
}

/// The log of one run, from wherever it is.
///
/// # Errors
/// When it cannot be had now.
pub async fn of_run(
    node: &Arc<Node>,
    job: JobId,
    token: Token,
    holder: NodeId,
    from: u64,
    follow: Follow,
) -> Result<Pieces, Error> {
    if holder == node.id || crate::collect::log_copy(node, job, token).exists() {
        return local(node, job, token, from, follow).await;
    }
    remote(node, job, token, holder, from, follow).await
}

/// The log of a run of this node, or a copy of a log; with [`Follow::Yes`] a run that is yet to start is waited for.
///
/// # Errors
/// When there is none.
pub async fn local(node: &Arc<Node>, job: JobId, token: Token, from: u64, follow: Follow) -> Result<Pieces, Error> {
    let copy = crate::collect::log_copy(node, job, token);
    if copy.exists() {
        return from_copy(copy, from);
    }
    let mut changes = node.changes.subscribe();
    let arrival = tokio::time::sleep(ARRIVAL_WAIT);
    tokio::pin!(arrival);
    loop {
        let active = node.runs.get(job, token);
        let started = active.as_ref().is_some_and(|active| active.run.is_some() || active.finished.is_some());
        if started {
            let run = cobs::id::RunId { job, token, node: node.id };
            return from_run(node.runs.directory(run), from, follow);
        }
        let gone = || Error::new(Code::Gone, "the log of that run is not here");
        match expected(node, job, token) {
            Expected::Never => return Err(gone()),
            _ if follow == Follow::No => return Err(gone()),
            // a lagging listener only looks again
            Expected::Start => drop(changes.recv().await),
            Expected::Arrival => tokio::select! {
                _ = changes.recv() => {}
                () = &mut arrival => return Err(gone()),
            },
        }
    }
}

/// What stands between a run and its log.
enum Expected {
    /// It is granted to this node, which starts it soon.
    Start,
    /// The job or its grant is still on its way here: who submitted it may ask sooner.
    Arrival,
    /// It will not run here.
    Never,
}

fn expected(node: &Node, job: JobId, token: Token) -> Expected {
    let Some(job) = node.known_job(job) else { return Expected::Arrival };
    if job.settled.is_some() || job.dones.contains_key(&token) {
        return Expected::Never;
    }
    match job.holder() {
        Some((newest, granted)) if newest == token && granted.node == node.id => Expected::Start,
        Some((newest, _)) if newest >= token => Expected::Never,
        Some(_) | None => Expected::Arrival,
    }
}

fn from_run(directory: PathBuf, from: u64, follow: Follow) -> Result<Pieces, Error> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let read = move || {
        let lost = |error: scheduler::runner::log::reader::LogError| Err(Error::new(Code::Storage, error.to_string()));
        let mut reader = match LogReader::open(&directory, from) {
            Ok(reader) => reader,
            Err(error) => return drop(sender.blocking_send(lost(error))),
        };
        let wait = if follow == Follow::Yes { LOOK } else { Duration::ZERO };
        loop {
            match reader.next(wait) {
                Ok(LogEvent::Chunk(chunk)) => {
                    if sender.blocking_send(Ok(piece(chunk))).is_err() {
                        return;
                    }
                }
                Ok(LogEvent::Quiet) if follow == Follow::Yes && !sender.is_closed() => {}
                Ok(LogEvent::Quiet | LogEvent::End) => return,
                Err(error) => return drop(sender.blocking_send(lost(error))),
            }
        }
    };
    beside(read)?;
    Ok(tokio_stream(receiver))
}

/// A thread of its own for a reader: one that waits for a slow listener must not hold a thread that others need.
fn beside(read: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let started = std::thread::Builder::new().name("log".into()).spawn(read);
    let busy = |error| Error::new(Code::Busy, format!("no thread to read the log: {error}")).retry_after_ms(1_000);
    started.map(drop).map_err(busy)
}

fn from_copy(path: PathBuf, from: u64) -> Result<Pieces, Error> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    beside(move || {
        let lost = |error: std::io::Error| Err(Error::new(Code::Storage, format!("cannot read the log: {error}")));
        let file = match std::fs::File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) => return drop(sender.blocking_send(lost(error))),
        };
        for line in file.lines() {
            let piece = line.and_then(|line| Ok(serde_json::from_str::<LogPiece>(&line)?));
            let piece = match piece {
                Ok(piece) => trim(piece, from),
                Err(error) => return drop(sender.blocking_send(lost(error))),
            };
            if let Some(piece) = piece
                && sender.blocking_send(Ok(piece)).is_err()
            {
                return;
            }
        }
    })?;
    Ok(tokio_stream(receiver))
}

/// The part of a piece from a byte on; none when it lies before it.
fn trim(piece: LogPiece, from: u64) -> Option<LogPiece> {
    let bytes = crate::collect::bytes_of(&piece);
    let skip = usize::try_from(from.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
    if skip == 0 {
        return Some(piece);
    }
    let rest = bytes.get(skip..).filter(|rest| !rest.is_empty())?;
    Some(text_or_base64(LogPiece { offset: from, ..piece }, rest.to_vec()))
}

/// The log of a run on a peer.
///
/// # Errors
/// When the peer cannot be reached or does not have it.
pub async fn remote(
    node: &Arc<Node>,
    job: JobId,
    token: Token,
    holder: NodeId,
    from: u64,
    follow: Follow,
) -> Result<Pieces, Error> {
    let (epoch, term, follow) = (token.epoch.0, token.term.0, follow == Follow::Yes);
    let path = format!("/jobs/{job}/log?epoch={epoch}&term={term}&from={from}&follow={follow}");
    let response = crate::peering::ask(node, holder, &path).await?;
    let broken = |error: std::io::Error| Error::new(Code::PeerUnreachable, format!("the log broke off: {error}"));
    let body = response.into_body().into_data_stream().map_err(std::io::Error::other);
    let lines = StreamReader::new(body);
    let pieces = futures::stream::try_unfold((lines, Vec::new()), move |(mut lines, mut line)| async move {
        line.clear();
        let read = (&mut lines).take_line(&mut line).await.map_err(broken)?;
        if read == 0 {
            return Ok(None);
        }
        let piece: LogPiece = serde_json::from_slice(&line)
            .map_err(|error| Error::new(Code::PeerUnreachable, format!("the peer sent no log: {error}")))?;
        Ok(Some((piece, (lines, line))))
    });
    Ok(pieces.boxed())
}

/// Reads one line of bounded length.
trait TakeLine {
    async fn take_line(self, line: &mut Vec<u8>) -> std::io::Result<usize>;
}

impl<R: tokio::io::AsyncBufRead + Unpin> TakeLine for &mut R {
    async fn take_line(self, line: &mut Vec<u8>) -> std::io::Result<usize> {
        use tokio::io::AsyncReadExt as _;
        let read = self.take(LINE_BYTES_MAX as u64).read_until(b'\n', line).await?;
        if read == LINE_BYTES_MAX {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a line is too long"));
        }
        Ok(read)
    }
}

fn piece(chunk: Chunk) -> LogPiece {
    let stream = match chunk.stream {
        Stream::Out => "out",
        Stream::Err => "err",
        Stream::Note => "system",
    };
    let ts = rfc3339(UnixMs(chunk.time_ms));
    let blank = LogPiece { offset: chunk.offset, stream: stream.into(), ts, text: None, base64: None };
    text_or_base64(blank, chunk.bytes)
}

fn text_or_base64(mut piece: LogPiece, bytes: Vec<u8>) -> LogPiece {
    (piece.text, piece.base64) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(base64::engine::general_purpose::STANDARD.encode(error.as_bytes()))),
    };
    piece
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> BoxStream<'static, T> {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
        .boxed()
}
