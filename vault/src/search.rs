//! Documents by words, by meaning and by structure: filters first, then the ranks of both, fused.

mod excerpt;
mod filter;
mod split;
pub(crate) mod weight;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::embed::{Embedder, Reach};
use crate::fuse::{self, Part, Ranked};
use crate::index::catalog::Catalog;
use crate::index::record::Privacy;
use crate::index::words::{Allowed, IndexError, Wanted};
use crate::ingest::shared::Serving;
use crate::query::{self, QueryError};
use crate::vectors::{Collection, VectorStore};

pub use excerpt::EXCERPT_BYTES;
pub(crate) use excerpt::line_of;

/// Most hits of a search.
pub const LIMIT_MAX: usize = 200;
/// Passages that each way of search ranks, for each hit that is wanted, and at least.
const PASSAGES_A_HIT: usize = 5;
const PASSAGES_MIN: usize = 60;
/// The lists that are fused, and what a rank in each counts.
pub(crate) const BY_WORDS: &str = "words";
pub(crate) const BY_MEANING: &str = "meaning";
pub(crate) const MEANING_WEIGHT: f64 = 1.0;
/// How much the next passage of a document counts to the one before it: what is asked may be said in several places.
const NEXT_PASSAGE: f64 = 0.3;

/// How documents are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// By words and by meaning.
    #[default]
    Hybrid,
    /// By words.
    Keyword,
    /// By meaning.
    Vector,
}

/// Which of the free words of a query a document has to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// Any: they rank.
    #[default]
    Any,
    /// All, as in Obsidian.
    All,
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// In the language of [`crate::query`].
    pub query: &'a str,
    /// How.
    pub mode: Mode,
    /// Which words.
    pub matching: Matching,
    /// How many hits, 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// Whether the query was made from private text, which no other machine may see.
    pub privacy: Privacy,
}

/// What compares by meaning.
#[derive(Clone, Copy)]
pub struct Meaning<'a> {
    /// Where the vectors are.
    pub store: &'a dyn VectorStore,
    /// Whether that is on this machine.
    pub store_reach: Reach,
    /// Which of them.
    pub collection: &'a Collection,
    /// What made them.
    pub embedder: &'a dyn Embedder,
}

/// What was found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The best first.
    pub hits: Vec<Hit>,
    /// How it was searched, which is less than was asked where something is missing.
    pub mode: Mode,
    /// Why it is less.
    pub notices: Vec<String>,
}

/// A document that was found.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// Its name: a path in the vault.
    pub path: String,
    /// The name that is shown.
    pub title: String,
    /// The headings that its best passage lies under.
    pub headings: Vec<String>,
    /// The id of a block in that passage.
    pub block: Option<String>,
    /// The line of the excerpt; the first is 1.
    pub line: usize,
    /// What shows why it was found.
    pub excerpt: String,
    /// SHA-256 of the passage.
    pub digest: String,
    /// Whether it is private.
    pub privacy: Privacy,
    /// The sum of its parts.
    pub score: f64,
    /// What its score consists of.
    pub parts: Vec<Part>,
}

/// Why nothing is searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The query is none.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The limit is none.
    #[error("a search has 1 to {LIMIT_MAX} hits, not {0}")]
    Limit(usize),
    /// The index fails.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The passages of a list in their order, with what it ranked them by.
pub(crate) type Ranks = Vec<(PassageKey, f64)>;

/// A document's number, and which of its passages.
pub(crate) type PassageKey = (u64, usize);

/// What each way of search ranks, before anything is fused.
pub(crate) struct Legs {
    pub words: Ranks,
    pub meaning: Ranks,
    pub mode: Mode,
    pub notices: Vec<String>,
}

/// Finds documents.
///
/// # Errors
/// When the query is none, the limit is none, or the index fails. That meaning cannot be asked, and why `meaning` is none, is
/// no error: it is told.
pub fn search(
    serving: &Serving,
    meaning: Result<Meaning<'_>, String>,
    request: Request<'_>,
) -> Result<Answer, SearchError> {
    if request.limit == 0 || request.limit > LIMIT_MAX {
        return Err(SearchError::Limit(request.limit));
    }
    let query = query::read(request.query)?;
    let split = split::split(&query, request.matching);
    let allowed = match &split.required {
        None => None,
        Some(required) => Some(Arc::new(filter::allowed(required, serving)?)),
    };
    let depth = (request.limit * PASSAGES_A_HIT).max(PASSAGES_MIN);
    let legs = legs(serving, meaning, &split.wanted, allowed.as_ref(), depth, request.mode, request.privacy)?;
    let (by_words, by_meaning) = (summed(&legs.words), best_passages(&legs.meaning));
    let lists = [
        Ranked { name: BY_WORDS, weight: weight::of_words(&split.wanted), items: documents(&by_words) },
        Ranked { name: BY_MEANING, weight: MEANING_WEIGHT, items: documents(&by_meaning) },
    ];
    let mut hits = Vec::new();
    for fused in fuse::fuse(&lists).into_iter().take(request.limit) {
        let best = |list: &[(PassageKey, f64)]| {
            list.iter().find(|((number, _), _)| *number == fused.key).map(|((_, passage), _)| *passage)
        };
        let passage = best(&by_words).or_else(|| best(&by_meaning)).unwrap_or_default();
        let name = serving.catalog().numbered(fused.key).map(|entry| entry.name.clone());
        let Some(name) = name else { continue };
        hits.extend(hit(serving, &name, passage, &split.shown, fused.score, fused.parts)?);
    }
    if let Some(allowed) = allowed.filter(|_| split.complete) {
        let names = latest(&serving.catalog(), &allowed, &hits, request.limit - hits.len());
        for name in names {
            hits.extend(hit(serving, &name, 0, &split.shown, 0.0, Vec::new())?);
        }
    }
    Ok(Answer { hits, mode: legs.mode, notices: legs.notices })
}

/// Ranks passages in each way that was asked for and can be had.
pub(crate) fn legs(
    serving: &Serving,
    meaning: Result<Meaning<'_>, String>,
    wanted: &[Wanted],
    allowed: Option<&Arc<Allowed>>,
    depth: usize,
    mode: Mode,
    privacy: Privacy,
) -> Result<Legs, SearchError> {
    let mut legs = Legs { words: Vec::new(), meaning: Vec::new(), mode, notices: Vec::new() };
    if mode != Mode::Keyword && !wanted.is_empty() {
        match by_meaning(serving, meaning, wanted, allowed, depth, privacy) {
            Ok(ranks) => legs.meaning = ranks,
            Err(why) => {
                legs.notices.push(format!("by words only: {why}"));
                legs.mode = Mode::Keyword;
            }
        }
    }
    if legs.mode != Mode::Vector {
        legs.words = by_words(serving, wanted, allowed, depth)?;
    }
    Ok(legs)
}

fn by_words(
    serving: &Serving,
    wanted: &[Wanted],
    allowed: Option<&Arc<Allowed>>,
    depth: usize,
) -> Result<Ranks, SearchError> {
    let found = serving.words.find(wanted, depth, allowed)?;
    Ok(found.into_iter().map(|found| ((found.number, found.passage), f64::from(found.score))).collect())
}

fn by_meaning(
    serving: &Serving,
    meaning: Result<Meaning<'_>, String>,
    wanted: &[Wanted],
    allowed: Option<&Arc<Allowed>>,
    depth: usize,
    privacy: Privacy,
) -> Result<Ranks, String> {
    let Meaning { store, store_reach, collection, embedder } = meaning?;
    if privacy == Privacy::Private && embedder.reach() == Reach::Remote {
        return Err(format!("the query is private, and {} is on another machine", embedder.id()));
    }
    if privacy == Privacy::Private && store_reach == Reach::Remote {
        return Err(format!("the query is private, and {} is on another machine", store.name()));
    }
    let texts = wanted.iter().map(|(Wanted::Words(text) | Wanted::Phrase(text))| text.as_str());
    let text = texts.collect::<Vec<_>>().join(" ");
    let vectors = embedder.embed(&[&text]).map_err(|error| error.to_string())?;
    let Some(vector) = vectors.first() else { return Err("the embedder gave no vector".to_owned()) };
    let documents: Option<BTreeSet<String>> = allowed.map(|allowed| {
        let catalog = serving.catalog();
        let fit = catalog.entries().filter(|(number, _)| allowed.contains(*number));
        fit.map(|(_, entry)| entry.name.clone()).collect()
    });
    let near = store.search(collection, vector, depth, documents.as_ref()).map_err(|error| error.to_string())?;
    let catalog = serving.catalog();
    let ranks = near.into_iter().filter_map(|near| {
        // what is no longer in the document is not found in it
        let number = catalog.number(&near.document)?;
        let passage = catalog.numbered(number)?.passages.iter().position(|digest| *digest == near.digest)?;
        Some(((number, passage), f64::from(near.score)))
    });
    Ok(ranks.collect())
}

/// The best passage of each document, in order.
fn best_passages(ranks: &Ranks) -> Ranks {
    let mut seen = BTreeSet::new();
    ranks.iter().filter(|((number, _), _)| seen.insert(*number)).copied().collect()
}

/// The best passage of each document, by what all of its passages count together, in order.
fn summed(ranks: &Ranks) -> Ranks {
    let mut sums: BTreeMap<u64, (usize, f64, f64)> = BTreeMap::new();
    for ((number, passage), score) in ranks {
        let (_, sum, share) = sums.entry(*number).or_insert((*passage, 0.0, 1.0));
        *sum += score * *share;
        *share *= NEXT_PASSAGE;
    }
    let mut ranks: Ranks = sums.into_iter().map(|(number, (passage, sum, _))| ((number, passage), sum)).collect();
    // a stable sort keeps the order of the numbers
    ranks.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    ranks
}

fn documents(ranks: &Ranks) -> Vec<(u64, f64)> {
    ranks.iter().map(|((number, _), score)| (*number, *score)).collect()
}

/// What a filter allows beside what is found already: the latest first.
fn latest(catalog: &Catalog, allowed: &Allowed, found: &[Hit], limit: usize) -> Vec<String> {
    let found: BTreeSet<&str> = found.iter().map(|hit| hit.path.as_str()).collect();
    let fit = catalog.entries().filter(|(number, entry)| allowed.contains(*number) && !found.contains(&*entry.name));
    let mut by_time: Vec<(i64, &str)> =
        fit.map(|(_, entry)| (entry.stat.map_or(0, |stat| stat.modified_ns), &*entry.name)).collect();
    by_time.sort_unstable_by_key(|(modified, name)| (Reverse(*modified), *name));
    by_time.into_iter().take(limit).map(|(_, name)| name.to_owned()).collect()
}

/// A hit as it is shown; none where the document went meanwhile.
fn hit(
    serving: &Serving,
    name: &str,
    passage: usize,
    shown: &[&query::Pattern],
    score: f64,
    parts: Vec<Part>,
) -> Result<Option<Hit>, SearchError> {
    let Some((record, text)) = serving.words.shown(name)? else { return Ok(None) };
    let place = record.passages.get(passage).or(record.passages.first());
    let span = place.map_or(0..text.len(), |place| place.span.clone());
    let excerpt = excerpt::excerpt(&text, &span, shown);
    let (headings, block, digest) = match place {
        Some(place) => (place.headings.clone(), place.block_id.clone(), place.digest.clone()),
        None => (Vec::new(), None, record.digest.clone()),
    };
    let (path, title, privacy) = (record.name, record.title, record.privacy);
    Ok(Some(Hit {
        path,
        title,
        headings,
        block,
        line: excerpt.line,
        excerpt: excerpt.text,
        digest,
        privacy,
        score,
        parts,
    }))
}
