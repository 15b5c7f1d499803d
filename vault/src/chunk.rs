//! A note in passages: what is found, embedded and cited.
//!
//! A passage keeps to a section, and to whole blocks where they fit; one that is too long is cut where a sentence, a line or
//! a word ends. The same text has the same passages, so that what is known of a passage by its digest is known after a rename.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::note::{BlockKind, Heading, Note, Span};

/// What a passage is meant to have, in bytes: about 250 words, as the smallest of the usual embedders take.
pub const PASSAGE_BYTES: usize = 1_200;
/// What it has at most.
pub const PASSAGE_BYTES_MAX: usize = 2 * PASSAGE_BYTES;

/// A passage of a note.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Passage {
    /// Its bytes, without empty lines around them.
    pub span: Span,
    /// The headings that it lies under, the highest first.
    pub headings: Vec<String>,
    /// The id of its first block that has one.
    pub block_id: Option<String>,
    /// SHA-256 of its text, in hexadecimal.
    pub digest: String,
}

/// The passages of a note, in order. Only what is empty is in none of them.
pub fn passages(text: &str, note: &Note) -> Vec<Passage> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open: Option<Span> = None;
    for block in &note.blocks {
        // a heading begins what belongs to it
        let fits = |open: &Span| block.kind != BlockKind::Heading && block.span.end - open.start <= PASSAGE_BYTES;
        match &mut open {
            // headings that follow each other stay with what they are about
            Some(open)
                if fits(open) || is_headings_only(note, open) && block.span.end - open.start <= PASSAGE_BYTES_MAX =>
            {
                open.end = block.span.end;
            }
            _ => spans.extend(open.replace(block.span.clone())),
        }
    }
    spans.extend(open);
    let parts = spans.into_iter().flat_map(|span| cut(text, span));
    let mut places = Places { note, heading: 0, path: Vec::new() };
    let parts = parts.map(|span| trimmed(text, span)).filter(|span| !span.is_empty());
    parts.map(|span| places.passage(text, span)).collect()
}

fn is_headings_only(note: &Note, span: &Span) -> bool {
    let first = note.blocks.partition_point(|block| block.span.start < span.start);
    let blocks = note.blocks[first..].iter().take_while(|block| block.span.start < span.end);
    blocks.map(|block| block.kind).all(|kind| kind == BlockKind::Heading)
}

/// A span in parts of at most [`PASSAGE_BYTES_MAX`].
fn cut(text: &str, mut span: Span) -> Vec<Span> {
    let mut parts = Vec::new();
    while span.len() > PASSAGE_BYTES_MAX {
        let window = &text[span.start..text.floor_char_boundary(span.start + PASSAGE_BYTES)];
        // not in the first half: parts would be many and small
        let late = text.floor_char_boundary(span.start + PASSAGE_BYTES / 2) - span.start;
        let after = |sign: &str| window[late..].rfind(sign).map(|at| late + at + sign.len());
        let ends = ["\n\n", "\n", ". ", "。", "! ", "? ", "; ", " "];
        let length = ends.into_iter().find_map(after).unwrap_or(window.len());
        parts.push(span.start..span.start + length);
        span.start += length;
    }
    parts.push(span);
    parts
}

fn trimmed(text: &str, span: Span) -> Span {
    let words = &text[span.clone()];
    // indentation is a part of code and of lists
    let empty = words.len() - words.trim_start().len();
    let begin = words[..empty].rfind('\n').map_or(0, |line| line + 1);
    span.start + begin.min(words.trim_end().len())..span.start + words.trim_end().len()
}

/// Where passages lie, which are asked for in order.
struct Places<'a> {
    note: &'a Note,
    /// The first heading that has not been passed.
    heading: usize,
    path: Vec<&'a Heading>,
}

impl Places<'_> {
    fn passage(&mut self, text: &str, span: Span) -> Passage {
        while let Some(heading) =
            self.note.headings.get(self.heading).filter(|heading| heading.span.start <= span.start)
        {
            self.path.retain(|above| above.level < heading.level);
            self.path.push(heading);
            self.heading += 1;
        }
        let ids = &self.note.block_ids;
        let id = ids.get(ids.partition_point(|id| id.span.start < span.start)).filter(|id| id.span.end <= span.end);
        Passage {
            headings: self.path.iter().map(|heading| heading.text.clone()).collect(),
            block_id: id.map(|id| id.id.clone()),
            digest: digest(&text[span.clone()]),
            span,
        }
    }
}

fn digest(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

/// Bytes in lower case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // writing to a string does not fail
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse;
    use crate::source::Source;

    fn read(text: &str) -> Vec<Passage> {
        passages(text, &parse::note(&Source::from(text)))
    }

    fn texts(text: &str) -> Vec<&str> {
        read(text).into_iter().map(|passage| &text[passage.span]).collect()
    }

    #[test]
    fn a_passage_keeps_to_its_section() {
        let text = "---\na: 1\n---\nintro\n\n# One\n## Two\ntext\n\nmore ^id\n\n# Three\n\n";
        assert_eq!(texts(text), ["intro", "# One\n## Two\ntext\n\nmore ^id", "# Three"]);
        let passages = read(text);
        assert_eq!(passages[0].headings, [""; 0]);
        assert_eq!(passages[1].headings, ["One"]);
        assert_eq!(passages[1].block_id.as_deref(), Some("id"));
        assert_eq!(passages[0].digest, "c432b372e0e30267e65e26a12a42c7957ab52e25dfe3c6d4b929213d88965e45");
    }

    #[test]
    fn what_is_long_is_cut_where_something_ends() {
        let sentence = "Ten words are in every one of these long sentences. ";
        let text = sentence.repeat(200);
        let cut = texts(&text);
        assert!(cut.iter().all(|part| part.ends_with('.') && part.len() <= PASSAGE_BYTES_MAX), "{cut:#?}");
        assert!(cut.len() < 2 * text.len() / PASSAGE_BYTES, "{} parts", cut.len());
        let unbroken = "é".repeat(10 * PASSAGE_BYTES);
        assert!(texts(&unbroken).iter().all(|part| part.len() <= PASSAGE_BYTES_MAX));
        let paragraphs = "A paragraph of some words.\n\n".repeat(200);
        assert!(texts(&paragraphs).iter().all(|part| part.len() > PASSAGE_BYTES / 2 || part.len() < 100));
    }

    /// The headings of a passage are found in time that grows with the note.
    #[test]
    fn many_sections_are_many_passages() {
        let text = "# One\ntext ^id\n\n## Two\ntext\n\n".repeat(50_000);
        let passages = read(&text);
        assert_eq!(passages.len(), 100_000);
        assert_eq!(passages[99_999].headings, ["One", "Two"]);
        assert_eq!((&passages[99_998].block_id, &passages[99_999].block_id), (&Some("id".to_owned()), &None));
    }

    proptest! {
        /// Every word is in exactly one passage, and none is too long.
        #[test]
        fn every_word_is_in_a_passage(lines in proptest::collection::vec("(#{1,3} [a-z]{1,9}|[a-zé 。.]{0,300}|- [a-z]{1,40}|)", 0..60)) {
            let text = lines.join("\n");
            let mut at = 0;
            for passage in read(&text) {
                prop_assert!(text[at..passage.span.start].trim().is_empty(), "{text:?}");
                prop_assert!(!passage.span.is_empty() && passage.span.len() <= PASSAGE_BYTES_MAX);
                at = passage.span.end;
            }
            prop_assert!(text[at..].trim().is_empty(), "{text:?}");
        }
    }
}
