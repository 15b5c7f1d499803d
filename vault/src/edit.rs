//! Changes of notes on disk: of one section, block or property, and of a name with all links to it.
//!
//! A change is made to just the text that whoever wants it has seen; otherwise nothing is written, and both are shown.

pub mod names;

use serde::{Deserialize, Serialize};

use crate::ingest::read::digest;
use crate::parse;
use crate::patch::{self, Change, PatchError, Place, Value};
use crate::path::VaultPath;
use crate::rename::apply;
use crate::root::write::WriteError;
use crate::root::{FileError, Root};
use crate::source::Source;

/// A change of a note.
#[derive(Clone, PartialEq, Debug)]
pub enum Patch {
    /// Of text at a place.
    Text {
        /// Where.
        place: Place,
        /// What.
        change: Change,
    },
    /// Of a property; none removes it.
    Property {
        /// Its name.
        name: String,
        /// What it gets.
        value: Option<Value>,
    },
}

/// What a note is after a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Patched {
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// Whether anything was written.
    pub changed: bool,
}

/// Why a note is not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// There is no such note.
    #[error("there is no note {0}")]
    Missing(VaultPath),
    /// It is no note.
    #[error("{0} is not a note; only Markdown is changed")]
    NotANote(VaultPath),
    /// It is another than was seen.
    #[error("{path} has changed: its digest is {is}, not {seen}; read it again and repeat the change")]
    Conflict {
        /// Which.
        path: VaultPath,
        /// The digest that was seen.
        seen: String,
        /// The digest that it has.
        is: String,
        /// Its text.
        text: String,
    },
    /// The place is not in it, or the value cannot be written.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// It cannot be written.
    #[error("{path} is not written: {source}")]
    Write {
        /// Which.
        path: VaultPath,
        /// Why.
        #[source]
        source: WriteError,
    },
}

/// Changes a note whose digest is `seen`, or whatever it is where that is none.
///
/// # Errors
/// When it is another, the place is not in it, or it cannot be written; then it is as it was.
pub fn patch(root: &Root, path: &VaultPath, seen: Option<&str>, patch: &Patch) -> Result<Patched, EditError> {
    if !path.is_note() {
        return Err(EditError::NotANote(path.clone()));
    }
    let failed = |source: FileError| EditError::Write { path: path.clone(), source: source.into() };
    let Some((_, bytes)) = root.read(path).map_err(failed)? else { return Err(EditError::Missing(path.clone())) };
    let is = digest(&bytes);
    if let Some(seen) = seen.filter(|seen| *seen != is) {
        return Err(conflict(path, seen, &bytes));
    }
    let source = Source::new(bytes.clone());
    let note = parse::note(&source);
    let edit = match patch {
        Patch::Text { place, change } => patch::text(&source, &note, place, change)?,
        Patch::Property { name, value } => patch::property(&source, &note, name, value.as_ref())?,
    };
    let written = apply(&bytes, &[edit]);
    if written == bytes {
        return Ok(Patched { digest: is, changed: false });
    }
    match root.write(path, &is, &written) {
        Ok(()) => Ok(Patched { digest: digest(&written), changed: true }),
        Err(WriteError::Changed { bytes }) => Err(conflict(path, &is, &bytes.unwrap_or_default())),
        Err(source) => Err(EditError::Write { path: path.clone(), source }),
    }
}

fn conflict(path: &VaultPath, seen: &str, bytes: &[u8]) -> EditError {
    EditError::Conflict {
        path: path.clone(),
        seen: seen.to_owned(),
        is: digest(bytes),
        text: String::from_utf8_lossy(bytes).into_owned(),
    }
}
