//! What a power cut can leave of a fetch: packs and objects whose names were written and their content was not, and
//! references of others to what is not there. They are removed, and fetched again; own references are never touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::{Odb, Oid, Repository};

use super::profile::NodeHome;

/// The head, the fan-out and the two digests of an index; a shorter one is none.
const INDEX_BYTES_MIN: u64 = 8 + 256 * 4 + 2 * 20;
/// The head and the digest of a pack.
const PACK_BYTES_MIN: u64 = 12 + 20;
/// How deep references lie below a namespace.
const REFERENCE_DEPTH_MAX: usize = 16;

/// Removes what is torn in every repository of a home; gives what was removed. No Radicle node may run.
///
/// # Errors
/// When the storage cannot be read.
pub fn repair(home: &NodeHome) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for repository in fs::read_dir(home.storage.path())?.flatten().map(|entry| entry.path()) {
        if !repository.join("objects").is_dir() {
            continue;
        }
        packs(&repository.join("objects/pack"), &mut removed)?;
        loose_objects(&repository.join("objects"), &mut removed)?;
        let Ok(opened) = Repository::open_bare(&repository) else { continue };
        let Ok(odb) = opened.odb() else { continue };
        let own = home.public_key.to_string();
        for namespace in entries(&repository.join("refs/namespaces"))? {
            if namespace.ends_with(&own) {
                continue;
            }
            let before = removed.len();
            references(&namespace, &odb, 0, &mut removed)?;
            if removed.len() > before {
                // without it all of the namespace is fetched again
                remove(namespace.join("refs/rad/sigrefs"), &mut removed);
            }
        }
    }
    Ok(removed)
}

/// A pack goes with its index: without either it is nothing.
fn packs(directory: &Path, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    let long_enough = |path: &Path, least| fs::metadata(path).is_ok_and(|file| file.len() >= least);
    for path in entries(directory)? {
        let whole = match path.extension().and_then(|end| end.to_str()) {
            Some("idx") => long_enough(&path, INDEX_BYTES_MIN),
            Some("pack") => long_enough(&path, PACK_BYTES_MIN),
            Some(_) | None => true,
        };
        if whole {
            continue;
        }
        for end in ["idx", "pack", "rev", "keep"] {
            remove(path.with_extension(end), removed);
        }
    }
    Ok(())
}

fn loose_objects(objects: &Path, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for directory in entries(objects)?.into_iter().filter(|path| is_fan_out(path)) {
        for object in entries(&directory)? {
            if fs::metadata(&object).is_ok_and(|file| file.len() == 0) {
                remove(object, removed);
            }
        }
    }
    Ok(())
}

fn is_fan_out(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.len() == 2)
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
