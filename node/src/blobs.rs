//! Content by digest that stays outside the ledger: inputs, and copies of logs and artifacts of this node's jobs.
//!
//! A blob is there whole or not at all: it is written beside its place, synced, checked and renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use cobs::digest::{Blob, Digest};

/// Most bytes of one blob.
pub const BLOB_BYTES_MAX: u64 = 4 << 30;
/// How long an unfinished upload is kept.
const UNFINISHED_KEEP: Duration = Duration::from_secs(24 * 3600);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A directory of blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: PathBuf,
    /// Held while it is decided whether a blob goes or stays.
    deciding: Arc<Mutex<()>>,
}

/// A blob that is being written; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    file: File,
    temporary: PathBuf,
    directory: PathBuf,
    hash: Sha256,
    size: u64,
    finished: bool,
}

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Over [`BLOB_BYTES_MAX`].
    #[error("the blob is over its limit of {BLOB_BYTES_MAX} bytes")]
    TooLarge,
    /// Its content is not what its digest says.
    #[error("the blob has digest {found}, expected {expected}")]
    WrongDigest {
        /// Asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// Storage failed.
    #[error("cannot store the blob")]
    Io(#[from] io::Error),
}

impl Blobs {
    /// Opens the directory, making it if need be, and removes what was left unfinished long ago.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory.join("sha256"))?;
        fs::create_dir_all(directory.join("tmp"))?;
        fs::create_dir_all(directory.join("own"))?;
        for entry in fs::read_dir(directory.join("tmp"))? {
            let entry = entry?;
            let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
            if age > UNFINISHED_KEEP {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { directory: directory.to_owned(), deciding: Arc::default() })
    }

    /// Keeps a blob for good, here already or to come, since it is of this node's own jobs. Whether it is here.
    ///
    /// # Errors
    /// When storage fails; it may go then.
    pub fn own(&self, digest: Digest) -> io::Result<bool> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.mark(digest).exists() {
            File::create(self.mark(digest))?;
            File::open(self.directory.join("own"))?.sync_all()?;
        }
        Ok(self.has(digest))
    }

    /// Removes a blob that came here for another node's job, unless this node's own jobs have it too.
    ///
    /// # Errors
    /// When storage fails.
    pub fn give_back(&self, digest: Digest) -> io::Result<()> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mark(digest).exists() { Ok(()) } else { fs::remove_file(self.path(digest)) }
    }

    fn mark(&self, digest: Digest) -> PathBuf {
        self.directory.join("own").join(digest.to_string())
    }

    /// Where the blob is, or would be.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join("sha256").join(digest.to_string())
    }

    /// Whether it is here.
    pub fn has(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Begins a blob.
    ///
    /// # Errors
    /// When storage fails.
    pub fn writer(&self) -> Result<BlobWriter, BlobError> {
        let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let temporary = self.directory.join("tmp").join(name);
        let file = File::create(&temporary)?;
        let directory = self.directory.join("sha256");
        Ok(BlobWriter { file, temporary, directory, hash: Sha256::new(), size: 0, finished: false })
    }

    /// Stores bytes that are in memory.
    ///
    /// # Errors
    /// When storage fails.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let mut writer = self.writer()?;
        writer.write(bytes)?;
        writer.finish(None)
    }

    /// Reads a small blob whole.
    ///
    /// # Errors
    /// When it is not here, or over `most` bytes.
    pub fn read(&self, digest: Digest, most: u64) -> io::Result<Vec<u8>> {
        let path = self.path(digest);
        if fs::metadata(&path)?.len() > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the blob is larger than expected"));
        }
        fs::read(path)
    }
}

impl BlobWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// When storage fails or the limit is passed.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.size += bytes.len() as u64;
        if self.size > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge);
        }
        self.hash.update(bytes);
        self.file.write_all(bytes)?;
        Ok(())
    }

    /// Makes the blob durable under its digest, which must be the expected one, if any.
    ///
    /// # Errors
    /// When storage fails or the digest is another.
    pub fn finish(mut self, expected: Option<Digest>) -> Result<Blob, BlobError> {
        let found = Digest(self.hash.clone().finalize().into());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(BlobError::WrongDigest { expected, found });
        }
        self.file.sync_all()?;
        fs::rename(&self.temporary, self.directory.join(found.to_string()))?;
        File::open(&self.directory)?.sync_all()?;
        self.finished = true;
        Ok(Blob { digest: found, size: self.size })
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.finished {
            // an unfinished blob that cannot be removed now is removed at a later start
            fs::remove_file(&self.temporary).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_there_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path()).unwrap();
        let blob = blobs.put(b"hello").unwrap();
        assert_eq!(blobs.read(blob.digest, 100).unwrap(), b"hello");
        let mut other = blobs.writer().unwrap();
        other.write(b"world").unwrap();
        let wrong = other.finish(Some(blob.digest));
        assert!(matches!(wrong, Err(BlobError::WrongDigest { .. })), "{wrong:?}");
        let mut dropped = blobs.writer().unwrap();
        dropped.write(b"gone").unwrap();
        drop(dropped);
        assert_eq!(fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(directory.path().join("sha256")).unwrap().count(), 1);
    }

    #[test]
    fn what_came_for_others_goes_and_what_is_ours_too_stays() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path()).unwrap();
        let [others, ours] = [b"others", b"ours 1"].map(|text| blobs.put(text).unwrap().digest);
        // kept before it is there: it may be on its way for another's job at this moment
        let coming = Digest(Sha256::digest(b"coming").into());
        assert!(!blobs.own(coming).unwrap());
        assert_eq!(blobs.put(b"coming").unwrap().digest, coming);
        assert!(blobs.own(ours).unwrap());
        for digest in [others, ours, coming] {
            blobs.give_back(digest).unwrap();
        }
        assert_eq!([others, ours, coming].map(|digest| blobs.has(digest)), [false, true, true]);
    }
}
