//! A query in two: what ranks, and what has to be true.

use super::Matching;
use crate::index::words::Wanted;
use crate::query::{Pattern, Query, Scope, Written};

/// A query in its two uses.
pub(super) struct Split<'a> {
    /// What ranks.
    pub wanted: Vec<Wanted>,
    /// What has to be true of a document; none where any may be found.
    pub required: Option<Query>,
    /// What is shown where it is found.
    pub shown: Vec<&'a Pattern>,
    /// Whether all that is wanted is required too, so that what ranks nowhere is found as well.
    pub complete: bool,
}

/// Splits a query. Words that stand free rank, and are required only where all of them are to match; everything else is
/// required, and ranks by the words in it.
pub(super) fn split(query: &Query, matching: Matching) -> Split<'_> {
    let mut split = Split { wanted: Vec::new(), required: None, shown: Vec::new(), complete: true };
    let parts = match query {
        Query::All(parts) => &parts[..],
        one => std::slice::from_ref(one),
    };
    let mut required = Vec::new();
    for part in parts {
        collect(part, &mut split);
        let is_free = matches!(part, Query::Text(Pattern { written: Written::Word(_), .. }));
        if is_free && matching == Matching::Any {
            split.complete = false;
        } else {
            required.push(part.clone());
        }
    }
    split.required = match required.len() {
        0 => None,
        1 => required.pop(),
        _ => Some(Query::All(required)),
    };
    split
}

fn collect<'a>(query: &'a Query, split: &mut Split<'a>) {
    match query {
        Query::All(queries) | Query::Any(queries) => queries.iter().for_each(|query| collect(query, split)),
        // what is asked of a name is not in the text
        Query::In(Scope::File | Scope::Path, _) => {}
        Query::In(_, query) => collect(query, split),
        Query::Text(pattern) => {
            match &pattern.written {
                Written::Word(word) => split.wanted.push(Wanted::Words(word.clone())),
                Written::Phrase(phrase) => split.wanted.push(Wanted::Phrase(phrase.clone())),
                Written::Regex => {}
            }
            split.shown.push(pattern);
        }
        // what is not wanted neither ranks nor is shown; a tag or property has no words of the text
        Query::Not(_) | Query::Tag(_) | Query::Property(_) => {}
    }
}
