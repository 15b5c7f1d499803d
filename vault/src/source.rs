//! The bytes of a note as text of the same length, so that an offset in the one is an offset in the other.

use std::ops::Range;

/// Stands for a byte that is not UTF-8: one byte long, and in no text that people write.
const SUBSTITUTE: char = '\u{1a}';
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// What was read, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    text: String,
    /// Where the bytes were not UTF-8.
    invalid: Vec<Range<usize>>,
}

impl Source {
    /// Reads bytes; each one that is not UTF-8 becomes [U+001A](https://www.unicode.org/charts/PDF/U0000.pdf).
    pub fn new(bytes: Vec<u8>) -> Self {
        let bytes = match String::from_utf8(bytes) {
            Ok(text) => return Self { text, invalid: Vec::new() },
            Err(error) => error.into_bytes(),
        };
        let mut text = String::with_capacity(bytes.len());
        let mut invalid = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            let wrong = chunk.invalid().len();
            if wrong > 0 {
                invalid.push(text.len()..text.len() + wrong);
                text.extend(std::iter::repeat_n(SUBSTITUTE, wrong));
            }
        }
        Self { text, invalid }
    }

    /// The text, as many bytes as were read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text alone.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Where the bytes were not UTF-8, in order.
    pub fn invalid(&self) -> &[Range<usize>] {
        &self.invalid
    }

    /// Where the text begins, after a byte order mark.
    pub fn start(&self) -> usize {
        if self.text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), invalid: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_stay_where_bytes_are_no_text() {
        let source = Source::new(b"a\xff\xfeb\xe2\x82c".to_vec());
        assert_eq!(source.text(), "a\u{1a}\u{1a}b\u{1a}\u{1a}c");
        assert_eq!(source.invalid(), [1..2, 2..3, 4..6]);
        assert_eq!(Source::new("\u{feff}x".into()).start(), 3);
    }
}
