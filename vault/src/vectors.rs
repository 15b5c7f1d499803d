//! Where vectors are kept and compared: one trait over the stores in process and those of other products.

pub mod breaker;
pub mod check;
mod exact;
pub mod local;
pub mod milvus;
pub mod postgres;
pub mod remote;
mod sealed;
pub mod url;
pub mod weaviate;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::embed::EmbedderId;

/// Most points in one call of [`VectorStore::upsert`] or [`VectorStore::delete`]; the caller splits what is more.
pub const POINTS_MAX: usize = 1_000;
/// Most hits that a search is asked for.
pub const HITS_MAX: usize = 1_000;

/// What the vectors of a collection are of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Notes of the vault, and pushed documents.
    Notes,
    /// Files of working trees.
    Code,
    /// Settled jobs.
    Runs,
}

impl Content {
    /// As it is named in a collection.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notes => "notes",
            Self::Code => "code",
            Self::Runs => "runs",
        }
    }
}

/// A set of vectors that may be compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Collection {
    /// Whose it is, since several nodes may share a store: 1 to 16 of `a-z0-9`.
    pub owner: String,
    /// Of what.
    pub content: Content,
    /// By which embedder.
    pub embedder: EmbedderId,
}

impl fmt::Display for Collection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.owner, self.content.as_str(), self.embedder)
    }
}

/// The name of a point: the first 16 bytes of SHA-256 over the document's name, a zero byte and the passage's digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PointId(pub u128);

/// A passage's vector.
#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    /// Its name.
    pub id: PointId,
    /// The document that it is of.
    pub document: String,
    /// The digest of the passage's text.
    pub digest: String,
    /// Of length 1.
    pub vector: Vec<f32>,
}

/// A point that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Near {
    /// The point.
    pub id: PointId,
    /// Its document.
    pub document: String,
    /// The digest of its passage.
    pub digest: String,
    /// The cosine to what was searched for, from -1 to 1.
    pub score: f32,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// Not now; the same call may succeed later.
    #[error("the vector store {store} is away: {why}")]
    Away {
        /// Which, without a password.
        store: String,
        /// Why.
        why: String,
    },
    /// Not as things are: it refuses, or what is asked is wrong.
    #[error("the vector store {store} cannot: {why}")]
    Refused {
        /// Which, without a password.
        store: String,
        /// Why, and what to do.
        why: String,
    },
}

/// Keeps vectors and finds the nearest.
///
/// A call that has returned is kept through kill -9 of this process, and is seen by every later one. A collection begins to
/// be with its first point; asking one that is not is no error and finds nothing. Each call waits for no longer than the
/// store's own limit of time, and blocks. A vector of the wrong dimension, of another length than 1 (but for [`check::LENGTH_TOLERANCE`]) or
/// with a number that is not finite, a name that is too long ([`check`] has the limits), or more than [`POINTS_MAX`] points
/// are refused, and then none of the call's points is kept.
pub trait VectorStore: Send + Sync {
    /// What people call it, without a password.
    fn name(&self) -> &str;

    /// Keeps points; one whose id is there already is replaced.
    ///
    /// # Errors
    /// When the store is away or refuses. Some of the points may have been kept when it went away.
    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError>;

    /// Forgets points. One that is not there is no error.
    ///
    /// # Errors
    /// When the store is away or refuses.
    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError>;

    /// The nearest points of these documents, or of all where there is no filter; the nearest first, equals by their id. At
    /// most [`HITS_MAX`].
    ///
    /// # Errors
    /// When the store is away or refuses.
    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError>;

    /// Points in the order of their ids, after one, at most [`POINTS_MAX`] of them; vectors are as they were given, to the
    /// last bit.
    ///
    /// # Errors
    /// When the store is away or refuses.
    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError>;

    /// How many points there are.
    ///
    /// # Errors
    /// When the store is away or refuses.
    fn count(&self, collection: &Collection) -> Result<u64, VectorError>;

    /// The collections of an owner.
    ///
    /// # Errors
    /// When the store is away or refuses.
    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError>;

    /// Forgets a whole collection. One that is not there is no error.
    ///
    /// # Errors
    /// When the store is away or refuses.
    fn remove(&self, collection: &Collection) -> Result<(), VectorError>;
}
