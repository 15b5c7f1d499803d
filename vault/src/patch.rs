//! A precise change of a note: of one section, block or property, and of no other byte.

mod property;
#[cfg(test)]
mod tests;

use crate::links::heading_key;
use crate::note::{Note, Span};
use crate::rename::Edit;
use crate::source::Source;

pub use property::Value;

/// What is changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// What stands below a heading, down to the next one of its level; named by the headings that it lies in, and its own.
    Heading(Vec<String>),
    /// The block with an id, which it keeps.
    Block(String),
}

/// What is done with text at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is there instead.
    Replace(String),
    /// It comes first.
    Prepend(String),
    /// It comes last.
    Append(String),
}

/// Why a change cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatchError {
    /// No heading is called so.
    #[error("there is no heading {wanted}; the note has {}", listed(.known))]
    NoHeading {
        /// What was asked for.
        wanted: String,
        /// The headings that there are.
        known: Vec<String>,
    },
    /// No block has the id.
    #[error("there is no block ^{wanted}; the note has {}", listed(.known))]
    NoBlock {
        /// What was asked for.
        wanted: String,
        /// The ids that there are.
        known: Vec<String>,
    },
    /// The properties are no YAML, so none of them can be told from the others.
    #[error("the properties of the note cannot be read; mend them first")]
    BrokenProperties,
    /// A name or value that a line of YAML cannot hold so that Obsidian reads it again.
    #[error("the property {0} cannot be written so that it is read as it was given")]
    Property(String),
}

fn listed(names: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    match names.len() {
        0 => "none".to_owned(),
        length if length <= SHOWN_MAX => names.join(", "),
        length => format!("{}, and {} more", names[..SHOWN_MAX].join(", "), length - SHOWN_MAX),
    }
}

/// Says what to write for a change of text.
///
/// # Errors
/// When the place is not in the note.
pub fn text(source: &Source, note: &Note, place: &Place, change: &Change) -> Result<Edit, PatchError> {
    match place {
        Place::Heading(path) => section(source, note, path, change),
        Place::Block(id) => block(source, note, id, change),
    }
}

/// Says what to write for a property to have a value, or for it to be gone.
///
/// # Errors
/// When the properties cannot be read, or the value cannot be written.
pub fn property(source: &Source, note: &Note, name: &str, value: Option<&Value>) -> Result<Edit, PatchError> {
    property::edit(source, note, name, value)
}

/// The line end that a note has: that of its first line.
fn line_end(source: &Source) -> &'static str {
    match source.text().find('\n') {
        Some(at) if source.text()[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The text with the note's line ends, and one at its end.
fn lines(source: &Source, text: &str) -> String {
    let end = line_end(source);
    let mut lines: String = text.lines().collect::<Vec<_>>().join(end);
    if !lines.is_empty() {
        lines.push_str(end);
    }
    lines
}

fn section(source: &Source, note: &Note, path: &[String], change: &Change) -> Result<Edit, PatchError> {
    let Some(heading) = find_heading(note, path) else {
        let known = note.headings.iter().map(|heading| heading.text.clone()).collect();
        return Err(PatchError::NoHeading { wanted: path.join(" > "), known });
    };
    let whole = note.section(heading);
    let text = source.text();
    let opens = note.headings[heading].span.end.min(whole.end);
    // the heading's own line end, where the range of the heading leaves it out
    let opens = if text[..opens].ends_with('\n') {
        opens
    } else {
        text[opens..whole.end].find('\n').map_or(whole.end, |length| opens + length + 1)
    };
    let body = opens..whole.end;
    let written = text[body.clone()].trim_end().len();
    let end = body.start + written;
    // a heading at the end of a file may have no line end
    let before = if text[..body.start].ends_with('\n') || body.start == 0 { "" } else { line_end(source) };
    Ok(match change {
        Change::Replace(new) => {
            let gap = if whole.end < text.len() && !new.is_empty() { line_end(source) } else { "" };
            Edit { span: body, text: format!("{before}{}{gap}", lines(source, new)) }
        }
        Change::Prepend(new) => Edit { span: body.start..body.start, text: format!("{before}{}", lines(source, new)) },
        Change::Append(new) => {
            let after_line = text[..end].ends_with('\n') || end == 0;
            let before = if after_line { "" } else { line_end(source) };
            let added = lines(source, new);
            // what follows on the line, and the empty lines before the next heading, stay
            let added = if text[end..].starts_with(['\n', '\r']) {
                added.trim_end_matches(['\r', '\n']).to_owned()
            } else {
                added
            };
            Edit { span: end..end, text: format!("{before}{added}") }
        }
    })
}

/// The heading at the end of a path, each of which lies in the section of the one before.
fn find_heading(note: &Note, path: &[String]) -> Option<usize> {
    let mut within: Option<Span> = None;
    let mut found = None;
    let mut from = 0;
    for wanted in path {
        let wanted = heading_key(wanted);
        let at = (from..note.headings.len()).find(|index| {
            heading_key(&note.headings[*index].text) == wanted
                && within.as_ref().is_none_or(|within| note.section(*index).end <= within.end)
        })?;
        within = Some(note.section(at));
        (found, from) = (Some(at), at + 1);
    }
    found
}

fn block(source: &Source, note: &Note, id: &str, change: &Change) -> Result<Edit, PatchError> {
    let Some(named) = note.block_ids.iter().find(|known| known.id.eq_ignore_ascii_case(id)) else {
        let known = note.block_ids.iter().map(|id| format!("^{}", id.id)).collect();
        return Err(PatchError::NoBlock { wanted: id.to_owned(), known });
    };
    // an id in the block stays at its end; one below it is not touched
    let inside = named.block.start <= named.span.start && named.span.end <= named.block.end;
    let end = if inside { named.span.start } else { named.block.end };
    let text = source.text();
    let words = named.block.start..named.block.start + text[named.block.start..end].trim_end().len();
    let new = |text: &str| lines(source, text).trim_end_matches(['\r', '\n']).to_owned();
    let end = line_end(source);
    Ok(match change {
        Change::Replace(text) => Edit { span: words, text: new(text) },
        Change::Prepend(text) => Edit { span: words.start..words.start, text: format!("{}{end}", new(text)) },
        Change::Append(text) => Edit { span: words.end..words.end, text: format!("{end}{}", new(text)) },
    })
}
