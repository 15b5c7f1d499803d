//! What a context pack is made of: the notes that are named, the passages that a search finds, those that links lead to, and
//! what lies beside them.

use std::collections::{BTreeMap, BTreeSet};

use crate::fuse::{self, Ranked};
use crate::index::catalog::{Catalog, path_of};
use crate::index::record::{Privacy, Record};
use crate::index::words::{IndexError, Wanted};
use crate::ingest::shared::Serving;
use crate::links::Target;
use crate::pack::{self, Budget, Candidate, Origin, Pack, PackError, Private, Request};
use crate::parse;
use crate::path::VaultPath;
use crate::search::{self, Meaning, Mode, PassageKey, SearchError};
use crate::source::Source;

/// Longest text that a pack is asked for by, in bytes; of what is longer the beginning is searched for.
pub const ASK_BYTES_MAX: usize = 16 << 10;
/// Notes that may be named.
pub const NAMED_MAX: usize = 100;
/// Passages that a search gives.
const FOUND_PASSAGES: usize = 60;
/// Documents among those found whose links are followed, and documents that links lead to.
const LINKING_DOCUMENTS: usize = 5;
const LINKED_DOCUMENTS: usize = 30;

/// What a pack is asked for by.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Any text: what is to be done. The notes that it links to are named by it.
    pub text: &'a str,
    /// Notes by their paths, or as a link would name them.
    pub named: &'a [String],
    /// What fits.
    pub budget: Budget,
    /// What becomes of private passages.
    pub private: Private,
    /// Whether the text itself is private.
    pub privacy: Privacy,
}

/// A pack, and what is missing of what could have been in it.
#[derive(Clone, PartialEq, Debug)]
pub struct Made {
    /// The pack.
    pub pack: Pack,
    /// What was not asked, or not found.
    pub notices: Vec<String>,
}

/// Why there is no pack.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// Nothing is named like that.
    #[error("there is no note {0} in the vault; name it by its path, or as a link would")]
    NoNote(String),
    /// Too much is named.
    #[error("{0} notes are named, {NAMED_MAX} are the most")]
    Named(usize),
    /// Nothing is asked for.
    #[error("the pack has neither a text to search for nor a note that is named")]
    Nothing,
    /// The search fails.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The index fails.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// There is no pack of that budget.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Makes a pack. Tokens are counted by `count`.
///
/// # Errors
/// When a note that is named is not there, nothing is asked for, the budget is 0, or the index fails.
pub fn pack(
    serving: &Serving,
    meaning: Result<Meaning<'_>, String>,
    ask: Ask<'_>,
    count: &dyn Fn(&str) -> usize,
) -> Result<Made, ContextError> {
    // before anything is searched for
    if matches!(ask.budget, Budget::Tokens(0) | Budget::Bytes(0)) {
        return Err(PackError::NoBudget.into());
    }
    if ask.named.len() > NAMED_MAX {
        return Err(ContextError::Named(ask.named.len()));
    }
    let text = &ask.text[..ask.text.floor_char_boundary(ASK_BYTES_MAX)];
    if text.trim().is_empty() && ask.named.is_empty() {
        return Err(ContextError::Nothing);
    }
    let named = named(&serving.catalog(), ask.named, text)?;
    let (found, notices) = found(serving, meaning, text, ask.privacy)?;
    let candidates = Gathering { serving, documents: BTreeMap::new() }.candidates(&named, &found)?;
    let request = Request { budget: ask.budget, private: ask.private, candidates: &candidates };
    Ok(Made { pack: pack::pack(request, count)?, notices })
}

/// The documents that are named, in order: those given have to be there, and those that the text links to may be.
fn named(catalog: &Catalog, given: &[String], text: &str) -> Result<Vec<String>, ContextError> {
    let mut named = Vec::new();
    for name in given {
        let found = if catalog.named(name).is_some() {
            Some(name.clone())
        } else {
            linked(catalog, &format!("[[{name}]]")).pop()
        };
        named.push(found.ok_or_else(|| ContextError::NoNote(name.clone()))?);
    }
    named.extend(linked(catalog, text));
    let mut seen = BTreeSet::new();
    named.retain(|name| seen.insert(name.clone()));
    Ok(named)
}

/// The documents that the links of a text lead to, as if it stood at the vault's root.
fn linked(catalog: &Catalog, text: &str) -> Vec<String> {
    let here = VaultPath::new("-").expect("it is a path");
    let links = parse::note(&Source::from(text)).links;
    let targets = links.into_iter().filter_map(|link| match catalog.links().resolve(&here, &link) {
        Target::File { path, .. } => Some(path.as_str().to_owned()),
        Target::External | Target::Unresolved => None,
    });
    targets.filter(|name| catalog.named(name).is_some()).collect()
}

/// Passages that fit a text, the best first.
fn found(
    serving: &Serving,
    meaning: Result<Meaning<'_>, String>,
    text: &str,
    privacy: Privacy,
) -> Result<(Vec<PassageKey>, Vec<String>), ContextError> {
    if text.trim().is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let wanted = [Wanted::Words(text.to_owned())];
    let legs = search::legs(serving, meaning, &wanted, None, FOUND_PASSAGES, Mode::Hybrid, privacy)?;
    let lists = [
        Ranked { name: search::BY_WORDS, weight: search::weight::of_words(&wanted), items: legs.words },
        Ranked { name: search::BY_MEANING, weight: search::MEANING_WEIGHT, items: legs.meaning },
    ];
    let fused = fuse::fuse(&lists).into_iter().take(FOUND_PASSAGES).map(|fused| fused.key);
    Ok((fused.collect(), legs.notices))
}

/// Documents as they are read, each once.
struct Gathering<'a> {
    serving: &'a Serving,
    documents: BTreeMap<String, Option<(Record, String)>>,
}

impl Gathering<'_> {
    fn candidates(&mut self, named: &[String], found: &[PassageKey]) -> Result<Vec<Candidate>, ContextError> {
        let mut candidates = Vec::new();
        let mut taken = BTreeSet::new();
        for name in named {
            for passage in 0..self.passages(name)? {
                self.add(name, passage, Origin::Named, &mut taken, &mut candidates)?;
            }
        }
        let names: Vec<(String, usize)> = {
            let catalog = self.serving.catalog();
            let name = |(number, passage): &PassageKey| Some((catalog.numbered(*number)?.name.clone(), *passage));
            found.iter().filter_map(name).collect()
        };
        for (name, passage) in &names {
            self.add(name, *passage, Origin::Found, &mut taken, &mut candidates)?;
        }
        for name in self.neighbours(named, &names) {
            self.add(&name, 0, Origin::Linked { distance: 1 }, &mut taken, &mut candidates)?;
        }
        let documents: BTreeSet<String> = candidates.iter().map(|candidate| candidate.path.clone()).collect();
        for name in documents {
            for passage in 0..self.passages(&name)? {
                self.add(&name, passage, Origin::Beside, &mut taken, &mut candidates)?;
            }
        }
        Ok(candidates)
    }

    /// The documents that links lead to from what is named and from the best that was found, and those that link there.
    fn neighbours(&self, named: &[String], found: &[(String, usize)]) -> Vec<String> {
        let catalog = self.serving.catalog();
        let mut best = BTreeSet::new();
        let found =
            found.iter().map(|(name, _)| name).filter(|name| best.insert(name.as_str())).take(LINKING_DOCUMENTS);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut neighbours = Vec::new();
        for path in named.iter().chain(found).filter_map(|name| path_of(name)) {
            let out = catalog.links().outgoing(&path).filter_map(|(_, target)| match target {
                Target::File { path, .. } => Some(path),
                Target::External | Target::Unresolved => None,
            });
            let back = catalog.links().backlinks(&path).into_iter().map(|backlink| backlink.from);
            let names = out.chain(back).map(|path| path.as_str().to_owned());
            neighbours.extend(names.filter(|name| catalog.named(name).is_some() && seen.insert(name.clone())));
        }
        neighbours.truncate(LINKED_DOCUMENTS);
        neighbours
    }

    fn passages(&mut self, name: &str) -> Result<usize, IndexError> {
        Ok(self.document(name)?.as_ref().map_or(0, |(record, _)| record.passages.len()))
    }

    fn document(&mut self, name: &str) -> Result<&Option<(Record, String)>, IndexError> {
        if !self.documents.contains_key(name) {
            let document = self.serving.words.document(name)?;
            self.documents.insert(name.to_owned(), document);
        }
        Ok(&self.documents[name])
    }

    fn add(
        &mut self,
        name: &str,
        passage: usize,
        origin: Origin,
        taken: &mut BTreeSet<(String, usize)>,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), IndexError> {
        let Some((record, text)) = self.document(name)? else { return Ok(()) };
        let Some(place) = record.passages.get(passage) else { return Ok(()) };
        if !taken.insert((name.to_owned(), passage)) {
            return Ok(());
        }
        candidates.push(Candidate {
            path: name.to_owned(),
            order: passage,
            span: place.span.clone(),
            line: search::line_of(text, place.span.start),
            headings: place.headings.clone(),
            block: place.block_id.clone(),
            digest: place.digest.clone(),
            text: text[place.span.clone()].to_owned(),
            vector: None,
            privacy: record.privacy,
            origin,
        });
        Ok(())
    }
}
