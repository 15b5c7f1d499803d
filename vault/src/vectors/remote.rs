//! What the stores of other products share: waiting with a limit, names, and a search that is made exact where it can be.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::check::{Check, cosine};
use super::milvus::MilvusStore;
use super::postgres::PostgresStore;
use super::url::StoreUrl;
use super::weaviate::WeaviateStore;
use super::{Collection, Near, Point, VectorError, VectorStore};

/// How long a connection may take, in milliseconds.
pub const CONNECT_MS: u64 = 2_000;
/// How long a search may take.
pub const SEARCH_MS: u64 = 5_000;
/// How long any other call may take: a product may build an index in it.
pub const CALL_MS: u64 = 30_000;
/// Most documents that are named to a product's own filter; with more, the filter is applied here.
pub const FILTER_DOCUMENTS_MAX: usize = 500;
/// Hits that are asked for beyond those wanted, since a product leaves it to chance which of equals it names.
const SPARE_HITS: usize = 16;
/// By how much a search is widened while too few of its hits are of the documents asked for.
const WIDEN_BY: usize = 4;
/// Hits that are asked for at most: what the products give out at once by themselves.
pub const WIDEN_HITS_MAX: usize = 10_000;

/// Opens a store by its URL, for the threads of a runtime to wait on. It is not asked anything yet.
///
/// # Errors
/// When the URL names what cannot be.
pub fn open(url: &StoreUrl, handle: Handle) -> Result<Box<dyn VectorStore>, VectorError> {
    match url {
        StoreUrl::Postgres { secret, .. } => Ok(Box::new(PostgresStore::new(secret, url.to_string(), handle)?)),
        StoreUrl::Weaviate { base } => Ok(Box::new(WeaviateStore::new(base, url.to_string(), handle)?)),
        StoreUrl::Milvus { address, login, database } => {
            Ok(Box::new(MilvusStore::new(address, login.as_ref(), database, url.to_string(), handle)?))
        }
    }
}

/// The way to a product, and what it is called.
pub struct Remote {
    /// What people call it, without a password.
    pub name: String,
    handle: Handle,
}

/// What a product is asked to find.
pub struct Ask<'a> {
    /// How many hits.
    pub hits: usize,
    /// The keys of the documents that they are of; none for any.
    pub documents: Option<&'a [String]>,
}

impl Remote {
    /// A way by this runtime, which has threads of its own.
    pub fn new(name: String, handle: Handle) -> Self {
        Self { name, handle }
    }

    /// What every call is checked by.
    pub fn check(&self) -> Check<'_> {
        Check { store: &self.name }
    }

    /// Waits for an answer. Not to be called from a task of the runtime: it blocks.
    pub fn wait<T>(
        &self,
        limit_ms: u64,
        answer: impl Future<Output = Result<T, VectorError>>,
    ) -> Result<T, VectorError> {
        let limit = Duration::from_millis(limit_ms);
        // the timer wants to be made within the runtime
        let answer = self.handle.block_on(async { timeout(limit, answer).await });
        answer.unwrap_or_else(|_| Err(self.check().away(format!("it did not answer in {limit_ms} ms"))))
    }

    /// The nearest by what a product finds: its hits are compared anew by their full vectors, so that scores and their order
    /// are those of every other store.
    pub fn search(
        &self,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
        mut ask: impl FnMut(Ask<'_>) -> Result<Vec<Point>, VectorError>,
    ) -> Result<Vec<Near>, VectorError> {
        let Some(documents) = documents else {
            return Ok(nearest(vector, limit, ask(Ask { hits: limit + SPARE_HITS, documents: None })?));
        };
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = |points: Vec<Point>| {
            points.into_iter().filter(|point| documents.contains(&point.document)).collect::<Vec<_>>()
        };
        if documents.len() <= FILTER_DOCUMENTS_MAX {
            let keys: Vec<String> = documents.iter().map(|document| document_key(document)).collect();
            let points = ask(Ask { hits: limit + SPARE_HITS, documents: Some(&keys) })?;
            return Ok(nearest(vector, limit, wanted(points)));
        }
        let mut hits = (WIDEN_BY * (limit + SPARE_HITS)).min(WIDEN_HITS_MAX);
        loop {
            let points = ask(Ask { hits, documents: None })?;
            let all = points.len() < hits || hits == WIDEN_HITS_MAX;
            let points = wanted(points);
            if all || points.len() >= limit {
                return Ok(nearest(vector, limit, points));
            }
            hits = (WIDEN_BY * hits).min(WIDEN_HITS_MAX);
        }
    }
}

/// What a document is filtered by: letters and digits, whatever its name is, so that no product's syntax matters.
pub fn document_key(document: &str) -> String {
    hex(&Sha256::digest(document.as_bytes())[..16])
}

/// A name for a collection that every product takes: 10 to 60 letters, digits and underscores, the first of them `first`.
/// Two collections have two names, as surely as two texts have two digests.
pub fn collection_name(first: &str, collection: &Collection) -> String {
    let digest = hex(&Sha256::digest(collection_json(collection).as_bytes())[..12]);
    format!("{first}_{}_{}_{digest}", collection.owner, collection.content.as_str())
}

/// A collection as it is kept beside its vectors, to be read back.
pub fn collection_json(collection: &Collection) -> String {
    serde_json::to_string(collection).expect("a collection is plain data")
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // writing to a string does not fail
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

fn nearest(vector: &[f32], limit: usize, points: Vec<Point>) -> Vec<Near> {
    let near = |point: Point| {
        let score = cosine(vector, &point.vector);
        Near { id: point.id, document: point.document, digest: point.digest, score }
    };
    let mut near: Vec<Near> = points.into_iter().map(near).collect();
    near.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.id.cmp(&right.id)));
    near.truncate(limit);
    near
}
