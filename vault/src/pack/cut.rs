//! Where a passage that is too long for a whole pack is cut.

/// What a cut may fall back to where no sentence fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Within {
    /// Nothing.
    Sentences,
    /// A word, and then a character.
    Words,
}

/// The end of the longest beginning of a text that fits and ends with a sentence; none where none does.
///
/// What is longer is taken not to fit where something shorter does not. Where that is wrong, the beginning is shorter than it
/// might be, and still fits.
pub fn end(text: &str, within: Within, fits: &dyn Fn(usize) -> bool) -> Option<usize> {
    let last = |ends: Vec<usize>| {
        let over = ends.partition_point(|end| fits(*end));
        ends[..over].iter().rev().copied().find(|end| fits(*end))
    };
    let characters = || text.char_indices().map(|(start, letter)| start + letter.len_utf8()).collect();
    last(sentences(text)).or_else(|| match within {
        Within::Sentences => None,
        Within::Words => last(words(text)).or_else(|| last(characters())),
    })
}

/// Where sentences end, and paragraphs, which are titles and items, too.
fn sentences(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some((start, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        match letter {
            '。' | '！' | '？' => ends.push(start + letter.len_utf8()),
            '.' | '!' | '?' | '…' | '؟' | '۔' | '।' if next.is_none_or(char::is_whitespace) => {
                ends.push(start + letter.len_utf8());
            }
            '\n' if next == Some('\n') => ends.push(start),
            _ => {}
        }
    }
    ends.dedup();
    ends.retain(|end| !text[..*end].trim().is_empty());
    ends
}

fn words(text: &str) -> Vec<usize> {
    let spaces = text.char_indices().filter(|(_, letter)| letter.is_whitespace()).map(|(start, _)| start);
    spaces.filter(|start| !text[..*start].ends_with(char::is_whitespace) && *start > 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str, bytes: usize, within: Within) -> Option<&str> {
        end(text, within, &|end| end <= bytes).map(|end| &text[..end])
    }

    #[test]
    fn a_cut_is_where_a_sentence_ends() {
        let text = "One is 1.5 long. Two is it! A third";
        assert_eq!(cut(text, 30, Within::Sentences), Some("One is 1.5 long. Two is it!"));
        assert_eq!(cut(text, 20, Within::Sentences), Some("One is 1.5 long."));
        assert_eq!(cut(text, 12, Within::Sentences), None);
        assert_eq!(cut(text, 12, Within::Words), Some("One is 1.5"));
        assert_eq!(cut(text, 2, Within::Words), Some("On"));
        assert_eq!(cut("# Title\n\ntext", 9, Within::Sentences), Some("# Title"));
        assert_eq!(cut("人人生而自由。在尊严", 24, Within::Sentences), Some("人人生而自由。"));
        assert_eq!(cut("सभी मनुष्यों। और", 40, Within::Sentences), Some("सभी मनुष्यों।"));
    }

    proptest! {
        /// A cut is at a character, fits, and is not empty.
        #[test]
        fn a_cut_fits(text in "[a-z é。.!\n]{0,80}", bytes in 0usize..90) {
            for within in [Within::Sentences, Within::Words] {
                if let Some(cut) = cut(&text, bytes, within) {
                    prop_assert!(!cut.is_empty() && cut.len() <= bytes);
                }
            }
            let first = text.chars().next().map_or(usize::MAX, char::len_utf8);
            prop_assert_eq!(cut(&text, bytes, Within::Words).is_some(), first <= bytes);
        }
    }
}
