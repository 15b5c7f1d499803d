//! Files that can be made again: one that is damaged is put aside, and the next begins from nothing.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Why the file did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// What is there is not what was written.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The system refuses, or another process has it.
    #[error(transparent)]
    Engine(Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(why) => Self::Damaged(why),
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted) => Self::Damaged(error.to_string()),
            redb::Error::Io(error)
                if matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(error.to_string())
            }
            other => Self::Engine(Box::new(other)),
        }
    }
}

/// Does something with the engine, which may panic where it meets pages that it has not written.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Fault::Damaged("the engine gave up reading it".into())))
}

/// Where a damaged file is put; an older one of that name is lost.
pub fn aside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".aside");
    name.into()
}

/// Opens a file, or begins it; one that is damaged is put aside first, and told.
///
/// # Errors
/// When the system refuses, or another process has it: then the file is as it was.
pub fn open<T>(file: &Path, open: impl Fn(&Path) -> Result<T, Fault>) -> Result<T, Fault> {
    match guarded(|| open(file)) {
        Err(Fault::Damaged(why)) => {
            let aside = aside(file);
            tracing::warn!(why, aside = %aside.display(), "a damaged file is put aside and begun anew");
            fs::rename(file, &aside).map_err(redb::StorageError::Io)?;
            guarded(|| open(file))
        }
        opened => opened,
    }
}
