//! The log of a run: one file of frames, each a piece of output with its stream, time and place.
//!
//! A frame is a 24-byte little-endian header (stream, three zero bytes, `u32` length, `u64` offset, `u64` milliseconds
//! since 1970) and its payload. The offset is that of the payload in the concatenation of all payloads, which is
//! what the digest covers. Written by the supervisor alone; read by [`reader::LogReader`] while it grows.

pub mod reader;

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;

use cobs::digest::{Blob, Digest};
use cobs::job::spec::Limit;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::clock;

/// The log's file in the run directory.
pub const LOG_FILE: &str = "log";
/// Most bytes of the end of a log that are kept with the outcome.
pub const TAIL_BYTES_MAX: usize = 4096;
/// Most bytes in one frame.
pub const FRAME_BYTES_MAX: usize = 64 << 10;

const HEADER_BYTES: usize = 24;

/// Where a piece of the log came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    /// The job's standard output.
    Out,
    /// The job's standard error.
    Err,
    /// The supervisor's own words.
    Note,
}

/// What a finished log is known by.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogEnd {
    /// Digest and size of all payloads.
    pub blob: Blob,
    /// The end of it as text, at most [`TAIL_BYTES_MAX`] bytes.
    pub tail: String,
}

/// What became of a piece of output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    All,
    /// The cap was passed: the rest was dropped.
    UpToCap,
}

/// The one writer of a log.
#[derive(Debug)]
pub(super) struct LogWriter {
    file: File,
    /// Bytes of the file that are whole frames.
    file_bytes: u64,
    offset: u64,
    digest: Sha256,
    tail: Vec<u8>,
    cap: Limit,
    dropped_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    stream: Stream,
    len: u32,
    offset: u64,
    time_ms: u64,
}

impl LogWriter {
    pub fn create(run_dir: &Path, cap: Limit) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(run_dir.join(LOG_FILE))?;
        let digest = Sha256::new();
        Ok(Self { file, file_bytes: 0, offset: 0, digest, tail: Vec::new(), cap, dropped_bytes: 0 })
    }

    /// Appends what fits below the cap. After an error the file ends with its last whole frame.
    pub fn append(&mut self, stream: Stream, payload: &[u8]) -> io::Result<Kept> {
        let room = usize::try_from(self.cap.value.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let kept = &payload[..payload.len().min(room)];
        for piece in kept.chunks(FRAME_BYTES_MAX) {
            self.write_frame(stream, piece)?;
        }
        let dropped = payload.len() - kept.len();
        self.dropped_bytes += dropped as u64;
        Ok(if dropped == 0 { Kept::All } else { Kept::UpToCap })
    }

    /// Adds a line of the supervisor's own, beyond any cap.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        self.write_frame(Stream::Note, format!("{text}\n").as_bytes())
    }

    /// Tells what was dropped, makes the log durable and sums it up.
    pub fn finish(&mut self) -> io::Result<LogEnd> {
        if self.dropped_bytes > 0 {
            let text = format!("{} bytes dropped: the log limit is {} bytes", self.dropped_bytes, self.cap.value);
            self.note(&text)?;
            self.dropped_bytes = 0;
        }
        self.file.sync_all()?;
        Ok(self.end())
    }

    /// The sum of what was written so far, durable or not.
    pub fn end(&self) -> LogEnd {
        let digest = Digest(self.digest.clone().finalize().into());
        LogEnd { blob: Blob { digest, size: self.offset }, tail: tail_text(&self.tail) }
    }

    /// The last of what was written, for a reason.
    pub fn last_line(&self) -> String {
        let tail = tail_text(&self.tail);
        tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }

    fn write_frame(&mut self, stream: Stream, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len()).expect("a frame is at most 64 KiB");
        let header = Header { stream, len, offset: self.offset, time_ms: clock::wall_ms() }.encode();
        if let Err(error) = write_all(&mut self.file, &header, payload) {
            // A torn frame would hide what comes after it; shrinking needs no room.
            let _ = self.file.set_len(self.file_bytes);
            let _ = io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.file_bytes));
            return Err(error);
        }
        self.file_bytes += (HEADER_BYTES + payload.len()) as u64;
        self.offset += payload.len() as u64;
        self.digest.update(payload);
        self.tail.extend_from_slice(payload);
        if self.tail.len() > 2 * FRAME_BYTES_MAX {
            self.tail.drain(..self.tail.len() - TAIL_BYTES_MAX);
        }
        Ok(())
    }
}

/// One system call for a whole frame, so that a reader hardly ever meets half of one.
fn write_all(file: &mut File, header: &[u8], payload: &[u8]) -> io::Result<()> {
    let written = file.write_vectored(&[IoSlice::new(header), IoSlice::new(payload)])?;
    if written < header.len() {
        file.write_all(&header[written..])?;
    }
    file.write_all(&payload[written.saturating_sub(header.len())..])
}

/// The last bytes as text; what is no UTF-8 is replaced, which may make it longer, so it is cut afterwards.
fn tail_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..]);
    let mut start = text.len().saturating_sub(TAIL_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = match self.stream {
            Stream::Out => 1,
            Stream::Err => 2,
            Stream::Note => 3,
        };
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let stream = match bytes[0] {
            1 => Stream::Out,
            2 => Stream::Err,
            3 => Stream::Note,
            _ => return None,
        };
        let len = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
        let offset = u64::from_le_bytes(bytes[8..16].try_into().ok()?);
        let time_ms = u64::from_le_bytes(bytes[16..24].try_into().ok()?);
        (usize::try_from(len).ok()? <= FRAME_BYTES_MAX).then_some(Self { stream, len, offset, time_ms })
    }
}

#[cfg(test)]
mod tests;
