//! `%%comments%%`, within a line or over many.

use std::borrow::Cow;
use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag};

use super::blocks::OPTIONS;
use crate::note::{Mark, MarkKind};

const SIGN: &str = "%%";
/// How often the code is read again: a note that needs more is made to take long.
const READINGS_MAX: u32 = 32;

/// The comments of a body that begins at `start`.
pub(super) fn find(text: &str, start: usize) -> Vec<Mark> {
    if !text[start..].contains(SIGN) {
        return Vec::new();
    }
    let mut comments = Vec::new();
    let mut at = start;
    for _ in 0..READINGS_MAX {
        let body = blank(text, &comments);
        let code = code(&body[start..], start);
        let Some(again) = find_from(text, at, &code, &mut comments) else { break };
        at = again;
    }
    comments
}

/// Adds the comments after `at`, and says from where the code has to be read again: what had opened in a comment was taken
/// for code after it.
fn find_from(text: &str, mut at: usize, code: &[Range<usize>], comments: &mut Vec<Mark>) -> Option<usize> {
    while let Some(found) = text[at..].find(SIGN) {
        let open = at + found;
        let before = &code[..code.partition_point(|range| range.start <= open)];
        if let Some(range) = before.last().filter(|range| open < range.end) {
            at = range.end;
            continue;
        }
        let inner = open + SIGN.len();
        let end = match text[inner..].find(SIGN) {
            Some(length) => inner + length + SIGN.len(),
            // one that is alone on its line hides all that follows
            None if line_before(text, open).trim().is_empty() => text.len(),
            None => return None,
        };
        comments.push(Mark { kind: MarkKind::Comment, span: open..end });
        at = end;
        if code[before.len()..].iter().take_while(|range| range.start < end).any(|range| range.end > end) {
            return Some(at);
        }
    }
    None
}

/// The text with blanks for comments; line ends stay, as they count lines for everything else.
pub(super) fn blank<'a>(text: &'a str, comments: &[Mark]) -> Cow<'a, str> {
    if comments.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut blank = String::with_capacity(text.len());
    let mut at = 0;
    for comment in comments {
        blank.push_str(&text[at..comment.span.start]);
        blank.extend(text[comment.span.clone()].bytes().map(|byte| match byte {
            b'\n' | b'\r' => char::from(byte),
            _ => ' ',
        }));
        at = comment.span.end;
    }
    blank.push_str(&text[at..]);
    Cow::Owned(blank)
}

/// Where signs mean themselves, in order: code of every kind.
fn code(body: &str, start: usize) -> Vec<Range<usize>> {
    let events = Parser::new_ext(body, OPTIONS).into_offset_iter();
    let code = events.filter_map(|(event, range)| match event {
        Event::Start(Tag::CodeBlock(_)) | Event::Code(_) => Some(start + range.start..start + range.end),
        _ => None,
    });
    code.collect()
}

fn line_before(text: &str, at: usize) -> &str {
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    &text[begin..at]
}
