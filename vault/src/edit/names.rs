//! A note gets another name, and every link to it follows.
//!
//! What is to be written is kept in a file first, so that a crash between the name and the last link is finished at the next
//! start. A file that somebody changed meanwhile is left as it is, and told.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::ingest::read::digest;
use crate::links::Links;
use crate::path::VaultPath;
use crate::rename::{self, Edit, RenameError, apply};
use crate::root::write::WriteError;
use crate::root::{FileError, Root};

/// A name and its links, as they are to be written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Journal {
    from: VaultPath,
    to: VaultPath,
    files: Vec<File>,
}

/// What is written into a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct File {
    /// By its name after.
    path: VaultPath,
    /// SHA-256 before.
    digest: String,
    /// SHA-256 after.
    after: String,
    /// Where it is cut, and what comes there.
    edits: Vec<(usize, usize, String)>,
}

/// What became of a new name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renamed {
    /// Files whose links were written.
    pub written: Vec<VaultPath>,
    /// How many links.
    pub links: usize,
    /// Files that were changed by somebody else in the meantime, and keep their old links.
    pub left: Vec<VaultPath>,
    /// Links that now lead elsewhere, since no path leads where they did: file and link.
    pub lost: Vec<(VaultPath, String)>,
}

/// Why a file does not get another name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It cannot have it.
    #[error(transparent)]
    Rename(#[from] RenameError),
    /// The index is behind the files.
    #[error("{0} has changed and is not indexed yet; repeat it in a moment")]
    Behind(VaultPath),
    /// It cannot be written.
    #[error("{path} is not written: {source}")]
    Write {
        /// Which.
        path: VaultPath,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// What is to be done cannot be kept.
    #[error("the journal of names {file}: {source}")]
    Journal {
        /// Where.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What is to be done for a name, by what the index knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    from: VaultPath,
    to: VaultPath,
    /// A file with links, the digest of the bytes in which they are known, and what is written.
    edits: Vec<(VaultPath, String, Vec<Edit>)>,
    lost: Vec<(VaultPath, String)>,
}

/// Plans another name for a file, and asks no disk. `digest_of` tells with which bytes a file's links are known.
///
/// # Errors
/// When it cannot have the name.
pub fn plan(
    links: &Links,
    digest_of: impl Fn(&VaultPath) -> Option<String>,
    from: &VaultPath,
    to: &VaultPath,
) -> Result<Plan, NameError> {
    let plan = rename::plan(links, from, to)?;
    let mut edits = Vec::with_capacity(plan.edits.len());
    for (path, of_file) in plan.edits {
        let digest = digest_of(&path).ok_or_else(|| NameError::Behind(path.clone()))?;
        edits.push((path, digest, of_file));
    }
    let lost = plan.lost.into_iter().map(|(path, link)| (path, link.path)).collect();
    Ok(Plan { from: from.clone(), to: to.clone(), edits, lost })
}

/// Who gives names in one vault, one after the other.
#[derive(Debug)]
pub struct Namer {
    journal: PathBuf,
    busy: Mutex<()>,
}

impl Namer {
    /// Keeps its journal in a file.
    pub fn new(journal: PathBuf) -> Self {
        Self { journal, busy: Mutex::new(()) }
    }

    /// Carries a plan out, after what a crash or a failure left of the one before.
    ///
    /// # Errors
    /// When a file with links is another than is indexed: then nothing was written. When a file cannot be written, the next
    /// call goes on with the rest.
    pub fn rename(&self, root: &Root, plan: Plan) -> Result<Renamed, NameError> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.finish_last(root)?;
        let mut files = Vec::new();
        for (path, digest, edits) in plan.edits {
            let now = root.read(&path).map_err(|source| failed(&path, source))?;
            let Some((_, bytes)) = now.filter(|(_, bytes)| self::digest(bytes) == digest) else {
                return Err(NameError::Behind(path));
            };
            let after = self::digest(&apply(&bytes, &edits));
            let edits = edits.into_iter().map(|edit| (edit.span.start, edit.span.end, edit.text)).collect();
            let path = if path == plan.from { plan.to.clone() } else { path };
            files.push(File { path, digest, after, edits });
        }
        let todo = Journal { from: plan.from, to: plan.to, files };
        keep(&self.journal, &todo)?;
        if let Err(source) = root.rename(&todo.from, &todo.to) {
            forget(&self.journal)?;
            return Err(NameError::Write { path: todo.to, source });
        }
        let mut renamed = finish(root, &todo)?;
        renamed.lost = plan.lost;
        forget(&self.journal)?;
        Ok(renamed)
    }

    /// Finishes what a crash or a failure left; none where there was nothing.
    ///
    /// # Errors
    /// When it cannot be read or written; it is tried again before the next name.
    pub fn recover(&self, root: &Root) -> Result<Option<Renamed>, NameError> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.finish_last(root)
    }

    fn finish_last(&self, root: &Root) -> Result<Option<Renamed>, NameError> {
        let unreadable = |source| NameError::Journal { file: self.journal.clone(), source };
        let json = match fs::read(&self.journal) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let todo: Journal = serde_json::from_slice(&json).map_err(|error| unreadable(error.into()))?;
        let is_there = |path: &VaultPath| root.stat(path).is_ok_and(|stat| stat.is_some());
        // one that had not begun is not begun now
        let has_begun = is_there(&todo.to) && !is_there(&todo.from);
        let renamed = if has_begun { finish(root, &todo)? } else { Renamed::default() };
        forget(&self.journal)?;
        Ok(Some(renamed))
    }
}

/// Writes the links, of each file that is as it was.
fn finish(root: &Root, todo: &Journal) -> Result<Renamed, NameError> {
    let mut renamed = Renamed::default();
    for file in &todo.files {
        let now = root.read(&file.path).map_err(|source| failed(&file.path, source))?;
        let Some((_, bytes)) = now else {
            renamed.left.push(file.path.clone());
            continue;
        };
        let is = digest(&bytes);
        if is != file.digest {
            // before a crash it may have been written already
            if is == file.after { &mut renamed.written } else { &mut renamed.left }.push(file.path.clone());
            continue;
        }
        let edits: Vec<Edit> =
            file.edits.iter().map(|(start, end, text)| Edit { span: *start..*end, text: text.clone() }).collect();
        match root.write(&file.path, &file.digest, &apply(&bytes, &edits)) {
            Ok(()) => {
                renamed.links += edits.len();
                renamed.written.push(file.path.clone());
            }
            Err(WriteError::Changed { .. }) => renamed.left.push(file.path.clone()),
            Err(source) => return Err(NameError::Write { path: file.path.clone(), source }),
        }
    }
    Ok(renamed)
}

fn failed(path: &VaultPath, source: FileError) -> NameError {
    NameError::Write { path: path.clone(), source: source.into() }
}

fn keep(journal: &Path, todo: &Journal) -> Result<(), NameError> {
    let write = || {
        let json = serde_json::to_vec(todo).map_err(std::io::Error::from)?;
        let beside = journal.with_extension("new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&json)?;
        file.sync_all()?;
        fs::rename(&beside, journal)?;
        // the name is durable before the first file is changed
        journal.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    write().map_err(|source| NameError::Journal { file: journal.to_owned(), source })
}

fn forget(journal: &Path) -> Result<(), NameError> {
    match fs::remove_file(journal) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(NameError::Journal { file: journal.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
