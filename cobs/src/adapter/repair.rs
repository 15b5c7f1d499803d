//! What a power cut can leave of a fetch: packs and objects whose names were written and their content was not, and
//! references of others to what is not there. They are removed, and fetched again. Own references go back to what was
//! signed and synced, see `own`, where it is known: in the repositories that the writer writes.

mod objects;
mod own;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{Odb, Oid, Repository};

use super::synced;
use crate::id::NodeId;

/// How deep references lie below a namespace.
const REFERENCE_DEPTH_MAX: usize = 16;

/// Mends every repository in the storage of `node`; gives what was removed or put back. No Radicle node may run.
///
/// # Errors
/// When the storage cannot be read.
pub fn repair(storage: &Path, node: &NodeId) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for repository in fs::read_dir(storage)?.flatten().map(|entry| entry.path()) {
        if !repository.join("objects").is_dir() {
            continue;
        }
        // before libgit2 looks at any: it reads one that is cut short for ever
        objects::remove_torn(&repository.join("objects"), &mut removed)?;
        let Ok(opened) = Repository::open_bare(&repository) else { continue };
        let Ok(odb) = opened.odb() else { continue };
        let own = node.to_string();
        let is_ours = !synced::named(opened.path()).is_empty();
        for namespace in entries(&repository.join("refs/namespaces"))? {
            let (before, is_own) = (removed.len(), namespace.ends_with(&own));
            if is_own && !is_ours {
                continue;
            }
            references(&namespace, &odb, 0, &mut removed)?;
            if is_own {
                own::mend(&opened, node, &mut removed).map_err(io::Error::other)?;
            } else if removed.len() > before {
                // without it all of the namespace is fetched again
                remove(namespace.join("refs/rad/sigrefs"), &mut removed);
            }
        }
    }
    Ok(removed)
}

/// Those that are written one by one; packed ones are written whole by git, which syncs them.
fn references(directory: &Path, odb: &Odb<'_>, depth: usize, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for path in entries(directory)? {
        if path.is_dir() {
            if depth < REFERENCE_DEPTH_MAX {
                references(&path, odb, depth + 1, removed)?;
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let there = text.starts_with("ref: ") || Oid::from_str(text.trim()).is_ok_and(|target| odb.exists(target));
        if !there {
            remove(path, removed);
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove(path: PathBuf, removed: &mut Vec<PathBuf>) {
    // one of a pack's files may not be there
    if fs::remove_file(&path).is_ok() {
        removed.push(path);
    }
}
