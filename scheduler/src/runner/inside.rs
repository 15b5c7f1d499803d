//! What crosses the wall of the sandbox: frames between the supervisor and its first process inside.
//!
//! Each frame is a `u32` little-endian length and JSON; an [`Event::Artifact`] is followed by its bytes. The
//! supervisor takes what comes from inside as hostile: every length is bounded before it is believed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock::BootNs;

/// The descriptor on which the first process finds its control socket. Its standard input is the work tree. High, so
/// that nothing the supervisor has open is in its place.
pub(super) const CONTROL_FD: i32 = 200;
/// Longest event from inside, in bytes.
pub(super) const EVENT_BYTES_MAX: u32 = 16 << 10;
/// Longest plan for the inside, in bytes.
pub(super) const PLAN_BYTES_MAX: u32 = 4 << 20;
/// Sent to the inside after the plan: end politely.
pub(super) const TERMINATE: u8 = b'T';

/// What the first process is to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Relative to the work tree.
    pub working_directory: Option<String>,
    /// What is sent back afterwards.
    pub artifacts: Vec<String>,
    /// Most processes; none where a control group counts them.
    pub processes_max: Option<u64>,
    /// Most memory of one process; none where a control group counts it.
    pub data_bytes_max: Option<u64>,
}

/// What the first process tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Event {
    /// The command's first instruction has run.
    Started { at: BootNs },
    /// It never will.
    CouldNotStart { why: String },
    /// The command exited, and nothing else of the job is alive.
    Exited { code: u8, at: BootNs },
    /// A signal ended the command, and nothing else of the job is alive.
    Signalled { signal: u8, at: BootNs },
    /// A file that matched; `size` bytes follow.
    Artifact { path: String, size: u64, executable: bool },
    /// A file that matched and could not be read.
    Unreadable { path: String, why: String },
    /// Every artifact was sent.
    Done,
}

pub(super) fn write_frame(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let len = u32::try_from(json.len()).map_err(|_| io::Error::other("a frame is too long"))?;
    let mut frame = len.to_le_bytes().to_vec();
    frame.extend(json);
    to.write_all(&frame)
}

/// The next frame; none at the end of the stream.
pub(super) fn read_frame<T: DeserializeOwned>(from: &mut impl Read, bytes_max: u32) -> io::Result<Option<T>> {
    let mut len = [0; 4];
    match from.read_exact(&mut len) {
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        read => read?,
    }
    let len = u32::from_le_bytes(len);
    if len > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {len} bytes is too long")));
    }
    let mut json = vec![0; usize::try_from(len).expect("32 bits fit")];
    from.read_exact(&mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}
