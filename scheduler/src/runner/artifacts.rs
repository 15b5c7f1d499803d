//! Storing what comes out of a sandbox: each file under its digest, checked and counted before it is believed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cobs::digest::{Blob, Digest};
use sha2::{Digest as _, Sha256};

use super::finished::{ARTIFACTS_DIR, Artifact, Manifest, write_durably};
use super::request::stays_below;

/// Most artifacts of a run.
pub const ARTIFACTS_MAX: usize = 4096;
/// Longest path of an artifact, in bytes.
pub const ARTIFACT_PATH_BYTES_MAX: usize = 1024;
const BUFFER_BYTES: usize = 256 << 10;

/// Why artifacts could not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("artifact '{0}' could not be stored")]
    Host(String, #[source] io::Error),
    #[error("the sandbox closed in the middle of artifact '{0}'")]
    Torn(String),
    #[error("the artifacts are more than {ARTIFACTS_MAX} files")]
    TooMany,
    #[error("the artifacts are larger than the disk limit of {0} bytes")]
    TooLarge(u64),
    #[error("the path of an artifact leaves the work tree")]
    BadPath,
}

/// Takes artifacts one by one.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    bytes_max: u64,
    bytes: u64,
    paths: BTreeSet<String>,
    manifest: Manifest,
    buffer: Vec<u8>,
}

/// An artifact that the inside announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced<'a> {
    pub path: &'a str,
    pub size: u64,
    pub executable: bool,
}

impl Store {
    /// A store in `run_dir` for at most `bytes_max` bytes in all.
    pub fn create(run_dir: &Path, bytes_max: u64) -> io::Result<Self> {
        let dir = run_dir.join(ARTIFACTS_DIR);
        fs::create_dir_all(&dir)?;
        let (paths, manifest) = (BTreeSet::new(), Manifest::default());
        Ok(Self { dir, bytes_max, bytes: 0, paths, manifest, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Reads the announced file from `inside` and keeps it.
    pub fn take(&mut self, announced: Announced<'_>, inside: &mut impl Read) -> Result<(), StoreError> {
        let Announced { path, size, executable } = announced;
        let plain = stays_below(path) && path.len() <= ARTIFACT_PATH_BYTES_MAX;
        if !plain || !self.paths.insert(path.to_owned()) {
            return Err(StoreError::BadPath);
        }
        if self.paths.len() > ARTIFACTS_MAX {
            return Err(StoreError::TooMany);
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bytes_max {
            return Err(StoreError::TooLarge(self.bytes_max));
        }
        let blob = self.copy(path, size, inside)?;
        self.manifest.artifacts.push(Artifact { path: path.to_owned(), blob, executable });
        Ok(())
    }

    /// Writes the manifest and makes the whole directory durable.
    pub fn finish(mut self) -> io::Result<Blob> {
        self.manifest.artifacts.sort_by(|one, other| one.path.cmp(&other.path));
        let json = serde_json::to_vec(&self.manifest)?;
        let digest = Digest(Sha256::digest(&json).into());
        // This syncs the directory too, which makes the artifacts' own names durable.
        write_durably(&self.dir.join(digest.to_string()), &json)?;
        Ok(Blob { digest, size: json.len() as u64 })
    }

    fn copy(&mut self, path: &str, size: u64, inside: &mut impl Read) -> Result<Blob, StoreError> {
        let host = |error| StoreError::Host(path.to_owned(), error);
        let partial = self.dir.join("partial");
        let mut file = File::create(&partial).map_err(host)?;
        let mut hasher = Sha256::new();
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = match inside.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(StoreError::Torn(path.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(StoreError::Torn(path.to_owned())),
                Ok(read) => read,
            };
            hasher.update(&self.buffer[..read]);
            file.write_all(&self.buffer[..read]).map_err(host)?;
            left -= read as u64;
        }
        let digest = Digest(hasher.finalize().into());
        file.sync_all().map_err(host)?;
        fs::rename(&partial, self.dir.join(digest.to_string())).map_err(host)?;
        Ok(Blob { digest, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(path: &str, size: u64) -> Announced<'_> {
        Announced { path, size, executable: false }
    }

    #[test]
    fn what_comes_from_inside_is_not_believed() {
        // Paths that leave, paths twice, sizes beyond the limit and files that end early are each refused.
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path(), 10).unwrap();
        for bad in ["../x", "/etc/passwd", "a/../../b", ""] {
            assert!(matches!(store.take(announced(bad, 1), &mut &b"x"[..]), Err(StoreError::BadPath)));
        }
        store.take(announced("a", 4), &mut &b"four"[..]).unwrap();
        assert!(matches!(store.take(announced("a", 4), &mut &b"four"[..]), Err(StoreError::BadPath)));
        assert!(matches!(store.take(announced("b", 4), &mut &b"x"[..]), Err(StoreError::Torn(_))));
        assert!(matches!(store.take(announced("c", u64::MAX), &mut &b"x"[..]), Err(StoreError::TooLarge(10))));
    }

    #[test]
    fn a_manifest_is_a_blob_of_its_own() {
        // It is found by its digest and lists the files by path, each found by its digest.
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path(), 100).unwrap();
        store.take(announced("b", 3), &mut &b"two"[..]).unwrap();
        store.take(announced("a", 3), &mut &b"one"[..]).unwrap();
        let blob = store.finish().unwrap();
        let manifest = Manifest::read(dir.path(), &blob).unwrap();
        let paths: Vec<_> = manifest.artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
        assert_eq!(paths, ["a", "b"]);
        let stored = dir.path().join(ARTIFACTS_DIR).join(manifest.artifacts[0].blob.digest.to_string());
        assert_eq!(fs::read(stored).unwrap(), b"one");
    }
}
