//! The control socket of a `radicle-node` that somebody else runs, asked with limits.
//!
//! Radicle's own client is not used: it connects and writes without a limit, drops the beginning of a line in whose midst
//! it timed out, and takes a refusal for a success where the answer has no content.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use radicle::node::Command;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::lock;

/// How long the answer to a command may take; a loaded node needs milliseconds.
const ANSWER_MS: u64 = 5_000;
/// How long a node that let a command wait in vain is not asked again: nothing of ours shall wait for each of its
/// commands.
const SILENCE_MS: u64 = 10_000;
/// The longest answer that is read. A fetch tells of every reference, 200 bytes each.
const LINE_BYTES_MAX: usize = 64 << 20;
/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// The socket. Clones know together whether it answers.
#[derive(Clone, Debug)]
pub(super) struct Control {
    socket: PathBuf,
    /// Until when it is not asked.
    silent: Arc<Mutex<Option<Instant>>>,
}

/// Why a command has no good answer.
#[derive(Debug, Error)]
pub(super) enum ControlError {
    /// Nobody listens, or the connection broke.
    #[error("its control socket fails")]
    Socket(#[from] io::Error),
    /// No answer in time.
    #[error("it did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Not asked, since it did not answer a moment ago.
    #[error("it did not answer the last command")]
    Silent,
    /// The connection was closed without an answer.
    #[error("it ended the connection")]
    Closed,
    /// It said no.
    #[error("it says: {0}")]
    Refused(String),
    /// Not what we know.
    #[error("its answer is not understood")]
    Garbled(#[source] serde_json::Error),
    /// More than we read.
    #[error("its answer is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// How the node says no.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    error: String,
}

/// The content of an answer that says nothing but yes.
#[derive(Deserialize)]
pub(super) struct Done {}

impl Control {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, silent: Arc::default() }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether it let the last command wait in vain.
    pub(super) fn is_silent(&self) -> bool {
        lock(&self.silent).is_some()
    }

    /// Gives a command that a node answers at once.
    pub(super) fn ask<T: DeserializeOwned>(&self, command: &Command) -> Result<T, ControlError> {
        let answer = self.wait_for(command, Duration::from_millis(ANSWER_MS));
        match answer {
            Err(ControlError::Silent) => {}
            Err(ControlError::TimedOut(_)) => {
                *lock(&self.silent) = Some(Instant::now() + Duration::from_millis(SILENCE_MS));
            }
            _ => *lock(&self.silent) = None,
        }
        answer
    }

    /// Gives a command whose answer waits for others; that it takes long says nothing of the node.
    pub(super) fn wait_for<T: DeserializeOwned>(
        &self,
        command: &Command,
        patience: Duration,
    ) -> Result<T, ControlError> {
        let now = Instant::now();
        if lock(&self.silent).is_some_and(|until| now < until) {
            return Err(ControlError::Silent);
        }
        self.open(command, patience)?.next(patience)?.ok_or(ControlError::Closed)
    }

    /// Gives a command that is answered line by line.
    pub(super) fn open(&self, command: &Command, patience: Duration) -> Result<Lines, ControlError> {
        let late = |error: io::Error| if is_late(&error) { ControlError::TimedOut(patience) } else { error.into() };
        let mut stream = connect(&self.socket, patience).map_err(late)?;
        command.to_writer(&mut stream).map_err(late)?;
        Ok(Lines { stream, unread: Vec::new(), searched: 0 })
    }
}

/// The lines of an answer.
pub(super) struct Lines {
    stream: UnixStream,
    unread: Vec<u8>,
    /// How many bytes of it hold no end of a line.
    searched: usize,
}

impl Lines {
    /// The next line, or none once the node has closed the connection. What was read before a timeout is kept.
    pub(super) fn next<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<Option<T>, ControlError> {
        let deadline = Instant::now() + patience;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if let Some(end) = self.unread[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=self.searched + end).collect();
                self.searched = 0;
                return parse(&line).map(Some);
            }
            self.searched = self.unread.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(ControlError::TooLong);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ControlError::TimedOut(patience));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut chunk) {
                // the answer to a fetch has no end of line
                Ok(0) if self.unread.is_empty() => return Ok(None),
                Ok(0) => return parse(&std::mem::take(&mut self.unread)).map(Some),
                Ok(read) => self.unread.extend_from_slice(&chunk[..read]),
                Err(error) if is_late(&error) => return Err(ControlError::TimedOut(patience)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, ControlError> {
    // a list of one text would pass for it too
    if line.starts_with(b"{")
        && let Ok(Refusal { error }) = serde_json::from_slice(line)
    {
        return Err(ControlError::Refused(error));
    }
    serde_json::from_slice(line).map_err(ControlError::Garbled)
}

/// A node that accepts nobody any more lets connections wait too, once its queue is full.
fn connect(socket: &Path, patience: Duration) -> io::Result<UnixStream> {
    let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&stream, sockopt::Timeout::Send, Some(patience))?;
    rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)?;
    Ok(stream.into())
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
