//! Pushed documents, passages and vectors as lines of JSON, to be kept or taken into another node and another store.
//!
//! The first line says of what they are; then each document in the order of the names, and after it its passages. A file of
//! the vault has its passages and vectors only: its text is in the vault. What was taken in gives the same bytes again, where
//! the same vault is indexed and the same embedder configured.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::documents::{Document, Documents, DocumentsError};
use crate::embed::EmbedderId;
use crate::embed::cache::{Cache, CacheError};
use crate::index::record::{Privacy, Record};
use crate::index::words::IndexError;
use crate::ingest::shared::Serving;
use crate::ingest::worker::WorkerError;
use crate::meaning::Ready;
use crate::note::Span;
use crate::path::VaultPath;
use crate::vectors::check::LENGTH_TOLERANCE;
use crate::vectors::{POINTS_MAX, VectorError};

/// What the first line says, so that nothing else is taken for it.
const FORMAT: &str = "rhizome-vault";
/// The form of the lines.
const VERSION: u32 = 1;
/// Longest line, in bytes: a document whose every byte is escaped.
pub const LINE_BYTES_MAX: usize = 64 << 20;
/// Documents, and vectors, that are kept together, and how many bytes of lines at most, but for the last.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 32 << 20;
/// Most numbers of a vector.
const DIMENSION_MAX: usize = 16_384;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Head {
    format: String,
    version: u32,
    /// Whose vectors they are; none where there are none.
    embedder: Option<EmbedderId>,
}

/// A line after the first.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    Document(DocumentLine),
    Passage(PassageLine),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DocumentLine {
    name: String,
    title: String,
    digest: String,
    privacy: Privacy,
    tags: BTreeSet<String>,
    /// As it was pushed; none of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed: Option<Document>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PassageLine {
    digest: String,
    span: Span,
    headings: Vec<String>,
    block: Option<String>,
    /// The numbers, four bytes each with the lowest first, in base64.
    vector: Option<String>,
}

/// How much was written or taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Documents, files of the vault among them.
    pub documents: u64,
    /// Those that were pushed.
    pub pushed: u64,
    /// Passages.
    pub passages: u64,
    /// Those with a vector.
    pub vectors: u64,
}

/// Why something is not written or taken.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A line is none of ours.
    #[error("line {line}: {why}")]
    Line {
        /// Which; the first is 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// The other end.
    #[error("the lines: {0}")]
    Lines(#[from] io::Error),
    /// The documents.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The vectors.
    #[error(transparent)]
    Vectors(#[from] VectorError),
    /// What was embedded before.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Pushed documents are kept and not searchable yet.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// What is written.
pub struct Export<'a> {
    /// What is indexed.
    pub serving: &'a Serving,
    /// What was pushed.
    pub documents: &'a Documents,
    /// The vectors; none where there are none.
    pub vectors: Option<(&'a Ready, &'a Arc<Cache>)>,
}

/// Writes all lines.
///
/// # Errors
/// When something cannot be read or written.
pub fn export(export: &Export<'_>, out: &mut impl Write) -> Result<Counts, TransferError> {
    let embedder = export.vectors.map(|(ready, _)| ready.embedder.id().clone());
    write(out, &Head { format: FORMAT.to_owned(), version: VERSION, embedder })?;
    let mut counts = Counts::default();
    let names: Vec<String> = {
        let catalog = export.serving.catalog();
        catalog.below("").map(|entry| entry.name.clone()).collect()
    };
    let elsewhere = match export.vectors {
        Some((ready, cache)) => not_cached(export.serving, ready, cache)?,
        None => BTreeMap::new(),
    };
    for name in names {
        // what went meanwhile is not written
        let Some((record, _)) = export.serving.words.document(&name)? else { continue };
        let pushed = name.strip_prefix(export.documents.begin()).and_then(|id| VaultPath::new(id).ok());
        let pushed = pushed.map(|id| export.documents.get(&id)).transpose()?.flatten();
        counts.pushed += u64::from(pushed.is_some());
        counts.documents += 1;
        let vectors = match export.vectors {
            Some((ready, cache)) => vectors_of(&record, ready.embedder.id(), cache)?,
            None => BTreeMap::new(),
        };
        let tags = export.serving.catalog().named(&name).map(|entry| entry.tags.clone()).unwrap_or_default();
        let Record { title, digest, privacy, passages, .. } = record;
        write(out, &Line::Document(DocumentLine { name, title, digest, privacy, tags, pushed }))?;
        for passage in passages {
            let vector = vectors.get(&passage.digest).or_else(|| elsewhere.get(&passage.digest)).map(|it| encoded(it));
            counts.passages += 1;
            counts.vectors += u64::from(vector.is_some());
            let (digest, span, headings, block) = (passage.digest, passage.span, passage.headings, passage.block_id);
            write(out, &Line::Passage(PassageLine { digest, span, headings, block, vector }))?;
        }
    }
    out.flush()?;
    Ok(counts)
}

fn write(out: &mut impl Write, line: &impl Serialize) -> Result<(), TransferError> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

fn vectors_of(
    record: &Record,
    embedder: &EmbedderId,
    cache: &Cache,
) -> Result<BTreeMap<String, Vec<f32>>, TransferError> {
    let digests: Vec<&str> = record.passages.iter().map(|passage| &*passage.digest).collect();
    Ok(cache.get(embedder, &digests)?)
}

/// Vectors that the store has and the cache has no more, by the digests of their passages.
fn not_cached(serving: &Serving, ready: &Ready, cache: &Cache) -> Result<BTreeMap<String, Vec<f32>>, TransferError> {
    let all: Vec<Vec<String>> = serving.catalog().entries().map(|(_, entry)| entry.passages.clone()).collect();
    let mut missing = BTreeSet::new();
    for digests in all {
        let wanted: Vec<&str> = digests.iter().map(String::as_str).collect();
        let known = cache.get(ready.embedder.id(), &wanted)?;
        missing.extend(digests.into_iter().filter(|digest| !known.contains_key(digest)));
    }
    let mut found = BTreeMap::new();
    let mut after = None;
    while found.len() < missing.len() {
        let points = ready.store.page(&ready.collection, after, POINTS_MAX)?;
        let Some(last) = points.last() else { break };
        after = Some(last.id);
        let wanted = points.into_iter().filter(|point| missing.contains(&point.digest));
        found.extend(wanted.map(|point| (point.digest, point.vector)));
    }
    Ok(found)
}

fn encoded(vector: &[f32]) -> String {
    STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

/// Where lines are taken to.
pub struct Import<'a> {
    /// Pushed documents.
    pub documents: &'a Documents,
    /// What was embedded before: whoever keeps vectors finds them there, and asks no embedder.
    pub cache: Option<&'a Cache>,
    /// Told of documents that are kept, and returns when they are searchable.
    pub kept: &'a dyn Fn(Vec<VaultPath>) -> Result<(), WorkerError>,
}

/// What was taken and is not kept yet.
#[derive(Default)]
struct Batch {
    documents: Vec<Document>,
    vectors: Vec<(String, Vec<f32>)>,
    bytes: usize,
}

/// Takes lines. A fault in one leaves what was before it, kept and searchable.
///
/// # Errors
/// When a line is none of ours, or something cannot be stored.
pub fn import(input: &mut impl BufRead, target: &Import<'_>) -> Result<Counts, TransferError> {
    let mut lines = Lines { input, number: 0, line: Vec::new() };
    let head: Head = lines.next()?.ok_or_else(|| lines.wrong("there is nothing; an export begins with its form"))?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(lines.wrong(format!("this is {} {}, and {FORMAT} {VERSION} is read", head.format, head.version)));
    }
    if let Some(embedder) = head.embedder.as_ref().filter(|embedder| !(1..=DIMENSION_MAX).contains(&embedder.dimension))
    {
        return Err(lines.wrong(format!("vectors have 1 to {DIMENSION_MAX} numbers, not {}", embedder.dimension)));
    }
    let mut batch = Batch::default();
    let taken = take(&mut lines, head.embedder.as_ref(), target, &mut batch);
    if !matches!(taken, Err(TransferError::Line { .. } | TransferError::Lines(_)) | Ok(_)) {
        return taken;
    }
    keep(target, head.embedder.as_ref(), &mut batch)?;
    taken
}

fn take(
    lines: &mut Lines<'_, impl BufRead>,
    embedder: Option<&EmbedderId>,
    target: &Import<'_>,
    batch: &mut Batch,
) -> Result<Counts, TransferError> {
    let mut counts = Counts::default();
    while let Some(line) = lines.next::<Line>()? {
        match line {
            Line::Document(line) => {
                // only now have those before it all their passages
                if batch.documents.len() == BATCH || batch.bytes > BATCH_BYTES {
                    keep(target, embedder, batch)?;
                }
                counts.documents += 1;
                if let Some(document) = line.pushed {
                    document.check().map_err(|error| lines.wrong(error.to_string()))?;
                    counts.pushed += 1;
                    batch.documents.push(document);
                }
            }
            Line::Passage(line) => {
                counts.passages += 1;
                if let Some(text) = line.vector {
                    let dimension = embedder.map_or(0, |embedder| embedder.dimension);
                    let vector = decoded(&text, dimension).map_err(|why| lines.wrong(why))?;
                    counts.vectors += 1;
                    batch.vectors.push((line.digest, vector));
                    if batch.vectors.len() == BATCH {
                        keep_vectors(target, embedder, &mut batch.vectors)?;
                    }
                }
            }
        }
        batch.bytes += lines.line.len();
    }
    Ok(counts)
}

fn keep(target: &Import<'_>, embedder: Option<&EmbedderId>, batch: &mut Batch) -> Result<(), TransferError> {
    let Batch { documents, mut vectors, bytes: _ } = std::mem::take(batch);
    // a document is indexed after its vectors are known
    keep_vectors(target, embedder, &mut vectors)?;
    if !documents.is_empty() {
        target.documents.put(&documents)?;
        (target.kept)(documents.into_iter().map(|document| document.id).collect())?;
    }
    Ok(())
}

fn keep_vectors(
    target: &Import<'_>,
    embedder: Option<&EmbedderId>,
    vectors: &mut Vec<(String, Vec<f32>)>,
) -> Result<(), TransferError> {
    let vectors = std::mem::take(vectors);
    if let (Some(cache), Some(embedder)) = (target.cache, embedder) {
        let entries: Vec<(&str, Vec<f32>)> =
            vectors.iter().map(|(digest, vector)| (digest.as_str(), vector.clone())).collect();
        cache.put(embedder, &entries)?;
    }
    Ok(())
}

fn decoded(text: &str, dimension: usize) -> Result<Vec<f32>, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("the vector is no base64: {error}"))?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    let vector: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    if vector.len() != dimension || !rest.is_empty() {
        return Err(format!("the vector has {} bytes, and the embedder's have {}", bytes.len(), dimension * 4));
    }
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    let is_one = (length - 1.0).abs() <= LENGTH_TOLERANCE;
    if is_one { Ok(vector) } else { Err(format!("the vector has the length {length}, not 1")) }
}

/// Lines of JSON, with their numbers.
struct Lines<'a, R> {
    input: &'a mut R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    fn wrong(&self, why: impl Into<String>) -> TransferError {
        TransferError::Line { line: self.number, why: why.into() }
    }

    fn next<T: for<'de> Deserialize<'de>>(&mut self) -> Result<Option<T>, TransferError> {
        self.line.clear();
        self.number += 1;
        let most = LINE_BYTES_MAX as u64 + 1;
        io::Read::take(&mut *self.input, most).read_until(b'\n', &mut self.line)?;
        if self.line.len() > LINE_BYTES_MAX {
            return Err(self.wrong(format!("it is longer than {LINE_BYTES_MAX} bytes")));
        }
        if self.line.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&self.line)
            .map(Some)
            .map_err(|error| self.wrong(format!("it is no line of ours: {error}")))
    }
}
