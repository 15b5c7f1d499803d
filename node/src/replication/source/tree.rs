//! A job's work tree.
//!
//! It must not know sandboxes: it makes a directory that needs nothing outside itself.

use std::fs;
use std::path::Path;

use cobs::adapter::profile::NodeHome;
use cobs::id::{CommitId, RepoId};

use super::git::{self, History};
use super::{SourceError, has_commit, open};

/// Writes the tree of `commit` to `into`, which must be absent or empty, with a `.git` of its own: detached at the
/// commit, without remotes and without history before it. On an error nothing is left in it.
pub fn export_tree(home: &NodeHome, rid: RepoId, commit: CommitId, into: &Path) -> Result<(), SourceError> {
    if !has_commit(home, rid, commit)? {
        return Err(SourceError::NoCommit { commit, place: rid.to_string() });
    }
    let repository = open(home, rid)?;
    let existed = into.exists();
    require_empty(into)?;
    fs::create_dir_all(into).map_err(|source| SourceError::Io { action: "create", path: into.to_owned(), source })?;
    let written = write(repository.backend.path(), commit, into);
    if written.is_err() {
        clear(into, existed);
    }
    written
}

fn write(storage: &Path, commit: CommitId, into: &Path) -> Result<(), SourceError> {
    let id = commit.to_string();
    let failed = |action| move |source| SourceError::Git { action, source };
    git::run(into, ["init", "--quiet", "--template=", "--initial-branch=main"]).map_err(failed("make a work tree"))?;
    git::fetch(into, storage, &id, History::Tip).map_err(failed("copy the commit"))?;
    git::run(into, ["checkout", "--quiet", "--detach", &id]).map_err(failed("check the commit out"))?;
    Ok(())
}

fn require_empty(into: &Path) -> Result<(), SourceError> {
    let io = |source| SourceError::Io { action: "read", path: into.to_owned(), source };
    match fs::read_dir(into) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(SourceError::NotEmpty(into.to_owned())),
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io(source)),
    }
}

fn clear(into: &Path, existed: bool) {
    let removed = fs::remove_dir_all(into).and_then(|()| if existed { fs::create_dir(into) } else { Ok(()) });
    if let Err(error) = removed {
        tracing::warn!(path = %into.display(), %error, "cannot clear a torn work tree");
    }
}
