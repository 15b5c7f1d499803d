//! Whether a note is what was searched for, and where in it.

use std::ops::Range;

use super::{Done, Pattern, PropertyTest, Query, Scope, ValueTest};
use crate::note::{Note, Property, PropertyValue, Span};
use crate::path::{VaultPath, key};

/// A note that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Where it is.
    pub path: &'a VaultPath,
    /// Its text.
    pub text: &'a str,
    /// What was read of it.
    pub note: &'a Note,
}

/// What was found in a note.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hit {
    /// Where it is in the text, in order.
    pub spans: Vec<Span>,
}

impl Query {
    /// What the query finds in a note; none where the note is not what it asks for.
    pub fn find(&self, document: Document<'_>) -> Option<Hit> {
        let mut spans = Vec::new();
        if !fits(self, document, Where::Anywhere, &mut spans) {
            return None;
        }
        spans.sort_by_key(|span| (span.start, span.end));
        spans.dedup();
        Some(Hit { spans })
    }
}

/// Where text is looked for.
#[derive(Clone)]
enum Where<'a> {
    /// In the text, and in the file's name.
    Anywhere,
    /// In the name alone, or the path.
    Name(&'a str),
    /// In these bytes of the text.
    Within(Range<usize>),
}

/// Whether the query fits; the places are added where it does.
fn fits(query: &Query, document: Document<'_>, place: Where<'_>, spans: &mut Vec<Span>) -> bool {
    let before = spans.len();
    let fit = match query {
        Query::All(all) => all.iter().all(|query| fits(query, document, place.clone(), spans)),
        Query::Any(any) => {
            let mut fit = false;
            // each of them is shown
            for query in any {
                fit |= fits(query, document, place.clone(), spans);
            }
            fit
        }
        Query::Not(query) => !fits(query, document, place, &mut Vec::new()),
        Query::Text(pattern) => text(pattern, document, place, spans),
        Query::In(scope, query) => within(*scope, query, document, place, spans),
        Query::Tag(tag) => tagged(tag, document, place, spans),
        Query::Property(test) => test.fits(&document.note.properties, document.path),
    };
    if !fit {
        spans.truncate(before);
    }
    fit
}

fn text(pattern: &Pattern, document: Document<'_>, place: Where<'_>, spans: &mut Vec<Span>) -> bool {
    let range = match place {
        Where::Name(name) => return pattern.regex.is_match(name),
        Where::Anywhere => 0..document.text.len(),
        Where::Within(range) => range,
    };
    let is_whole = range == (0..document.text.len());
    let found = pattern.regex.find_iter(&document.text[range.clone()]);
    let before = spans.len();
    spans.extend(found.map(|found| range.start + found.start()..range.start + found.end()));
    spans.len() > before || (is_whole && pattern.regex.is_match(document.path.name()))
}

fn within(scope: Scope, query: &Query, document: Document<'_>, place: Where<'_>, spans: &mut Vec<Span>) -> bool {
    let around = match &place {
        Where::Within(range) => range.clone(),
        Where::Anywhere | Where::Name(_) => 0..document.text.len(),
    };
    let parts: Vec<Range<usize>> = match scope {
        Scope::File => return fits(query, document, Where::Name(document.path.name()), spans),
        Scope::Path => return fits(query, document, Where::Name(document.path.as_str()), spans),
        // a name is no content, so it is not asked
        Scope::Content => {
            let before = spans.len();
            return fits(query, document, place, spans) && (spans.len() > before || !has_text(query));
        }
        Scope::Line => lines(document.text),
        Scope::Block => blocks(document),
        Scope::Section => sections(document),
        Scope::Task(done) => {
            let tasks = document.note.tasks.iter().filter(|task| match done {
                Done::Any => true,
                Done::Open => task.status == ' ',
                Done::Closed => task.status != ' ',
            });
            tasks.map(|task| task.span.clone()).collect()
        }
    };
    let inner = parts.into_iter().filter(|part| around.start <= part.start && part.end <= around.end);
    let mut fit = false;
    for part in inner {
        fit |= fits(query, document, Where::Within(part), spans);
    }
    fit
}

/// Whether something has to be found in the text for the query to fit.
fn has_text(query: &Query) -> bool {
    match query {
        Query::Text(_) => true,
        Query::All(all) => all.iter().any(has_text),
        Query::Any(any) => any.iter().all(has_text),
        Query::In(_, query) => has_text(query),
        Query::Not(_) | Query::Tag(_) | Query::Property(_) => false,
    }
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        let begin = at;
        at += line.len();
        begin..begin + line.trim_end_matches(['\r', '\n']).len()
    });
    lines.collect()
}

/// The blocks, a list being one.
fn blocks(document: Document<'_>) -> Vec<Range<usize>> {
    document.note.blocks.iter().map(|block| block.span.clone()).collect()
}

/// The text between one heading and the next.
fn sections(document: Document<'_>) -> Vec<Range<usize>> {
    let begin = document.note.front_matter.as_ref().map_or(0, |front_matter| front_matter.end);
    let starts: Vec<usize> =
        std::iter::once(begin).chain(document.note.headings.iter().map(|heading| heading.span.start)).collect();
    let ends = starts[1..].iter().copied().chain([document.text.len()]);
    starts.iter().zip(ends).map(|(start, end)| *start..end).filter(|section| !section.is_empty()).collect()
}

fn tagged(tag: &str, document: Document<'_>, place: Where<'_>, spans: &mut Vec<Span>) -> bool {
    let is = |name: &str| {
        let name = key(name);
        name == tag || name.strip_prefix(tag).is_some_and(|rest| rest.starts_with('/'))
    };
    let within = match place {
        Where::Within(range) => Some(range),
        Where::Anywhere | Where::Name(_) => None,
    };
    let here = |span: &Span| within.as_ref().is_none_or(|range| range.start <= span.start && span.end <= range.end);
    let before = spans.len();
    let tags = document.note.tags.iter().filter(|tag| is(&tag.name) && here(&tag.span));
    spans.extend(tags.map(|tag| tag.span.clone()));
    spans.len() > before || (within.is_none() && document.note.property_tags().into_iter().any(is))
}

impl PropertyTest {
    /// Whether one of the properties is what is asked for; the path is of their note.
    pub(crate) fn fits(&self, properties: &[Property], path: &VaultPath) -> bool {
        let Some(property) = properties.iter().find(|property| key(&property.name) == self.name) else {
            return false;
        };
        let value = &property.value;
        match &self.value {
            None => true,
            Some(ValueTest::Null) => matches!(value, PropertyValue::Empty),
            Some(ValueTest::Less(than)) => compared(value, than, std::cmp::Ordering::Less),
            Some(ValueTest::Greater(than)) => compared(value, than, std::cmp::Ordering::Greater),
            Some(ValueTest::Fits(query)) => {
                // a value is asked like a name: there is no text around it
                let nothing = Note::default();
                let document = Document { path, text: "", note: &nothing };
                let texts = texts(value);
                texts.iter().any(|text| fits(query, document, Where::Name(text), &mut Vec::new()))
            }
        }
    }
}

/// Numbers by their value; dates and moments, which sort as they are written, by their text.
fn compared(value: &PropertyValue, than: &str, wanted: std::cmp::Ordering) -> bool {
    match value {
        PropertyValue::Number(number) => {
            than.parse::<f64>().is_ok_and(|than| number.partial_cmp(&than) == Some(wanted))
        }
        PropertyValue::Date(date) | PropertyValue::DateTime(date) => {
            than.starts_with(|first: char| first.is_ascii_digit()) && date.as_str().cmp(than) == wanted
        }
        PropertyValue::List(values) => values.iter().any(|value| compared(value, than, wanted)),
        PropertyValue::Empty | PropertyValue::Checkbox(_) | PropertyValue::Text(_) | PropertyValue::Other => false,
    }
}

/// A value as it is asked for by words.
fn texts(value: &PropertyValue) -> Vec<String> {
    match value {
        PropertyValue::Checkbox(checked) => vec![checked.to_string()],
        PropertyValue::Number(number) => vec![number.to_string()],
        PropertyValue::List(values) => values.iter().flat_map(texts).collect(),
        PropertyValue::Text(text) | PropertyValue::Date(text) | PropertyValue::DateTime(text) => vec![text.clone()],
        PropertyValue::Empty | PropertyValue::Other => Vec::new(),
    }
}
