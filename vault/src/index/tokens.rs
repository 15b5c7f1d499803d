//! Text to the words that an index holds.
//!
//! A word is a run of letters, digits and `_`, in lower case and without the accents of the scripts that have case. A name as
//! programs have them is there whole and in its parts. Scripts that are written without spaces are cut in overlapping pairs of
//! characters, so that any part of a run is found. The cut depends on nothing but the characters of the run.

use std::mem;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// Longest word, in bytes; what is longer, such as an encoded file, is cut there.
pub const WORD_BYTES_MAX: usize = 128;

/// A run of characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Piece {
    /// A word, and its parts where it has several.
    Word {
        /// As it is looked up.
        whole: String,
        /// `parse` and `http` of `parseHTTP`; none for what is one word.
        parts: Vec<String>,
    },
    /// A run in a script without spaces.
    Unspaced(Vec<char>),
}

/// The runs of a text, in order.
pub fn pieces(text: &str) -> Vec<Piece> {
    if is_nfc_quick(text.chars()) == IsNormalized::Yes { cut(text.chars()) } else { cut(text.nfc()) }
}

fn cut(characters: impl Iterator<Item = char>) -> Vec<Piece> {
    let mut found = Vec::new();
    let (mut word, mut unspaced) = (Vec::new(), Vec::new());
    for next in characters {
        let kind = kind(next);
        if kind != Kind::Word && !word.is_empty() {
            found.push(in_parts(&mem::take(&mut word)));
        }
        if kind != Kind::Unspaced && !unspaced.is_empty() {
            found.push(Piece::Unspaced(mem::take(&mut unspaced)));
        }
        match kind {
            Kind::Word => word.push(next),
            Kind::Unspaced => unspaced.extend(next.to_lowercase()),
            Kind::Between => {}
        }
    }
    if !word.is_empty() {
        found.push(in_parts(&word));
    }
    if !unspaced.is_empty() {
        found.push(Piece::Unspaced(unspaced));
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Unspaced,
    Between,
}

fn kind(character: char) -> Kind {
    if character.is_ascii() {
        let is_word = character.is_ascii_alphanumeric() || character == '_';
        return if is_word { Kind::Word } else { Kind::Between };
    }
    match character {
        // Thai, Lao, Myanmar, Khmer; kana, Bopomofo and Hangul; ideographs
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3041}'..='\u{318f}'
        | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3ffff}' => Kind::Unspaced,
        other if other.is_alphanumeric() || is_combining_mark(other) => Kind::Word,
        _ => Kind::Between,
    }
}

fn in_parts(word: &[char]) -> Piece {
    let mut parts: Vec<String> = Vec::new();
    let mut start = 0;
    for at in 0..=word.len() {
        let ends = at == word.len() || word[at] == '_' || at > start && is_border(word, at);
        if ends {
            if at > start {
                parts.push(folded(&word[start..at]));
            }
            start = if word.get(at) == Some(&'_') { at + 1 } else { at };
        }
    }
    parts.retain(|part| !part.is_empty());
    if parts.len() < 2 {
        parts.clear();
    }
    Piece::Word { whole: folded(word), parts }
}

/// Whether a part of a name begins here: `aB`, and the last capital of `HTTPResponse`.
fn is_border(word: &[char], at: usize) -> bool {
    let (before, here) = (word[at - 1], word[at]);
    let after_is_small = word.get(at + 1).is_some_and(|next| next.is_lowercase());
    !before.is_uppercase() && here.is_uppercase() || before.is_uppercase() && here.is_uppercase() && after_is_small
}

/// In lower case and without accents, at most [`WORD_BYTES_MAX`] long.
fn folded(word: &[char]) -> String {
    let mut folded = String::with_capacity(word.len());
    for character in word {
        if character.is_ascii() {
            folded.push(character.to_ascii_lowercase());
        } else if has_accents(*character) {
            let plain = character.nfkd().filter(|part| !('\u{300}'..='\u{36f}').contains(part));
            folded.extend(plain.flat_map(char::to_lowercase));
        } else {
            folded.extend(character.to_lowercase());
        }
    }
    folded.truncate(folded.floor_char_boundary(WORD_BYTES_MAX));
    folded
}

/// Latin, Greek and Cyrillic, their marks, and letters that stand for them.
fn has_accents(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{52f}' | '\u{1d00}'..='\u{1fff}' | '\u{2100}'..='\u{214f}' | '\u{fb00}'..='\u{fb06}' | '\u{ff01}'..='\u{ff5e}')
}

/// The tokenizer of every field with words.
#[derive(Clone, Default)]
pub(super) struct WordTokenizer;

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = Tokens;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens {
        let mut words = Vec::new();
        let mut position = 0;
        for piece in pieces(text) {
            match piece {
                Piece::Word { whole, parts } => {
                    words.push((position, whole));
                    words.extend(parts.into_iter().map(|part| (position, part)));
                    position += 1;
                }
                Piece::Unspaced(run) => {
                    words.extend(pairs(&run).into_iter().enumerate().map(|(index, pair)| (position + index, pair)));
                    position += run.len();
                }
            }
        }
        Tokens { words: words.into_iter(), token: Token::default() }
    }
}

/// Each character with the one after it, the last one alone.
fn pairs(run: &[char]) -> Vec<String> {
    (0..run.len()).map(|at| run[at..run.len().min(at + 2)].iter().collect()).collect()
}

/// The words of a text, one after the other. Where they stand in the text is not told: nothing asks.
pub(super) struct Tokens {
    words: std::vec::IntoIter<(usize, String)>,
    token: Token,
}

impl TokenStream for Tokens {
    fn advance(&mut self) -> bool {
        let Some((position, text)) = self.words.next() else { return false };
        self.token.position = position;
        self.token.text = text;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<(usize, String)> {
        let mut tokenizer = WordTokenizer;
        tokenizer.token_stream(text).words.collect()
    }

    fn joined(text: &str) -> String {
        let words = words(text).into_iter().map(|(position, word)| format!("{position}:{word}"));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn text_is_cut_in_words() {
        assert_eq!(joined("The café, naïve ÉCOLE!"), "0:the 1:cafe 2:naive 3:ecole");
        assert_eq!(joined("cafe\u{301} Straße ﬁn Ｗide"), "0:cafe 1:straße 2:fin 3:wide");
        assert_eq!(joined("don't re-run v1.2"), "0:don 1:t 2:re 3:run 4:v1 5:2");
        assert_eq!(joined("Привет ёлка हिन्दी"), "0:привет 1:елка 2:हिन्दी");
        assert_eq!(joined(""), "");
    }

    #[test]
    fn names_of_programs_are_there_whole_and_in_parts() {
        assert_eq!(joined("parseHTTPResponse2"), "0:parsehttpresponse2 0:parse 0:http 0:response2");
        assert_eq!(joined("MAX_RETRY_COUNT x"), "0:max_retry_count 0:max 0:retry 0:count 1:x");
        assert_eq!(joined("__init__ E0382"), "0:__init__ 1:e0382");
    }

    #[test]
    fn scripts_without_spaces_are_cut_in_pairs() {
        assert_eq!(joined("東京都 a"), "0:東京 1:京都 2:都 3:a");
        assert_eq!(joined("ภาษา"), "0:ภา 1:าษ 2:ษา 3:า");
        assert_eq!(joined("Rust言語"), "0:rust 1:言語 2:語");
        assert_eq!(joined("한국어"), "0:한국 1:국어 2:어");
    }

    proptest! {
        /// What is cut out of a word, or of a run, is in one of the words of the whole.
        #[test]
        fn a_part_is_found_in_the_whole(text in "[a-zé東京都 _A-Z0-9]{1,30}", from in 0usize..30, length in 1usize..10) {
            let characters: Vec<char> = text.chars().collect();
            let from = from.min(characters.len() - 1);
            let part: String = characters[from..characters.len().min(from + length)].iter().collect();
            let all = words(&text);
            for piece in pieces(&part) {
                let found = match &piece {
                    Piece::Word { whole, .. } => all.iter().any(|(_, word)| word.contains(whole)),
                    Piece::Unspaced(run) => {
                        let pairs = pairs(run);
                        pairs.iter().all(|pair| all.iter().any(|(_, word)| word.contains(pair)))
                    }
                };
                prop_assert!(found, "{piece:?} in {text:?}");
            }
        }
    }
}
