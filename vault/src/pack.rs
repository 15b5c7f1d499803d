//! Context packs: the passages that a model is given within a budget, each with where it is from.
//!
//! The same candidates make the same pack, to the last byte, and its text is never over the budget. How passages are found is
//! not known here: they come in the order of their ranks.
//!
//! What is named comes first. Of all else the next is the one with the most of what is new for its rank (maximal marginal
//! relevance), and what is in the pack already, or is nearly, is left out. When a second passage of a section is chosen, the
//! rest of the section comes with it, before any weaker passage of another document, if all of it fits. Documents are in the
//! order in which they were first chosen, and their passages as they stand in them.

mod choose;
mod cut;
mod render;
mod similar;
#[cfg(test)]
mod tests;
pub mod tokens;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::chunk::hexadecimal;
use crate::index::record::Privacy;
use crate::note::Span;

/// Which form of JSON a pack has.
pub const VERSION: u32 = 1;
/// Most candidates that are looked at; those after them are left out.
pub const CANDIDATES_MAX: usize = 1_000;

/// What the text of a pack has at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Budget {
    /// As they are counted by whoever asks.
    Tokens(usize),
    /// In UTF-8.
    Bytes(usize),
}

/// Why a passage is a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Origin {
    /// Its document was named: it is wanted, whatever else there is.
    Named,
    /// A search found it.
    Found,
    /// Links lead from what was named or found to its document.
    Linked {
        /// By how many links.
        distance: u32,
    },
    /// It lies beside others: it is taken only to complete a section, and has no rank.
    Beside,
}

/// What becomes of private passages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Private {
    /// They are candidates, and make the pack private.
    Taken,
    /// None is in the pack, which may then leave this node.
    Refused,
}

/// A passage that may be in a pack.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The name of its document.
    pub path: String,
    /// Which passage of the document it is; the first is 0.
    pub order: usize,
    /// Its bytes in the document.
    pub span: Span,
    /// Its first line; that of the document is 1.
    pub line: usize,
    /// The headings that it lies under, the highest first.
    pub headings: Vec<String>,
    /// The id of its first block that has one.
    pub block: Option<String>,
    /// SHA-256 of its text, in hexadecimal.
    pub digest: String,
    /// Its text: the bytes of `span`.
    pub text: String,
    /// Its vector of length 1, all of them by the same embedder.
    pub vector: Option<Vec<f32>>,
    /// Who may see it.
    pub privacy: Privacy,
    /// Why it is here.
    pub origin: Origin,
}

/// What a pack is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What fits.
    pub budget: Budget,
    /// What becomes of private passages.
    pub private: Private,
    /// The best first, those beside them anywhere.
    pub candidates: &'a [Candidate],
}

/// Passages for a model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pack {
    /// [`VERSION`]. A reader refuses any other, and any field that it does not know.
    pub version: u32,
    /// SHA-256, in hexadecimal, of this pack in JSON with nothing in this place.
    pub digest: String,
    /// As the strictest of its passages.
    pub privacy: Privacy,
    /// What it was made for.
    pub budget: Budget,
    /// The bytes of the text.
    pub bytes: usize,
    /// The tokens of the text, as they were counted.
    pub tokens: usize,
    /// The passages in Markdown, each below a line that cites it.
    pub text: String,
    /// Where they are from, in the order of the text.
    pub citations: Vec<Citation>,
    /// What is not in it, in the order of ranks. In a pack that is not private, nothing private is named.
    pub left_out: Vec<LeftOut>,
    /// How many private passages were left out and are not named.
    pub private_left_out: usize,
}

/// Where a passage is from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Citation {
    /// The name of its document.
    pub path: String,
    /// The headings that it lies under, the highest first.
    pub headings: Vec<String>,
    /// The id of a block in it.
    pub block: Option<String>,
    /// SHA-256 of the whole passage, in hexadecimal.
    pub digest: String,
    /// Its bytes in the document, as far as they are shown.
    pub span: Span,
    /// Its first line; that of the document is 1.
    pub first_line: usize,
    /// The last line that is shown.
    pub last_line: usize,
    /// The bytes of the whole passage, where only its beginning is shown.
    pub cut_from_bytes: Option<usize>,
    /// Its place among the candidates, the first is 1; none for what completes a section.
    pub rank: Option<usize>,
    /// Why it was a candidate.
    pub origin: Origin,
}

/// A candidate that is not in the pack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeftOut {
    /// The name of its document.
    pub path: String,
    /// The headings that it lies under.
    pub headings: Vec<String>,
    /// SHA-256 of its text, in hexadecimal.
    pub digest: String,
    /// Its first line.
    pub line: usize,
    /// Its place among the candidates; the first is 1.
    pub rank: usize,
    /// Why.
    pub why: Why,
}

/// Why a candidate is not in the pack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Why {
    /// It does not fit.
    Budget,
    /// A passage of the pack has its whole text.
    Duplicate {
        /// The digest of that one.
        of: String,
    },
    /// A passage of the pack says nearly the same.
    Similar {
        /// The digest of that one.
        to: String,
    },
    /// [`CANDIDATES_MAX`] stand before it.
    Rank,
}

/// Why there is no pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Nothing fits in nothing.
    #[error("the budget of the pack is 0; give it at least one token or byte")]
    NoBudget,
    /// What was read is no pack.
    #[error("this is no pack: {0}")]
    Malformed(#[source] serde_json::Error),
    /// Another version wrote it.
    #[error("the pack has version {0}, this program reads version {VERSION}")]
    Version(u64),
    /// It is not what was written.
    #[error("the pack was changed: its digest is not that of what it holds; make it again")]
    Changed,
}

/// Makes a pack. Tokens are counted by `count`: the exact count of the model that reads the pack, or [`tokens::tokens`].
///
/// # Errors
/// When the budget is 0. That nothing fits is no error: the pack is empty and says what was left out.
pub fn pack(request: Request<'_>, count: &dyn Fn(&str) -> usize) -> Result<Pack, PackError> {
    if matches!(request.budget, Budget::Tokens(0) | Budget::Bytes(0)) {
        return Err(PackError::NoBudget);
    }
    let chosen = choose::choose(request, count);
    let mut pack = Pack {
        version: VERSION,
        digest: String::new(),
        privacy: chosen.privacy,
        budget: request.budget,
        bytes: chosen.text.len(),
        tokens: count(&chosen.text),
        text: chosen.text,
        citations: chosen.citations,
        left_out: chosen.left_out,
        private_left_out: chosen.private_left_out,
    };
    pack.digest = pack.own_digest();
    Ok(pack)
}

impl Pack {
    /// In JSON, the same for the same pack.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a pack is plain data")
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// When it is no pack, of another version, or was changed.
    pub fn from_json(json: &str) -> Result<Self, PackError> {
        let value: serde_json::Value = serde_json::from_str(json).map_err(PackError::Malformed)?;
        // before the fields, which another version may have others of
        if let Some(version) = value.get("version").and_then(serde_json::Value::as_u64)
            && version != u64::from(VERSION)
        {
            return Err(PackError::Version(version));
        }
        let pack: Self = serde_json::from_value(value).map_err(PackError::Malformed)?;
        if pack.digest == pack.own_digest() { Ok(pack) } else { Err(PackError::Changed) }
    }

    fn own_digest(&self) -> String {
        let without = Self { digest: String::new(), ..self.clone() };
        hexadecimal(&Sha256::digest(without.to_json()))
    }
}
