//! What is known of a document, as it is kept with its words.

use serde::{Deserialize, Serialize};

use crate::chunk::Passage;
use crate::note::Note;

/// A document as it was when it was read.
///
/// Its name is the path of a file in the vault; names of all else begin with `/`, as no path in a vault does.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// By which it is known.
    pub name: String,
    /// By which its passages name it; it stays when the document changes.
    pub number: u64,
    /// How the file was; none for what is no file.
    pub stat: Option<Stat>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// The name that is shown: a file's without folder and extension.
    pub title: String,
    /// What was read of it.
    pub note: Note,
    /// Its passages, in order.
    pub passages: Vec<Passage>,
    /// Who may see it.
    pub privacy: Privacy,
    /// Who may see it by the rules of where it lies, or of who pushed it.
    pub by_rule: Privacy,
    /// When it was read, in milliseconds of Unix time; only shown.
    pub indexed_at_ms: u64,
}

/// What a hit shows of a record. The rest, which is most of it, is passed over when it is read.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Shown {
    /// As in [`Record`], like all below.
    pub name: String,
    /// The name that is shown.
    pub title: String,
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Its passages.
    pub passages: Vec<Passage>,
    /// Who may see it.
    pub privacy: Privacy,
}

/// How a file is, as far as the file system tells without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stat {
    /// Its bytes.
    pub size: u64,
    /// When it was written, in nanoseconds of Unix time.
    pub modified_ns: i64,
    /// When anything of it changed; nothing but writing sets it.
    pub changed_ns: i64,
    /// Its number in the file system.
    pub inode: u64,
}

/// Who may see a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// Whoever may read the vault.
    Open,
    /// Nobody but this node: neither a cloud nor a peer.
    Private,
}
