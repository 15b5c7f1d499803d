//! What is known of words by their language: forms of one word, and words that say little by themselves.
//!
//! The language of a text is not asked: a note has several. The stems are those of
//! [Snowball](https://snowballstem.org/), the lists of small words those of NLTK.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use frostem::{Algorithm, Stemmer};
use tantivy::schema::Field;
use tantivy::{Searcher, TantivyError};

use super::super::tokens::{Piece, pieces};

/// Languages whose small words are known.
const SMALL_WORDS: [&str; 10] = ["en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "ru"];
/// The shortest stem by which words are kin, in characters; shorter ones are of all sorts of words.
const STEM_CHARS_MIN: usize = 3;
/// Words of the dictionary that are compared for one word, and those that are taken.
const COMPARED_MAX: usize = 400;
const KIN_MAX: usize = 8;

static SMALL: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let words = SMALL_WORDS.iter().filter_map(|language| stop_words::lookup(language)).flat_map(|words| words.iter());
    // as the index has them
    words.flat_map(|word| pieces(word)).filter_map(whole).collect()
});

fn whole(piece: Piece) -> Option<String> {
    match piece {
        Piece::Word { whole, .. } => Some(whole),
        Piece::Unspaced(_) => None,
    }
}

/// Whether a word says little by itself, in some language.
pub(super) fn is_small(word: &str) -> bool {
    SMALL.contains(word)
}

/// The stemmers for the script of a word, in the order in which they are asked.
fn algorithms(word: &str) -> &'static [Algorithm] {
    match word.chars().next() {
        Some('a'..='z') => &[Algorithm::English, Algorithm::German, Algorithm::French, Algorithm::Spanish],
        Some('\u{370}'..='\u{3ff}') => &[Algorithm::Greek],
        Some('\u{400}'..='\u{4ff}') => &[Algorithm::Russian],
        _ => &[],
    }
}

/// Other forms of a word that a field has, in order: those of the first language in which there are any, since another one's
/// rules find kin that is none.
pub(super) fn kin(searcher: &Searcher, field: Field, word: &str) -> Result<Vec<String>, TantivyError> {
    for algorithm in algorithms(word) {
        let kin = kin_by(searcher, field, word, &Stemmer::new(*algorithm))?;
        if !kin.is_empty() {
            return Ok(kin.into_iter().take(KIN_MAX).collect());
        }
    }
    Ok(Vec::new())
}

fn kin_by(searcher: &Searcher, field: Field, word: &str, stemmer: &Stemmer) -> Result<BTreeSet<String>, TantivyError> {
    let stem = stemmer.stem(word);
    let mut kin = BTreeSet::new();
    let Some(begin) = begin(&stem) else { return Ok(kin) };
    for segment in searcher.segment_readers() {
        let index = segment.inverted_index(field)?;
        let mut words = index.terms().range().ge(begin.as_bytes()).into_stream()?;
        let mut compared = 0;
        while words.advance() && words.key().starts_with(begin.as_bytes()) && compared < COMPARED_MAX {
            compared += 1;
            let Ok(other) = std::str::from_utf8(words.key()) else { continue };
            if other != word && !kin.contains(other) && stemmer.stem(other) == stem {
                kin.insert(other.to_owned());
            }
        }
    }
    Ok(kin)
}

/// How all words begin that have a stem; none where that says nothing. The last letter of a stem may be another in the word:
/// `happi` of `happy`.
fn begin(stem: &str) -> Option<&str> {
    let (last, _) = stem.char_indices().last()?;
    (stem.chars().count() >= STEM_CHARS_MIN).then(|| &stem[..last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_words_are_known_in_several_languages() {
        assert!(["the", "how", "ich", "für", "où", "что"].iter().all(|word| {
            let word = pieces(word).into_iter().find_map(whole).unwrap();
            is_small(&word)
        }));
        assert!(!["tomato", "radiators", "time", "hive"].iter().any(|word| is_small(word)));
    }

    #[test]
    fn forms_of_a_word_begin_alike() {
        let english = Stemmer::new(Algorithm::English);
        for (word, other) in [("tomatoes", "tomato"), ("happy", "happiness"), ("balancing", "balance")] {
            let stem = english.stem(word);
            assert_eq!(stem, english.stem(other));
            assert!(other.starts_with(begin(&stem).unwrap()), "{word}: {stem}");
        }
        assert_eq!(begin("is"), None);
    }
}
