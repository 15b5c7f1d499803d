//! How much two passages say the same, from 0 to 1.

use std::cell::OnceCell;

use super::Candidate;

/// From what cosine on two passages are nearly the same: those of a note that was copied and corrected.
const COSINE_SIMILAR: f64 = 0.95;
/// From what share of common shingles on they are, where a vector is missing.
const SHINGLES_SIMILAR: f64 = 0.8;
/// Words of a shingle.
const SHINGLE_WORDS: usize = 3;

/// What a passage is compared by.
pub struct Sketch<'a> {
    vector: Option<&'a [f32]>,
    text: &'a str,
    /// Hashes of its shingles (Broder 1997), each once, in order; taken when they are first needed.
    shingles: OnceCell<Vec<u64>>,
}

/// What a comparison gives.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Likeness {
    /// From 0 to 1.
    pub share: f64,
    /// Whether one of the two is enough.
    pub is_nearly_same: bool,
}

impl<'a> Sketch<'a> {
    /// Of a candidate.
    pub fn new(candidate: &'a Candidate) -> Self {
        Self { vector: candidate.vector.as_deref(), text: &candidate.text, shingles: OnceCell::new() }
    }

    /// Compares two, by their vectors where both have one, else by their words.
    pub fn likeness(&self, other: &Self) -> Likeness {
        match (self.vector, other.vector) {
            (Some(one), Some(other)) if one.len() == other.len() => {
                let cosine: f64 = one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
                // what is no number is not alike either
                let share = cosine.clamp(0.0, 1.0).max(0.0);
                Likeness { share, is_nearly_same: share >= COSINE_SIMILAR }
            }
            _ => {
                let share = jaccard(self.shingles(), other.shingles());
                Likeness { share, is_nearly_same: share >= SHINGLES_SIMILAR }
            }
        }
    }

    fn shingles(&self) -> &[u64] {
        self.shingles.get_or_init(|| shingles(self.text))
    }
}

/// The common ones over all of two sets in order.
fn jaccard(one: &[u64], other: &[u64]) -> f64 {
    let (mut left, mut right, mut common) = (0, 0, 0);
    while left < one.len() && right < other.len() {
        match one[left].cmp(&other[right]) {
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                left += 1;
                right += 1;
            }
        }
    }
    let all = one.len() + other.len() - common;
    if all == 0 { 0.0 } else { common as f64 / all as f64 }
}

fn shingles(text: &str) -> Vec<u64> {
    let words = words(text);
    let width = SHINGLE_WORDS.min(words.len()).max(1);
    let mut shingles: Vec<u64> = words.windows(width).map(combined).collect();
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// The hashes of the words of a text, in order and in lower case. Scripts that do not part words have one for each character.
fn words(text: &str) -> Vec<u64> {
    let mut words = Vec::new();
    let mut open = None;
    for letter in text.chars().flat_map(char::to_lowercase) {
        if !letter.is_alphanumeric() {
            words.extend(open.take());
        } else if parts_no_words(letter) {
            words.extend(open.take());
            words.push(step(FNV_BASIS, letter));
        } else {
            open = Some(step(open.unwrap_or(FNV_BASIS), letter));
        }
    }
    words.extend(open);
    words
}

/// Thai to Khmer, and all from the radicals and kana of East Asia on but Hangul, which has spaces.
fn parts_no_words(letter: char) -> bool {
    matches!(letter, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// FNV-1a with 64 bits, by whole numbers instead of bytes: the same on every machine and in every version.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn step(hash: u64, letter: char) -> u64 {
    (hash ^ u64::from(u32::from(letter))).wrapping_mul(FNV_PRIME)
}

fn combined(words: &[u64]) -> u64 {
    words.iter().fold(FNV_BASIS, |hash, word| (hash ^ word).wrapping_mul(FNV_PRIME))
}
