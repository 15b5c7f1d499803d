//! The advisory lock by which a second daemon on one home is refused.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::WriterError;

/// The lock file in the home; it holds the process id of the daemon.
pub const LOCK_FILE: &str = "rhizome.lock";

/// Held as long as it lives; the kernel frees it with the process.
pub(super) struct HomeLock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl HomeLock {
    pub fn take(home: &Path) -> Result<Self, WriterError> {
        let path = home.join(LOCK_FILE);
        let io = |doing, source| WriterError::Io { doing, path: path.display().to_string(), source };
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|source| io("open", source))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // a pid that cannot be read is left out of the message
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(WriterError::Locked { home: home.display().to_string(), pid });
            }
            Err(errno) => return Err(io("lock", errno.into())),
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(|source| io("write", source))?;
        Ok(Self(file))
    }
}
