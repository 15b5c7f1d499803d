//! How much each way of search counts, by what the query looks like: a name is found by its letters, and what it means says
//! little.

use crate::index::words::Wanted;

/// What a rank by words counts to one by meaning, for words as people say them, and where a name is asked for: chosen on the
/// half `tune` of `fixtures/golden`.
const WORDS: f64 = 1.0;
const NAMES: f64 = 6.0;

/// What a rank by words counts; one by meaning counts 1.
pub(crate) fn of_words(wanted: &[Wanted]) -> f64 {
    let has_name = wanted.iter().any(|wanted| match wanted {
        // somebody knows the very words
        Wanted::Phrase(_) => true,
        Wanted::Words(text) => text.split_whitespace().any(is_name),
    });
    if has_name { NAMES } else { WORDS }
}

/// Whether a word looks like a name of programs, parts and models: `HV-4012`, `scrub.max_parallel`, `lora.rs`, `parseHttp`.
fn is_name(word: &str) -> bool {
    let inner = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    let has_digit = inner.chars().any(|letter| letter.is_ascii_digit());
    let has_letter = inner.chars().any(char::is_alphabetic);
    let has_joint = inner.chars().any(|letter| matches!(letter, '_' | '.' | ':' | '/' | '=' | '@' | '#' | '\\'));
    let letters: Vec<char> = inner.chars().collect();
    let has_hump = letters.windows(2).any(|pair| pair[0].is_lowercase() && pair[1].is_uppercase());
    has_letter && (has_digit || has_joint) || has_hump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_words() {
        for name in
            ["HV-4012", "scrub.max_parallel", "lora.rs", "parseHttp", "plan_cache_mode", "Storage=persistent,", "E0382"]
        {
            assert!(is_name(name), "{name}");
        }
        for word in ["tomatoes", "on-call", "Ada", "2026", "e.", "(really)", "don't", "東京"] {
            assert!(!is_name(word), "{word}");
        }
        assert!(of_words(&[Wanted::Phrase("queen home".into())]) > of_words(&[Wanted::Words("queen home".into())]));
    }
}
