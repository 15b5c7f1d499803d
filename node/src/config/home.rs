//! Where a node's files are: Radicle's in its home, ours in `rhizome/` below it.

use std::path::{Path, PathBuf};

use super::Environment;

/// A Radicle home.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Home(PathBuf);

/// There is nothing to find a home by.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no home directory is known: neither --home, RAD_HOME nor HOME is set")]
pub struct NoHome;

impl Home {
    /// The home at a path, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// By `--home`, else `RAD_HOME`, else `~/.radicle`.
    pub fn find(flag: Option<&Path>, environment: &Environment) -> Result<Self, NoHome> {
        if let Some(path) = flag {
            return Ok(Self::new(path));
        }
        if let Some(path) = environment.get("RAD_HOME") {
            return Ok(Self::new(path));
        }
        environment.get("HOME").map(|home| Self(Path::new(home).join(".radicle"))).ok_or(NoHome)
    }

    /// Radicle's own files: keys, storage, config, control socket.
    pub fn radicle(&self) -> &Path {
        &self.0
    }

    /// Our files.
    pub fn rhizome(&self) -> PathBuf {
        self.0.join("rhizome")
    }

    /// The config file.
    pub fn config_file(&self) -> PathBuf {
        self.rhizome().join("config.toml")
    }

    /// The view, which can be rebuilt.
    pub fn view(&self) -> PathBuf {
        self.rhizome().join("view.redb")
    }

    /// The state, which cannot.
    pub fn state(&self) -> PathBuf {
        self.rhizome().join("state.redb")
    }

    /// What peers said last of how far they are; it may be lost.
    pub fn whereabouts(&self) -> PathBuf {
        self.rhizome().join("whereabouts.json")
    }

    /// The key and certificate of the direct link.
    pub fn link_key(&self) -> PathBuf {
        self.rhizome().join("link.pem")
    }

    /// The unix socket of the API.
    pub fn api_socket(&self) -> PathBuf {
        self.rhizome().join("api.sock")
    }

    /// The boot of the machine in which a daemon last started here.
    pub fn boot(&self) -> PathBuf {
        self.rhizome().join("boot-id")
    }

    /// Held by the one daemon of this home.
    pub fn lock(&self) -> PathBuf {
        self.rhizome().join("lock")
    }

    /// One directory a run.
    pub fn runs(&self) -> PathBuf {
        self.rhizome().join("runs")
    }

    /// Logs, artifacts and inputs by digest.
    pub fn blobs(&self) -> PathBuf {
        self.rhizome().join("blobs")
    }

    /// The index of the vault, its vectors, and pushed documents, which cannot be made again.
    pub fn vault(&self) -> PathBuf {
        self.rhizome().join("vault")
    }

    /// Models that were added.
    pub fn models(&self) -> PathBuf {
        self.rhizome().join("models")
    }

    /// The daemon's own log.
    pub fn logs(&self) -> PathBuf {
        self.rhizome().join("logs")
    }
}
