//! The bytes of a document to its record and the text that is indexed.

use sha2::{Digest as _, Sha256};

use super::engine::Reads;
use crate::canvas::{self, Shows};
use crate::chunk;
use crate::code::{self, Language};
use crate::index::record::{Privacy, Record, Stat};
use crate::note::{Note, PropertyValue, Tag};
use crate::parse;
use crate::path::{VaultPath, key};
use crate::source::Source;

/// Where a document comes from.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// Its path; of what is no file of the vault a path that its name is made of.
    pub path: &'a VaultPath,
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub number: u64,
    /// How the file was.
    pub stat: Option<Stat>,
    /// Who may see it by the rules of where it lies, or of who pushed it.
    pub by_rule: Privacy,
    /// Now, in milliseconds of Unix time.
    pub now_ms: u64,
}

/// Reads a document. It never fails: what is wrong has a warning.
pub fn document(read: Read<'_>, bytes: Vec<u8>, reads: &Reads) -> (Record, String) {
    let digest = digest(&bytes);
    let source = Source::new(bytes);
    let (mut note, text) = match (reads, Language::of(read.path.as_str())) {
        (Reads::Code(find), Some(language)) => (code::note(language, &source, find), source.into_text()),
        _ if read.path.is_canvas() => canvas(&source),
        _ => note(read.path, source),
    };
    let privacy = read.by_rule.max(privacy(&note));
    let passages = chunk::passages(&text, &note);
    // where the last one ends is all that is asked of blocks without the text
    note.blocks.drain(..note.blocks.len().saturating_sub(1));
    let record = Record {
        name: read.name.to_owned(),
        number: read.number,
        stat: read.stat,
        digest,
        title: read.path.stem().to_owned(),
        note,
        passages,
        privacy,
        by_rule: read.by_rule,
        indexed_at_ms: read.now_ms,
    };
    (record, text)
}

fn note(path: &VaultPath, source: Source) -> (Note, String) {
    // a base is YAML, and anything else is text too
    let note = if path.is_note() { parse::note(&source) } else { parse::plain(&source) };
    (note, source.into_text())
}

/// A canvas as a text of what is written on it.
fn canvas(source: &Source) -> (Note, String) {
    let canvas = canvas::canvas(source);
    let shown = canvas.nodes.into_iter().map(|node| match node.shows {
        Shows::Text(text) | Shows::Group(text) | Shows::Page(text) => text,
        Shows::File { path, subpath } => path + &subpath.unwrap_or_default(),
        Shows::Other(_) => String::new(),
    });
    let labels = canvas.edges.into_iter().map(|edge| edge.label);
    let pieces: Vec<String> = shown.chain(labels).filter(|text| !text.trim().is_empty()).collect();
    // one that cannot be read is the text that it is
    let text = if canvas.warnings.is_empty() { pieces.join("\n\n") } else { source.text().to_owned() };
    let mut note = parse::plain(&Source::from(&*text));
    note.links = canvas.links;
    note.tags = canvas.tags.into_iter().map(|name| Tag { name, span: 0..0 }).collect();
    note.warnings = canvas.warnings;
    (note, text)
}

/// What the note says of itself: the property `privacy` with the value `private`.
fn privacy(note: &Note) -> Privacy {
    let says = note.properties.iter().filter(|property| key(&property.name) == "privacy");
    let private = says.map(|property| &property.value).any(|value| match value {
        PropertyValue::Text(text) => key(text.trim()) == "private",
        _ => value.texts().iter().any(|text| key(text.trim()) == "private"),
    });
    if private { Privacy::Private } else { Privacy::Open }
}

/// SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    chunk::hexadecimal(&Sha256::digest(bytes))
}
