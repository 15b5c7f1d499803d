//! Files written as a whole or not at all, and never over what somebody else has just written.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, fchmod, fsync, mkdirat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::{FILE_BYTES_MAX, FileError, Root};
use crate::ingest::read::digest;
use crate::path::VaultPath;

/// Why a file is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is another than whoever writes it has seen.
    #[error("the file has changed since it was read")]
    Changed {
        /// What it has now; none where it is gone.
        bytes: Option<Vec<u8>>,
    },
    /// There is a file already.
    #[error("there is a file {0} already")]
    Taken(VaultPath),
    /// What was there could not be put back.
    #[error("the file as it was is beside it, as {kept}: it could not be put back: {source}")]
    Aside {
        /// Its name now.
        kept: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is a link.
    #[error("{0} is a link; name the file that it leads to")]
    Link(VaultPath),
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<Errno> for WriteError {
    fn from(errno: Errno) -> Self {
        Self::File(errno.into())
    }
}

/// Tells the files of one process apart that are written at once.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

impl Root {
    /// Writes a file over the one whose digest is `seen`; durable when it returns.
    ///
    /// # Errors
    /// When the file is another, is a link, or the system says no; then it is as it was.
    pub fn write(&self, path: &VaultPath, seen: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let folder = match self.opened_folder(path.folder()) {
            Err(Errno::NOENT) => return Err(WriteError::Changed { bytes: None }),
            opened => opened?,
        };
        let name = path.name();
        let mode = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                return Err(WriteError::Link(path.clone()));
            }
            Ok(stat) => Mode::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Err(WriteError::Changed { bytes: None }),
            Err(errno) => return Err(errno.into()),
        };
        Beside::write(&folder, name, mode, bytes)?.replace(name, seen)
    }

    /// Gives a file another name, where no file has it. The folders above it are made.
    ///
    /// # Errors
    /// When there is a file of that name, none of this, or the system says no.
    pub fn rename(&self, from: &VaultPath, to: &VaultPath) -> Result<(), WriteError> {
        let (from_folder, to_folder) = (self.folder_made(from.folder())?, self.folder_made(to.folder())?);
        renameat_with(&from_folder, from.name(), &to_folder, to.name(), RenameFlags::NOREPLACE).map_err(|errno| {
            match errno {
                Errno::EXIST => WriteError::Taken(to.clone()),
                Errno::NOENT => WriteError::Changed { bytes: None },
                errno => errno.into(),
            }
        })?;
        fsync(&to_folder)?;
        fsync(&from_folder)?;
        Ok(())
    }

    fn opened_folder(&self, folder: &str) -> Result<OwnedFd, Errno> {
        let name = if folder.is_empty() { "." } else { folder };
        self.beneath(name, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn folder_made(&self, folder: &str) -> Result<OwnedFd, WriteError> {
        match self.opened_folder(folder) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        let ends = folder.match_indices('/').map(|(at, _)| at).chain([folder.len()]);
        for end in ends {
            let (above, name) = folder[..end].rsplit_once('/').unwrap_or(("", &folder[..end]));
            match mkdirat(self.opened_folder(above)?, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(self.opened_folder(folder)?)
    }
}

/// A file that is yet to take its place; removed when it does not.
struct Beside<'a> {
    folder: &'a OwnedFd,
    name: String,
}

impl<'a> Beside<'a> {
    fn write(folder: &'a OwnedFd, name: &str, mode: Mode, bytes: &[u8]) -> Result<Self, WriteError> {
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        // hidden from Obsidian and from the index; short, since a name has 255 bytes
        let stem = &name[..name.floor_char_boundary(100)];
        let beside = Self { folder, name: format!(".{stem}.rhizome-{}-{number}", std::process::id()) };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let descriptor = openat(folder, &*beside.name, flags, mode)?;
        // whatever the mask of the process
        fchmod(&descriptor, mode)?;
        let mut file = File::from(descriptor);
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(FileError::Io)?;
        Ok(beside)
    }

    /// Changes places with a file, and back where that was not the one that was seen: so whatever another program wrote at
    /// the last moment is there again.
    fn replace(self, name: &str, seen: &str) -> Result<(), WriteError> {
        let exchange = || renameat_with(self.folder, &*self.name, self.folder, name, RenameFlags::EXCHANGE);
        match exchange() {
            Ok(()) => {
                let before = read(self.folder, &self.name);
                if !before.as_ref().is_ok_and(|bytes| digest(bytes) == seen) {
                    if let Err(errno) = exchange() {
                        // what was there before is not removed with this
                        let kept = self.name.clone();
                        std::mem::forget(self);
                        return Err(WriteError::Aside { kept, source: errno.into() });
                    }
                    return Err(before.map_or_else(|error| error, |bytes| WriteError::Changed { bytes: Some(bytes) }));
                }
            }
            Err(Errno::NOENT) => return Err(WriteError::Changed { bytes: None }),
            // not every file system can; then the moment between looking and renaming is left
            Err(Errno::INVAL | Errno::NOSYS) => {
                let bytes = read(self.folder, name)?;
                if digest(&bytes) != seen {
                    return Err(WriteError::Changed { bytes: Some(bytes) });
                }
                rustix::fs::renameat(self.folder, &*self.name, self.folder, name)?;
            }
            Err(errno) => return Err(errno.into()),
        }
        fsync(self.folder)?;
        Ok(())
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // it is not there any more when it has taken its place
        unlinkat(self.folder, &*self.name, AtFlags::empty()).ok();
    }
}

fn read(folder: &OwnedFd, name: &str) -> Result<Vec<u8>, WriteError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let descriptor = openat(folder.as_fd(), name, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(descriptor).take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(FileError::Io)?;
    Ok(bytes)
}
