//! What the daemon and a run's supervisor say to each other: JSON lines on a unix socket in the run directory.
//!
//! One question per connection, one answer; [`Ask::Wait`] and [`Ask::Follow`] keep the connection open, so that
//! waiting is a blocked read and costs nothing on either side.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::clock::{BootMs, BootNs};
use super::finished::Finished;
use super::request::Deadline;

/// The socket's name in the run directory.
pub(super) const SOCKET_FILE: &str = "control";
/// Longest question or answer, in bytes.
pub(super) const LINE_BYTES_MAX: u64 = 64 << 10;
/// How long a supervisor may take to answer.
pub const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What is asked of a supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Ask {
    /// Let it run until `to`, at least.
    Extend { to: BootMs },
    /// End it: politely now, by force after `grace_ms`.
    Stop { reason: StopReason, grace_ms: u64 },
    /// How it stands.
    Status,
    /// Answer when it has ended.
    Wait,
    /// Send a byte whenever the log grows; close when it has ended.
    Follow,
}

/// Why a run is stopped, which is also what its outcome will say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    /// A cancel: ends as `Cancelled`.
    Cancelled,
    /// The node gives it back: ends as `Released`.
    Released,
    /// The node may not run it any more, since a higher token or another arbiter took over: ends as `Lost`.
    Fenced,
}

/// What a supervisor answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Answer {
    /// It may run until then.
    Extended { deadline: BootMs },
    /// It may not, and why.
    Refused { why: String },
    /// The end has begun, by this or by an earlier cause.
    Stopping,
    /// How it stands.
    Status(Status),
    /// Bytes follow, one per append.
    Following,
    /// It has ended.
    Ended(Box<Finished>),
}

/// How a run stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// How far it is.
    pub phase: Phase,
    /// Until when it may run.
    pub deadline: Deadline,
    /// When the command's first instruction ran.
    pub first_instruction: Option<BootNs>,
    /// Why it is being ended, if it is.
    pub ending: Option<String>,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The sandbox is being made and filled.
    Preparing,
    /// The command runs.
    Running,
    /// Nothing of the job runs any more; its artifacts are being stored.
    Collecting,
}

/// Listens in `run_dir`.
pub(super) fn listen(run_dir: &Path) -> io::Result<UnixListener> {
    let (_dir, path) = short_path(run_dir)?;
    UnixListener::bind(path)
}

/// Asks and waits for one answer; none if no supervisor listens in `run_dir`.
pub(super) fn ask(run_dir: &Path, question: &Ask) -> io::Result<Option<(Answer, UnixStream)>> {
    let Some(mut stream) = connect(run_dir)? else { return Ok(None) };
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    if write_line(&mut stream, question).is_err() {
        return Ok(None);
    }
    Ok(read_answer(&stream)?.map(|answer| (answer, stream)))
}

/// Asks and leaves the answer for later.
pub(super) fn ask_later(run_dir: &Path, question: &Ask) -> io::Result<Option<UnixStream>> {
    let Some(mut stream) = connect(run_dir)? else { return Ok(None) };
    Ok(write_line(&mut stream, question).is_ok().then_some(stream))
}

/// Reads one answer; none if the supervisor is gone.
///
/// Byte by byte, because what follows the answer belongs to the caller and an answer is short.
pub(super) fn read_answer(mut stream: &UnixStream) -> io::Result<Option<Answer>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the supervisor's answer is too long"));
        }
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

/// Reads one question.
pub(super) fn read_ask(stream: &UnixStream) -> io::Result<Ask> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Writes one line.
pub(super) fn write_line(stream: &mut UnixStream, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn connect(run_dir: &Path) -> io::Result<Option<UnixStream>> {
    let (_dir, path) = match short_path(run_dir) {
        Ok(short) => short,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A socket's path may have 107 bytes and a run directory's more, so it is named by an open directory.
fn short_path(run_dir: &Path) -> io::Result<(File, PathBuf)> {
    let dir = rustix::fs::open(run_dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET_FILE}", dir.as_raw_fd()));
    Ok((File::from(dir), path))
}
