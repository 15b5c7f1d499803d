//! Opening a file of the engine without trusting it: every checksum is verified, and nothing is created on the way.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, StorageError};

use super::StoreError;

/// Most memory for cached pages of one file, in bytes; the engine's own default is 1 GiB.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Opens what is there and verifies it. An empty file is corrupt: files are put in place whole.
pub fn open(path: &Path) -> Result<Database, StoreError> {
    if !path.try_exists().map_err(|source| io_error(path, source))? {
        return Err(StoreError::Missing { path: path.into() });
    }
    // Debug builds of the engine assert where release builds report corruption.
    match catch_unwind(AssertUnwindSafe(|| builder().open(path))) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(open_error(path, error)),
        Err(_) => Err(StoreError::Corrupt { path: path.into(), reason: "the engine gave up reading it".into() }),
    }
}

/// Creates a file, lets `fill` write to it, and only then puts it in place.
pub fn create(path: &Path, fill: impl FnOnce(&Database) -> Result<(), StoreError>) -> Result<Database, StoreError> {
    if path.try_exists().map_err(|source| io_error(path, source))? {
        return Err(StoreError::Exists { path: path.into() });
    }
    let unfinished = beside(path, "new");
    let io = |source| io_error(&unfinished, source);
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(io)?;
    let database = builder().create(&unfinished).map_err(|error| open_error(&unfinished, error))?;
    fill(&database).map_err(|error| error.at(&unfinished))?;
    fs::rename(&unfinished, path).map_err(io)?;
    sync_directory(path).map_err(|source| io_error(path, source))?;
    Ok(database)
}

/// A database in memory, gone with its value.
pub fn in_memory() -> Database {
    builder()
        .create_with_backend(redb::backends::InMemoryBackend::new())
        .expect("a new database in memory has nothing that can fail")
}

/// `path` with `.suffix` appended to its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// The error for a refusal of the system; the engine reports a file that is none of its own as invalid data.
pub fn io_error(path: &Path, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            StoreError::Corrupt { path: path.into(), reason: source.to_string() }
        }
        _ => StoreError::Io { path: path.into(), source },
    }
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Busy { path: path.into() }
        }
        DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_) => {
            StoreError::Corrupt { path: path.into(), reason: error.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => io_error(path, source),
        other => StoreError::from(other).at(path),
    }
}

/// Puts the names in the directory of `path` on disk.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory)?.sync_all()
}
