//! What only Obsidian has within a line: links in double brackets, tags, highlights, footnotes in place, ids of blocks.

use super::blocks::{Found, Run};
use super::target;
use crate::note::{BlockId, Link, LinkStyle, Mark, MarkKind, Note, Span, Tag};

/// Reads what is within lines of a text whose comments are blank.
pub(super) fn read(text: &str, start: usize, found: &Found, note: &mut Note) {
    let mut wikis = Vec::new();
    if let Some(front_matter) = &note.front_matter {
        in_properties(text, front_matter.clone(), &mut wikis);
    }
    for run in &found.runs {
        let first = found.opaque.partition_point(|span| span.end <= run.span.start);
        let mut scan = Scan { text, opaque: &found.opaque[first..], wikis: &mut wikis, note, highlight: None };
        scan.run(run.span.clone());
        block_id(text, run, start, note);
    }
    // `[[a]](b)` is a link in double brackets, with words in round ones behind it
    let covered = |link: &Link| {
        let first = wikis.partition_point(|wiki| wiki.span.end <= link.span.start);
        link.style != LinkStyle::Definition
            && wikis[first..].iter().take_while(|wiki| wiki.span.start < link.span.end).any(|wiki| {
                wiki.span.start <= link.span.start || wiki.span.end > link.path_span.start.saturating_sub(1)
            })
    };
    note.links.retain(|link| !covered(link));
    note.links.append(&mut wikis);
}

fn in_properties(text: &str, front_matter: Span, wikis: &mut Vec<Link>) {
    let mut at = front_matter.start;
    while let Some(found) = text[at..front_matter.end].find("[[") {
        let open = at + found;
        at = open + 2;
        if let Some(link) = wiki(text, open, front_matter.end, false) {
            at = link.span.end;
            wikis.push(link);
        }
    }
}

/// The link that opens here, if it closes on its line.
fn wiki(text: &str, open: usize, end: usize, embed: bool) -> Option<Link> {
    let begin = open + 2;
    let rest = &text[begin..end];
    let line = &rest[..rest.find(['\n', '\r']).unwrap_or(rest.len())];
    let inner = &line[..line.find("]]")?];
    if inner.trim().is_empty() || inner.contains("[[") {
        return None;
    }
    Some(target::wiki(text, begin..begin + inner.len(), embed))
}

struct Scan<'a, 'n> {
    text: &'a str,
    opaque: &'a [Span],
    wikis: &'n mut Vec<Link>,
    note: &'n mut Note,
    /// Where a highlight has begun.
    highlight: Option<usize>,
}

impl Scan<'_, '_> {
    fn run(&mut self, span: Span) {
        let mut at = span.start;
        while at < span.end {
            while self.opaque.first().is_some_and(|hidden| hidden.end <= at) {
                self.opaque = &self.opaque[1..];
            }
            if let Some(hidden) = self.opaque.first().filter(|hidden| hidden.start <= at) {
                at = hidden.end;
                continue;
            }
            at = self.step(at, span.clone());
        }
    }

    /// Takes what stands at `at`, and says where to go on.
    fn step(&mut self, at: usize, span: Span) -> usize {
        let rest = &self.text[at..span.end];
        let Some(first) = rest.chars().next() else { return span.end };
        let next = at + first.len_utf8();
        match first {
            '\\' => next + self.text[next..span.end].chars().next().map_or(0, char::len_utf8),
            '[' if rest.starts_with("[[") => {
                let embed = self.text[span.start..at].ends_with('!');
                let Some(link) = wiki(self.text, at, span.end, embed) else { return next };
                let end = link.span.end;
                self.wikis.push(link);
                end
            }
            '#' => self.tag(at, span).unwrap_or(next),
            '=' if rest.starts_with("==") => self.highlight(at, span),
            '^' if rest.starts_with("^[") && !rest.starts_with("^[[") => {
                if let Some(length) = closing(&rest[1..]) {
                    self.note.marks.push(Mark { kind: MarkKind::InlineFootnote, span: at..at + 1 + length });
                }
                next
            }
            _ => next,
        }
    }

    fn tag(&mut self, at: usize, span: Span) -> Option<usize> {
        let before = self.text[span.start..at].chars().next_back();
        if !before.is_none_or(|before| before.is_whitespace() || "([{\"'“‘«>".contains(before)) {
            return None;
        }
        let rest = &self.text[at + 1..span.end];
        let name = &rest[..rest.find(|next| !in_tag(next)).unwrap_or(rest.len())];
        let name = name.trim_end_matches('/');
        // a number alone is a reference to something else
        if name.is_empty() || name.chars().all(|next| next.is_ascii_digit()) {
            return None;
        }
        let end = at + 1 + name.len();
        self.note.tags.push(Tag { name: name.to_owned(), span: at..end });
        Some(end)
    }

    fn highlight(&mut self, at: usize, span: Span) -> usize {
        let signs = self.text[at..span.end].bytes().take_while(|byte| *byte == b'=').count();
        let (before, after) = (&self.text[span.start..at], &self.text[at + signs..span.end]);
        let is_text = |next: Option<char>| next.is_some_and(|next| !next.is_whitespace());
        if signs == 2 {
            match self.highlight {
                Some(begun) if is_text(before.chars().next_back()) => {
                    self.note.marks.push(Mark { kind: MarkKind::Highlight, span: begun..at + 2 });
                    self.highlight = None;
                }
                None if is_text(after.chars().next()) => self.highlight = Some(at),
                _ => {}
            }
        }
        at + signs
    }
}

/// What may stand in a tag: all but spaces and the punctuation that Obsidian ends one at.
fn in_tag(next: char) -> bool {
    !next.is_whitespace()
        && !next.is_control()
        && !"!\"#$%&'()*+,.:;<=>?@[\\]^`{|}~".contains(next)
        && !matches!(next, '\u{2000}'..='\u{200c}' | '\u{200e}'..='\u{206f}' | '\u{2e00}'..='\u{2e7f}' | '\u{3000}'..='\u{3003}')
}

/// The length to the bracket that closes the first one, with it.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, next) in text.char_indices() {
        match next {
            '[' => depth += 1,
            ']' if depth == 1 => return Some(at + 1),
            ']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// An id at the end of a run; one that stands alone names the block before it.
fn block_id(text: &str, run: &Run, start: usize, note: &mut Note) {
    let words = text[run.span.clone()].trim_end();
    let Some(at) = words.rfind('^') else { return };
    let (before, id) = (&words[..at], &words[at + 1..]);
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_id || !(before.is_empty() || before.ends_with(char::is_whitespace)) {
        return;
    }
    let span = run.span.start + at..run.span.start + words.len();
    let block = if before.trim().is_empty() {
        let alone = note.blocks.partition_point(|block| block.span.start < run.span.start.max(start));
        let previous = note.blocks[..alone].iter().rfind(|block| block.span.end <= run.span.start);
        let Some(previous) = previous else { return };
        previous.span.clone()
    } else {
        run.block.clone()
    };
    let named = &text[block.clone()];
    // before the first block there may be empty lines
    if named.trim().is_empty() {
        return;
    }
    let block = block.start + named.len() - named.trim_start().len()..block.start + named.trim_end().len();
    note.block_ids.push(BlockId { id: id.to_owned(), span, block });
}
