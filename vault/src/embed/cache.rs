//! What was embedded once: a vector by its embedder and the digest of its text.
//!
//! It is derived, and bounded: the oldest go first.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

use super::{EmbedError, Embedder, EmbedderId};
use crate::derived::{self, Fault, guarded};
use crate::handle::Handle;

/// Embedder and digest to when it was put, and the vector's numbers with a checksum after them, since the engine checks none
/// of its pages while it reads.
const VECTORS: TableDefinition<'_, (&str, &str), (u64, &[u8])> = TableDefinition::new("vectors.2");
/// When it was put to embedder and digest.
const ORDER: TableDefinition<'_, u64, (&str, &str)> = TableDefinition::new("order.2");
/// Vectors that are kept: 800 MB of 384 numbers each.
pub const ENTRIES_MAX: u64 = 500_000;
/// Texts and bytes of text that an embedder is given at once.
const TEXTS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 128 << 10;

/// The cache, in a file.
#[derive(Debug)]
pub struct Cache {
    handle: Handle,
    entries_max: u64,
    next: AtomicU64,
}

/// Why there is no cache. It can be removed and begun anew; then everything is embedded again.
#[derive(Debug, thiserror::Error)]
#[error("the cache of embeddings: {0}")]
pub struct CacheError(String);

impl From<Fault> for CacheError {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

impl Cache {
    /// Opens the cache in a file, or begins it. One that is damaged is put aside.
    ///
    /// # Errors
    /// When the system refuses, or another process has it.
    pub fn open(file: &Path, entries_max: u64) -> Result<Self, CacheError> {
        let open = |file: &Path| {
            let handle = Handle::open(file)?;
            let last = handle.with(|database| {
                let write = database.begin_write()?;
                write.open_table(VECTORS)?;
                let last = write.open_table(ORDER)?.last()?.map(|(number, _)| number.value());
                write.commit()?;
                Ok(last)
            })?;
            Ok(Self { handle, entries_max, next: AtomicU64::new(last.map_or(0, |last| last + 1)) })
        };
        Ok(derived::open(file, open)?)
    }

    /// The vectors of texts, each given with its digest; what is not kept is embedded, and then is. Also how many were.
    ///
    /// # Errors
    /// When the embedder is away or refuses; what it did before is kept. That the cache fails is no error: it is told.
    pub fn embed(&self, embedder: &dyn Embedder, texts: &[(&str, &str)]) -> Result<(Vec<Vec<f32>>, u64), EmbedError> {
        let digests: Vec<&str> = texts.iter().map(|(digest, _)| *digest).collect();
        let mut known = self.get(embedder.id(), &digests).unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing is taken from it");
            BTreeMap::new()
        });
        let mut missing: Vec<(&str, &str)> =
            texts.iter().filter(|(digest, _)| !known.contains_key(*digest)).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        // texts of one length together waste nothing
        missing.sort_by_key(|(_, text)| text.len());
        let embedded = missing.len() as u64;
        while !missing.is_empty() {
            let mut bytes = 0;
            let fits = missing.iter().take(TEXTS_AT_ONCE).take_while(|(_, text)| {
                bytes += text.len();
                bytes <= BYTES_AT_ONCE
            });
            let count = fits.count().max(1);
            let now: Vec<(&str, &str)> = missing.drain(..count).collect();
            let batch: Vec<&str> = now.iter().map(|(_, text)| *text).collect();
            let vectors = checked(embedder, embedder.embed(&batch)?, batch.len())?;
            let entries: Vec<(&str, Vec<f32>)> = now.iter().map(|(digest, _)| *digest).zip(vectors).collect();
            if let Err(error) = self.put(embedder.id(), &entries) {
                tracing::warn!(%error, "nothing is put into it");
            }
            known.extend(entries.into_iter().map(|(digest, vector)| (digest.to_owned(), vector)));
        }
        Ok((digests.iter().map(|digest| known[*digest].clone()).collect(), embedded))
    }

    /// What is kept of these digests.
    ///
    /// # Errors
    /// When the file fails.
    pub fn get(&self, embedder: &EmbedderId, digests: &[&str]) -> Result<BTreeMap<String, Vec<f32>>, CacheError> {
        let name = embedder.to_string();
        let read = |database: &Database| {
            let read = database.begin_read()?;
            let table = read.open_table(VECTORS)?;
            let mut known = BTreeMap::new();
            for digest in digests {
                if let Some(entry) = table.get((name.as_str(), *digest))? {
                    let vector = vector(digest, entry.value().1);
                    known.extend(
                        vector
                            .filter(|vector| vector.len() == embedder.dimension)
                            .map(|vector| ((*digest).to_owned(), vector)),
                    );
                }
            }
            Ok(known)
        };
        Ok(guarded(|| Ok(self.handle.with(read)?))?)
    }

    /// Keeps vectors by their digests, durably.
    ///
    /// # Errors
    /// When the file fails.
    pub fn put(&self, embedder: &EmbedderId, entries: &[(&str, Vec<f32>)]) -> Result<(), CacheError> {
        let name = embedder.to_string();
        let write = |database: &Database| {
            let write = database.begin_write()?;
            {
                let (mut vectors, mut order) = (write.open_table(VECTORS)?, write.open_table(ORDER)?);
                for (digest, vector) in entries {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let mut bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                    bytes.extend(checksum(digest, &bytes).to_le_bytes());
                    let before = vectors.insert((name.as_str(), *digest), (number, bytes.as_slice()))?;
                    let before = before.map(|before| before.value().0);
                    if let Some(before) = before {
                        order.remove(before)?;
                    }
                    order.insert(number, (name.as_str(), *digest))?;
                }
                while vectors.len()? > self.entries_max {
                    let Some((_, oldest)) = order.pop_first()? else { break };
                    let (embedder, digest) = oldest.value();
                    vectors.remove((embedder, digest))?;
                }
            }
            write.commit()?;
            Ok(())
        };
        Ok(guarded(|| Ok(self.handle.with(write)?))?)
    }
}

/// The vector of a row; none where it is not what was written.
fn vector(digest: &str, row: &[u8]) -> Option<Vec<f32>> {
    let (numbers, sum) = row.split_last_chunk::<4>()?;
    let is_whole = checksum(digest, numbers) == u32::from_le_bytes(*sum);
    is_whole.then(|| numbers.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

/// Of the key too, so that a row is not taken for another's.
fn checksum(digest: &str, numbers: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(digest.as_bytes());
    sum.update(numbers);
    sum.finalize()
}

/// The vectors, where they are what an embedder has to give.
fn checked(embedder: &dyn Embedder, vectors: Vec<Vec<f32>>, texts: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
    let dimension = embedder.id().dimension;
    let is_right = |vector: &Vec<f32>| vector.len() == dimension && vector.iter().all(|number| number.is_finite());
    if vectors.len() == texts && vectors.iter().all(is_right) {
        return Ok(vectors);
    }
    let why = format!("it gave other vectors than {texts} of {dimension} numbers each; look at its model");
    Err(EmbedError::Refused { embedder: embedder.id().to_string(), why })
}
