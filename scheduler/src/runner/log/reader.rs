//! Reading a log from any offset, and following it while it grows.
//!
//! Follows by blocking on the supervisor's socket, which gets one byte per append and closes at the end; nothing is
//! polled, and a reader that nobody writes for costs nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::super::finished::Finished;
use super::super::talk::{self, Answer, Ask};
use super::{HEADER_BYTES, Header, LOG_FILE, Stream};

/// A piece of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Where it came from.
    pub stream: Stream,
    /// Its place in the whole log, in bytes.
    pub offset: u64,
    /// When the supervisor read it, in milliseconds since 1970.
    pub time_ms: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What came next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// More of the log.
    Chunk(Chunk),
    /// Nothing within the time given; ask again.
    Quiet,
    /// The run has ended and all was read.
    End,
}

/// The log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It is not there, or the disk fails.
    #[error("cannot read the log")]
    Io(#[from] io::Error),
    /// The supervisor takes no more followers.
    #[error("the log cannot be followed now: {0}")]
    Refused(String),
    /// Something else wrote into it.
    #[error("the log is corrupt at byte {0} of its file")]
    Corrupt(u64),
}

/// Reads one log from an offset to its end. Several may read one log.
#[derive(Debug)]
pub struct LogReader {
    /// None if the run ended before it had a log.
    file: Option<File>,
    /// Of the next header in the file.
    at: u64,
    /// In the log: what lies before it is not wanted.
    from: u64,
    /// One byte per append; none once the run has ended.
    nudges: Option<UnixStream>,
}

impl LogReader {
    /// Opens the log in `run_dir` at byte `from` of the log.
    pub fn open(run_dir: &Path, from: u64) -> Result<Self, LogError> {
        // Asked first and read second: an append in between leaves a byte on the socket and is not missed.
        let nudges = match talk::ask(run_dir, &Ask::Follow)? {
            Some((Answer::Following, stream)) => Some(stream),
            Some((Answer::Refused { why }, _)) => return Err(LogError::Refused(why)),
            Some(_) | None => None,
        };
        let file = match File::open(run_dir.join(LOG_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && Finished::read(run_dir)?.is_some() => None,
            opened => Some(opened?),
        };
        Ok(Self { file, at: 0, from, nudges })
    }

    /// The next piece, waiting for it at most `wait`.
    pub fn next(&mut self, wait: Duration) -> Result<LogEvent, LogError> {
        loop {
            if let Some(chunk) = self.read_chunk()? {
                return Ok(LogEvent::Chunk(chunk));
            }
            let Some(nudges) = &mut self.nudges else { return Ok(LogEvent::End) };
            if wait.is_zero() {
                return Ok(LogEvent::Quiet);
            }
            nudges.set_read_timeout(Some(wait))?;
            match nudges.read(&mut [0; 512]) {
                // Closed: one last look, since what was written before the end is in the file by now.
                Ok(0) => self.nudges = None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(LogEvent::Quiet);
                }
                Err(_) => self.nudges = None,
            }
        }
    }

    fn read_chunk(&mut self) -> Result<Option<Chunk>, LogError> {
        let Some(file) = &self.file else { return Ok(None) };
        loop {
            let Some(header) = read_header(file, self.at)? else { return Ok(None) };
            let payload_at = self.at + HEADER_BYTES as u64;
            let end = header.offset + u64::from(header.len);
            if end <= self.from {
                self.at = payload_at + u64::from(header.len);
                continue;
            }
            let skip = self.from.saturating_sub(header.offset);
            let wanted = usize::try_from(u64::from(header.len) - skip).expect("a frame is at most 64 KiB");
            let mut bytes = vec![0; wanted];
            if !read_whole(file, &mut bytes, payload_at + skip)? {
                return Ok(None);
            }
            self.at = payload_at + u64::from(header.len);
            self.from = end;
            let Header { stream, offset, time_ms, .. } = header;
            return Ok(Some(Chunk { stream, offset: offset + skip, time_ms, bytes }));
        }
    }
}

fn read_header(file: &File, at: u64) -> Result<Option<Header>, LogError> {
    let mut bytes = [0; HEADER_BYTES];
    if !read_whole(file, &mut bytes, at)? {
        return Ok(None);
    }
    Header::decode(&bytes).map(Some).ok_or(LogError::Corrupt(at))
}

/// Whether the file held all of `bytes` at `at`; a frame that is still being written does not.
fn read_whole(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
