//! What is asked of the vault, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use vault::documents::Document;
use vault::ingest::shared::Status;
use vault::meaning::MeaningStatus;
use vault::path::VaultPath;
use vault::search::{Matching, Mode};
use vault::vectors::Content;

/// A search.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SearchQuery {
    /// In Obsidian's search language.
    pub q: String,
    /// By words, by meaning, or both.
    #[serde(default)]
    pub mode: Mode,
    /// Whether every free word has to be there.
    #[serde(default, rename = "match")]
    pub matching: Matching,
    /// How many hits.
    #[serde(default)]
    pub limit: Option<usize>,
    /// In what: notes and pushed documents without.
    #[serde(default = "notes", rename = "in")]
    pub content: Content,
    /// Whether the query was made from private text.
    #[serde(default)]
    pub private: bool,
}

fn notes() -> Content {
    Content::Notes
}

/// A context pack that is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContextWish {
    /// What is to be done, in any words; a job's title and description without.
    #[serde(default)]
    pub text: Option<String>,
    /// Notes that it shall have, by their paths or as links name them.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What it may have in tokens.
    #[serde(default)]
    pub budget_tokens: Option<usize>,
    /// What it may have in bytes.
    #[serde(default)]
    pub budget_bytes: Option<usize>,
}

/// A context pack that is wanted, in a target.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContextQuery {
    /// What is to be done, in any words.
    #[serde(default)]
    pub q: Option<String>,
    /// Notes that it shall have, one a line.
    #[serde(default)]
    pub notes: Option<String>,
    /// What it may have in tokens.
    #[serde(default)]
    pub budget_tokens: Option<usize>,
    /// What it may have in bytes.
    #[serde(default)]
    pub budget_bytes: Option<usize>,
    /// Whether private passages are left out, so that it may go anywhere.
    #[serde(default)]
    pub open_only: bool,
}

/// Documents that are pushed and removed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ingest {
    /// To be kept, in place of those of the same id.
    #[serde(default)]
    pub documents: Vec<Document>,
    /// Ids of those to be forgotten.
    #[serde(default)]
    pub remove: Vec<VaultPath>,
}

/// What became of them: they are searchable as they are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingested {
    /// How many are kept.
    pub kept: usize,
    /// How many were there and are no more.
    pub removed: usize,
}

/// A note.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteQuery {
    /// Its path in the vault.
    pub path: String,
}

/// A note as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoteText {
    /// Its path in the vault.
    pub path: String,
    /// SHA-256 of its bytes: what a change says that it has seen.
    pub digest: String,
    /// Its text.
    pub text: String,
}

/// A change of a note: of one heading's section, one block or one property.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotePatch {
    /// The digest of the note that was seen; without, whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// The headings that the section lies under, and its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<Vec<String>>,
    /// The id of the block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<String>,
    /// The name of the property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<String>,
    /// Is there instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
    /// Comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepend: Option<String>,
    /// Comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// The property's value: text, number, truth, a list of texts, or null for an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub value: Option<serde_json::Value>,
    /// Whether the property goes.
    #[serde(default)]
    pub remove: bool,
}

/// A null that was written is a value, not a missing one.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// Another name for a file of the vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoteRename {
    /// Its path.
    pub from: String,
    /// Its path afterwards.
    pub to: String,
}

/// Whose links are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinksQuery {
    /// A file's path; of the whole vault what leads nowhere without.
    #[serde(default)]
    pub path: Option<String>,
}

/// Links of a file, or of the vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "of")]
pub enum NoteLinks {
    /// Of one file.
    #[serde(rename_all = "camelCase")]
    File {
        /// Its path.
        path: String,
        /// Where its links lead.
        outgoing: Vec<LinkShown>,
        /// Which files link to it.
        backlinks: Vec<LinkShown>,
    },
    /// Of the whole vault.
    #[serde(rename_all = "camelCase")]
    Vault {
        /// Links that lead nowhere: what they name, and the files that have them.
        unresolved: BTreeMap<String, Vec<String>>,
        /// Notes that no other links to.
        orphans: Vec<String>,
    },
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkShown {
    /// The file at the other end; none where it leads out or nowhere.
    pub path: Option<String>,
    /// What it names.
    pub target: String,
    /// Whether it leads anywhere: `file`, `missing_place`, `external` or `unresolved`.
    pub leads: String,
}

/// Of what the status is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultStatusQuery {
    /// One file too.
    #[serde(default)]
    pub path: Option<String>,
}

/// How the vault stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultStatus {
    /// The folder; none where there are pushed documents only.
    pub vault: Option<String>,
    /// How much of what is there is found in which way.
    pub coverage: Coverage,
    /// Documents with something wrong, and what.
    pub warnings: BTreeMap<String, Vec<String>>,
    /// The index of words and links.
    pub index: Status,
    /// The vectors; none without an embedder.
    pub meaning: Option<MeaningStatus>,
    /// What else is searched: working trees, and what jobs did.
    #[serde(default)]
    pub others: Vec<OtherStatus>,
    /// The file that was asked for.
    pub note: Option<NoteStatus>,
}

/// How an index stands that is not of the vault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherStatus {
    /// Of what.
    #[serde(rename = "in")]
    pub content: Content,
    /// How much of what is there is found in which way.
    pub coverage: Coverage,
    /// The index of words.
    pub index: Status,
    /// The vectors; none without an embedder.
    pub meaning: Option<MeaningStatus>,
}

/// How many documents are found in which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Documents that are there.
    pub documents: u64,
    /// Those that are found by words and links.
    pub words: u64,
    /// Those that are found by meaning.
    pub meaning: u64,
}

/// How one document stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoteStatus {
    /// Its path.
    pub path: String,
    /// Since when it is found by words as it is, in milliseconds of Unix time.
    pub words_at_ms: Option<u64>,
    /// Since when its links are known, in milliseconds of Unix time.
    pub links_at_ms: Option<u64>,
    /// Since when it is found by meaning as it is, in milliseconds of Unix time.
    pub meaning_at_ms: Option<u64>,
    /// Why one of them is missing.
    pub why: Option<String>,
    /// Whether it is private.
    pub private: bool,
}
