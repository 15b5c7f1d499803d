//! A namespace of a repository as one file, by which a peer gives a node back what it has lost.
//!
//! It must not know why it was lost.

use std::path::Path;

use cobs::id::{NodeId, RepoId};
use radicle::prelude::ReadStorage as _;

use super::Replication;
use super::git::{self, GitError};

impl Replication {
    /// Writes all that the references of `node` in a repository hold into `file`.
    ///
    /// # Errors
    /// When git fails.
    pub fn pack_namespace(&self, rid: RepoId, node: NodeId, file: &Path) -> Result<(), GitError> {
        let references = format!("--glob=refs/namespaces/{node}/*");
        let arguments =
            ["bundle".as_ref(), "create".as_ref(), "--quiet".as_ref(), file.as_os_str(), references.as_ref()];
        git::run(&self.home().storage.path_of(&rid), arguments).map(drop)
    }

    /// Brings the objects of such a file into a repository; no reference moves.
    ///
    /// # Errors
    /// When git fails, or the file lacks anything.
    pub fn unpack(&self, rid: RepoId, file: &Path) -> Result<(), GitError> {
        git::run(&self.home().storage.path_of(&rid), ["bundle".as_ref(), "unbundle".as_ref(), file.as_os_str()])
            .map(drop)
    }
}
