//! A source file as a note: its symbols are its headings, so that all that is known of notes is known of it.

use std::sync::Arc;

use super::{Language, Symbol};
use crate::note::{Block, BlockKind, Heading, Note, Property, PropertyValue, Span, Warning};
use crate::parse;
use crate::source::Source;

/// Finds the symbols of a text, or says why it cannot.
pub type FindSymbols = Arc<dyn Fn(Language, &str) -> Result<Vec<Symbol>, String> + Send + Sync>;

/// Symbols that are shorter, in bytes, share a passage with those beside them.
const SMALL_BYTES: usize = 240;
/// The property that has the language.
const LANGUAGE: &str = "language";

/// The note. It never fails: without symbols it is a text in paragraphs, with a warning.
pub fn note(language: Language, source: &Source, find: &FindSymbols) -> Note {
    let mut note = parse::plain(source);
    let text = source.text();
    let value = PropertyValue::Text(language.name().to_owned());
    note.properties.push(Property { name: LANGUAGE.to_owned(), value, span: 0..0 });
    match find(language, text) {
        Ok(symbols) if symbols.is_empty() => {}
        Ok(symbols) => {
            note.headings = symbols.iter().map(heading).collect();
            note.blocks = blocks(text, source.start(), &symbols);
        }
        Err(why) => note.warnings.push(Warning::Symbols { why }),
    }
    note
}

fn heading(symbol: &Symbol) -> Heading {
    let kind = symbol.kind.as_str();
    let is_said = symbol.name.starts_with(kind);
    let text = if is_said { symbol.name.clone() } else { format!("{kind} {}", symbol.name) };
    Heading { level: symbol.level, text, span: symbol.span.start..symbol.name_span.end }
}

/// The text in blocks that begin where symbols do: of each that is large its first line and the rest, since a passage begins
/// with a heading and keeps to it.
fn blocks(text: &str, start: usize, symbols: &[Symbol]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut push = |kind: BlockKind, span: Span| {
        if !span.is_empty() {
            blocks.push(Block { kind, span });
        }
    };
    push(BlockKind::Paragraph, start..symbols[0].span.start);
    for (at, symbol) in symbols.iter().enumerate() {
        let next = symbols.get(at + 1);
        let span = symbol.span.start..next.map_or(text.len(), |next| next.span.start);
        let holds_next = next.is_some_and(|next| next.level > symbol.level);
        if span.len() < SMALL_BYTES && !holds_next {
            push(BlockKind::Paragraph, span);
            continue;
        }
        let line = text[symbol.name_span.end.min(span.end)..span.end].find('\n');
        let first = line.map_or(span.end, |line| symbol.name_span.end + line + 1);
        // what comes next would not belong to it otherwise
        let first = if text[first..span.end].trim().is_empty() { span.end } else { first };
        push(BlockKind::Heading, span.start..first);
        push(BlockKind::Paragraph, first..span.end);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::{BYTES_MAX, symbols};
    use super::*;
    use crate::chunk;

    fn find() -> FindSymbols {
        Arc::new(|language, text| Ok(symbols(language, text)))
    }

    /// A function is a passage that says where it is; small ones share one; nothing is lost.
    #[test]
    fn a_function_is_a_passage() {
        let body = "    let answer = question.iter().filter(|word| word.is_known()).map(Word::meaning).sum::<u64>();\n"
            .repeat(4);
        let text = format!(
            "//! Answers.\nuse a::b;\n\nconst A: u8 = 1;\nconst B: u8 = 2;\n\nimpl Oracle {{\n    /// Answers.\n    fn answer(&self) {{\n{body}    }}\n\n    fn ask(&self) {{\n{body}    }}\n}}\n"
        );
        let note = note(Language::Rust, &Source::from(&*text), &find());
        let passages = chunk::passages(&text, &note);
        let shown: Vec<(String, &str)> = passages
            .iter()
            .map(|passage| (passage.headings.join(" > "), text[passage.span.clone()].lines().next().unwrap()))
            .collect();
        assert_eq!(shown[0], (String::new(), "//! Answers."));
        assert_eq!(shown[1].0, "impl Oracle");
        assert!(shown[1].1.starts_with("impl Oracle"), "{shown:?}");
        assert_eq!(shown[2], ("impl Oracle > method ask".to_owned(), "fn ask(&self) {"));
        assert_eq!((shown.len(), note.property("language").unwrap().value.texts()), (3, vec!["rust"]));
        let together: usize = passages.iter().map(|passage| passage.span.len()).sum();
        assert!(together + 16 > text.len(), "{together} of {}", text.len());
    }

    /// What has no symbols, or whose symbols cannot be found, is text.
    #[test]
    fn what_has_no_symbols_is_text() {
        let long = "x\n".repeat(BYTES_MAX);
        for (language, text) in
            [(Language::Other("toml"), "a = 1\n\nb = 2\n"), (Language::Rust, &long), (Language::Go, "")]
        {
            let note = note(language, &Source::from(text), &find());
            assert!(note.headings.is_empty() && note.warnings.is_empty());
            assert_eq!(note.blocks.last().map_or(0, |block| block.span.end), text.len());
        }
        let fails: FindSymbols = Arc::new(|_, _| Err("it ended".to_owned()));
        let note = note(Language::Rust, &Source::from("fn a() {}"), &fails);
        assert_eq!(note.warnings[0].to_string(), "the symbols are not known: it ended");
    }
}
