//! The few words of a passage that show why it was found.

use crate::note::Span;
use crate::query::Pattern;

/// Longest excerpt, in bytes, but for the marks of what was left out.
pub const EXCERPT_BYTES: usize = 240;
/// How much of it may stand before the first word that was found, in bytes.
const LEAD_BYTES: usize = 60;

/// An excerpt and where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Excerpt {
    /// In one line.
    pub text: String,
    /// The line of what was found, or of the passage's beginning; the first is 1.
    pub line: usize,
}

/// The part of a passage with most of the patterns, or its beginning.
pub(super) fn excerpt(text: &str, passage: &Span, patterns: &[&Pattern]) -> Excerpt {
    let inside = &text[passage.clone()];
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (which, pattern) in patterns.iter().enumerate() {
        found.extend(pattern.regex.find_iter(inside).filter(|hit| !hit.is_empty()).map(|hit| (hit.start(), which)));
    }
    found.sort_unstable();
    let best = densest(&found, patterns.len());
    let begin = match best {
        Some(at) => {
            let lead = inside.floor_char_boundary(at.saturating_sub(LEAD_BYTES));
            // from the beginning of its line, or of a word
            let line = inside[..at].rfind('\n').map_or(0, |end| end + 1);
            let space = inside[lead..at].char_indices().find(|(_, letter)| letter.is_whitespace());
            let word = space.map_or(lead, |(space, letter)| lead + space + letter.len_utf8());
            if line >= lead || lead == 0 { line } else { word }
        }
        None => body(inside),
    };
    let mut end = inside.floor_char_boundary((begin + EXCERPT_BYTES).min(inside.len()));
    if end < inside.len() {
        let space = inside[begin..end].rfind(char::is_whitespace).filter(|space| *space > EXCERPT_BYTES / 2);
        end = space.map_or(end, |space| begin + space);
    }
    let words: Vec<&str> = inside[begin..end].split_whitespace().collect();
    let more = if end < inside.len() { " …" } else { "" };
    let from = passage.start + best.unwrap_or(begin);
    Excerpt { text: words.join(" ") + more, line: line_of(text, from) }
}

/// The line of a byte; the first is 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The first of the places from which most patterns are found within an excerpt.
fn densest(found: &[(usize, usize)], patterns: usize) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    let mut end = 0;
    let mut counts = vec![0usize; patterns];
    let mut different = 0;
    for (start, (at, which)) in found.iter().enumerate() {
        while end < found.len() && found[end].0 < at + EXCERPT_BYTES - LEAD_BYTES {
            counts[found[end].1] += 1;
            different += usize::from(counts[found[end].1] == 1);
            end += 1;
        }
        if best.is_none_or(|(most, _)| different > most) {
            best = Some((different, *at));
        }
        debug_assert!(end > start, "what is found is within its own window");
        counts[*which] -= 1;
        different -= usize::from(counts[*which] == 0);
    }
    best.map(|(_, at)| at)
}

/// Where the text of a passage begins, after its headings; a passage of headings alone begins with the first.
fn body(passage: &str) -> usize {
    let mut at = 0;
    for line in passage.split_inclusive('\n') {
        let is_heading = line.starts_with('#') && line.trim_start_matches('#').starts_with(' ');
        if !is_heading && !line.trim().is_empty() {
            return at;
        }
        at += line.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Query, read};

    fn shown(text: &str, query: &str) -> (String, usize) {
        let query = read(query).unwrap();
        let Query::All(parts) = query else { panic!("several words") };
        let patterns: Vec<&Pattern> =
            parts.iter().map(|part| if let Query::Text(pattern) = part { pattern } else { panic!("words") }).collect();
        let excerpt = excerpt(text, &(0..text.len()), &patterns);
        (excerpt.text, excerpt.line)
    }

    #[test]
    fn the_place_with_most_words_is_shown() {
        let filler = "Nothing of it stands in this line of text.\n".repeat(20);
        let text = format!("# Bees\n\nHoney alone.\n{filler}Here are bees and their honey.\nMore.\n");
        let (words, line) = shown(&text, "bees honey");
        assert!(words.starts_with("# Bees Honey alone."), "{words}");
        assert_eq!(line, 1);
        let (words, line) = shown(&text, "their bees honey");
        assert_eq!((words.as_str(), line), ("Here are bees and their honey. More.", 24));
        let (words, line) = shown(&text, "wasps hornets");
        assert!(words.starts_with("Honey alone. Nothing") && words.ends_with('…'), "{words}");
        assert_eq!(line, 3);
    }

    #[test]
    fn an_excerpt_is_short_and_begins_with_a_word() {
        let text = format!("{}apiary needle {}", "word ".repeat(100), "é".repeat(400));
        let (words, _) = shown(&text, "needle apiary");
        assert!(words.starts_with("word word"), "{words}");
        assert!(words.contains("apiary needle é") && words.len() <= EXCERPT_BYTES + 4, "{words}");
    }
}
