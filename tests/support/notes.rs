//! The notes of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// All of them, in order of their paths.
pub fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut notes = Vec::new();
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            notes.extend(below(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            notes.push(path);
        }
    }
    Ok(notes)
}
