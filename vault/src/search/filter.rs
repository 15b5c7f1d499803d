//! The documents that a query allows, by what is in memory and by the index of words; only what these cannot tell is read.

use std::collections::BTreeSet;

use crate::index::catalog::{Catalog, Entry};
use crate::index::words::{Allowed, IndexError, Words};
use crate::ingest::shared::Serving;
use crate::parse;
use crate::path::VaultPath;
use crate::query::{Document, Query, Scope, Written};
use crate::source::Source;

/// The documents that a query is true of.
///
/// # Errors
/// When the index cannot be read.
pub(super) fn allowed(query: &Query, serving: &Serving) -> Result<Allowed, IndexError> {
    let narrowed = narrow(query, Of::Document, &serving.catalog(), &serving.words)?;
    if narrowed.sure == Sure::Yes {
        return Ok(narrowed.numbers.into_iter().collect());
    }
    let mut allowed = Allowed::default();
    for number in narrowed.numbers {
        // whoever indexes does not wait while documents are read
        let named = serving.catalog().numbered(number).map(|entry| (entry.name.clone(), path(entry)));
        let Some((name, path)) = named else { continue };
        let Some((record, text)) = serving.words.document(&name)? else { continue };
        let is_parsed = path.is_note() && needs_parts(query);
        let note = if is_parsed { parse::note(&Source::from(&*text)) } else { record.note };
        if query.find(Document { path: &path, text: &text, note: &note }).is_some() {
            allowed.insert(number);
        }
    }
    Ok(allowed)
}

/// The path by which a document is asked.
pub(super) fn path(entry: &Entry) -> VaultPath {
    let name = entry.name.trim_start_matches('/');
    VaultPath::new(name).expect("names are paths, or begin with one `/` before one")
}

/// Whether a set is just the documents that a query is true of, or may hold others too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sure {
    Yes,
    No,
}

struct Narrowed {
    numbers: BTreeSet<u64>,
    sure: Sure,
}

impl Narrowed {
    fn exactly(numbers: BTreeSet<u64>) -> Self {
        Self { numbers, sure: Sure::Yes }
    }

    fn among(numbers: BTreeSet<u64>) -> Self {
        Self { numbers, sure: Sure::No }
    }
}

/// Of what a query has to be true.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Document,
    /// A line, block, section or task: what is not in it may be elsewhere in the document.
    Part,
}

fn narrow(query: &Query, of: Of, catalog: &Catalog, words: &Words) -> Result<Narrowed, IndexError> {
    Ok(match query {
        Query::All(queries) => {
            let mut all: Option<Narrowed> = None;
            for query in queries {
                let one = narrow(query, of, catalog, words)?;
                all = Some(match all {
                    None => one,
                    Some(all) => Narrowed {
                        numbers: all.numbers.intersection(&one.numbers).copied().collect(),
                        sure: both(all.sure, one.sure),
                    },
                });
            }
            all.unwrap_or_else(|| Narrowed::exactly(everything(catalog)))
        }
        Query::Any(queries) => {
            let mut any = Narrowed::exactly(BTreeSet::new());
            for query in queries {
                let one = narrow(query, of, catalog, words)?;
                any.numbers.extend(one.numbers);
                any.sure = both(any.sure, one.sure);
            }
            any
        }
        Query::Not(_) if of == Of::Part => Narrowed::among(everything(catalog)),
        Query::Not(query) => {
            let not = narrow(query, of, catalog, words)?;
            match not.sure {
                Sure::Yes => Narrowed::exactly(everything(catalog).difference(&not.numbers).copied().collect()),
                // what may fit may not
                Sure::No => Narrowed::among(everything(catalog)),
            }
        }
        Query::Text(pattern) => {
            let (Written::Word(text) | Written::Phrase(text)) = &pattern.written else {
                return Ok(Narrowed::among(everything(catalog)));
            };
            let Some(mut numbers) = words.may_have(text)? else {
                return Ok(Narrowed::among(everything(catalog)));
            };
            // a name is asked as well
            let named = catalog.entries().filter(|(_, entry)| pattern.regex.is_match(path(entry).name()));
            numbers.extend(named.map(|(number, _)| number));
            Narrowed::among(numbers)
        }
        Query::In(Scope::File | Scope::Path, inner) if is_text(inner) => Narrowed::exactly(by_name(query, catalog)),
        Query::In(Scope::File | Scope::Path, _) => Narrowed::among(everything(catalog)),
        Query::In(_, inner) => Narrowed::among(narrow(inner, Of::Part, catalog, words)?.numbers),
        Query::Tag(tag) => Narrowed::exactly(catalog.tagged(tag)),
        Query::Property(test) => {
            let with = catalog.with_property(&test.name).into_iter();
            let fits = |number: &u64| {
                catalog.numbered(*number).is_some_and(|entry| test.fits(&entry.properties, &path(entry)))
            };
            Narrowed::exactly(with.filter(fits).collect())
        }
    })
}

fn both(one: Sure, other: Sure) -> Sure {
    if one == Sure::Yes && other == Sure::Yes { Sure::Yes } else { Sure::No }
}

fn everything(catalog: &Catalog) -> BTreeSet<u64> {
    catalog.entries().map(|(number, _)| number).collect()
}

/// A query of names alone, asked of each of them.
fn by_name(query: &Query, catalog: &Catalog) -> BTreeSet<u64> {
    let nothing = crate::note::Note::default();
    let fits = |entry: &Entry| query.find(Document { path: &path(entry), text: "", note: &nothing }).is_some();
    catalog.entries().filter(|(_, entry)| fits(entry)).map(|(number, _)| number).collect()
}

/// Whether nothing but text is asked for.
fn is_text(query: &Query) -> bool {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().all(is_text),
        Query::Not(query) => is_text(query),
        Query::Text(_) => true,
        Query::In(..) | Query::Tag(_) | Query::Property(_) => false,
    }
}

/// Whether blocks, sections or tasks are asked for, which the record does not have whole.
fn needs_parts(query: &Query) -> bool {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().any(needs_parts),
        Query::Not(query) => needs_parts(query),
        Query::In(Scope::Block | Scope::Section | Scope::Task(_), _) => true,
        Query::In(_, query) => needs_parts(query),
        Query::Text(_) | Query::Tag(_) | Query::Property(_) => false,
    }
}
