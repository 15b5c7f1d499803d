//! A note's source taken apart: CommonMark by `pulldown-cmark`, and over it what only Obsidian has.
//!
//! Comments may hold anything, so they are found first and are blank for all that follows: blanks of the same length, by
//! which every offset stays one of the file.

mod blocks;
mod comments;
mod inline;
mod properties;
mod target;
#[cfg(test)]
mod tests;

use crate::note::{Block, BlockKind, Note, Warning};
use crate::source::Source;

/// Takes a note apart. It never fails: what is wrong is text, and a warning.
pub fn note(source: &Source) -> Note {
    let mut note = begun(source);
    let text = source.text();
    let start = properties::read(text, source.start(), &mut note);
    let comments = comments::find(text, start);
    let blank = comments::blank(text, &comments);
    let found = blocks::read(&blank, text, start, &mut note);
    inline::read(&blank, start, &found, &mut note);
    note.marks.extend(comments);
    note.marks.sort_by_key(|mark| (mark.span.start, mark.span.end));
    note.links.sort_by_key(|link| (link.span.start, link.span.end));
    note
}

/// Text that is no Markdown: paragraphs between empty lines.
pub fn plain(source: &Source) -> Note {
    let mut note = begun(source);
    let text = source.text();
    let mut at = source.start();
    while at < text.len() {
        let rest = &text[at..];
        // an empty line belongs to what is before it
        let length = rest.find("\n\n").map_or(rest.len(), |found| {
            let empty = rest[found..].len() - rest[found..].trim_start_matches('\n').len();
            found + empty
        });
        note.blocks.push(Block { kind: BlockKind::Paragraph, span: at..at + length });
        at += length;
    }
    note
}

fn begun(source: &Source) -> Note {
    let mut note = Note::default();
    if let Some(first) = source.invalid().first() {
        note.warnings.push(Warning::NotUtf8 { places: source.invalid().len(), first: first.start });
    }
    note
}
