//! What CommonMark knows: blocks, headings, code, tables, footnotes, and links in its own style.

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag};

use super::target;
use crate::note::{Block, BlockKind, Callout, Fold, Heading, Link, LinkStyle, Mark, MarkKind, Note, Span, Task};

/// What is read beyond CommonMark. Links in double brackets, callouts and tasks are read by ourselves: Obsidian takes more
/// for one than the parser does.
pub(super) const OPTIONS: Options = Options::ENABLE_TABLES
    .union(Options::ENABLE_FOOTNOTES)
    .union(Options::ENABLE_STRIKETHROUGH)
    .union(Options::ENABLE_MATH);

/// What the blocks leave to those who read what is within lines.
#[derive(Default)]
pub(super) struct Found {
    /// Text with inline signs, in order.
    pub(super) runs: Vec<Run>,
    /// Within them, where signs mean themselves, in order.
    pub(super) opaque: Vec<Span>,
}

/// Text with inline signs: a paragraph, a heading, the first lines of an item, a cell.
pub(super) struct Run {
    pub(super) span: Span,
    /// What an id at its end names.
    pub(super) block: Span,
}

/// An element that has begun.
struct Open<'a> {
    tag: Tag<'a>,
    span: Span,
    /// From the first thing in it to the last.
    inner: Option<Span>,
}

/// Reads the blocks of a text whose comments are blank; `whole` is the text with them.
pub(super) fn read(text: &str, whole: &str, start: usize, note: &mut Note) -> Found {
    let parser = Parser::new_ext(&text[start..], OPTIONS);
    definitions(&parser, text, start, note);
    let mut reader = Reader { text, note, found: Found::default(), open: Vec::new(), run: None, tops: Vec::new() };
    for (event, range) in parser.into_offset_iter() {
        // a range may begin or end within a comment, whose letters are several blanks each
        let at = |at: usize| whole.floor_char_boundary(start + at);
        reader.take(event, at(range.start)..at(range.end));
    }
    reader.close_run();
    let Reader { mut found, tops, .. } = reader;
    note.blocks = tile(text, start, tops);
    found.opaque.sort_by_key(|span| (span.start, span.end));
    found
}

fn definitions(parser: &Parser<'_>, text: &str, start: usize, note: &mut Note) {
    for (_, definition) in parser.reference_definitions().iter() {
        let span = start + definition.span.start..start + definition.span.end;
        let Some(colon) = text[span.clone()].find("]:") else { continue };
        let begin = span.start + colon + 2;
        if let Some(path) = target::destination(text, begin..span.end) {
            note.links.push(target::link(text, span, &path, LinkStyle::Definition));
        }
    }
}

struct Reader<'a, 'n> {
    text: &'a str,
    note: &'n mut Note,
    found: Found,
    open: Vec<Open<'a>>,
    run: Option<Run>,
    tops: Vec<Block>,
}

impl<'a> Reader<'a, '_> {
    fn take(&mut self, event: Event<'a>, span: Span) {
        let ends = matches!(event, Event::End(_));
        if let Some(inner) = self.open.last_mut().filter(|_| !ends).map(|open| &mut open.inner) {
            *inner = Some(inner.take().map_or(span.clone(), |seen| seen.start..seen.end.max(span.end)));
        }
        match event {
            Event::Start(tag) => self.begin(tag, span),
            Event::End(_) => self.end(),
            Event::Text(_) | Event::SoftBreak | Event::HardBreak | Event::TaskListMarker(_) => self.inline(span),
            Event::Code(_) => self.mark(MarkKind::InlineCode, span),
            Event::InlineMath(_) => self.mark(MarkKind::InlineMaths, span),
            Event::DisplayMath(_) => self.mark(MarkKind::Maths, span),
            Event::InlineHtml(_) => self.mark(MarkKind::Html, span),
            Event::FootnoteReference(label) => {
                self.mark(MarkKind::FootnoteReference { label: label.to_string() }, span)
            }
            Event::Rule => {
                self.close_run();
                self.top(BlockKind::Rule, span);
            }
            // the lines of an HTML block, which is marked as a whole
            Event::Html(_) => {}
        }
    }

    /// Something within a line in which signs mean themselves.
    fn mark(&mut self, kind: MarkKind, span: Span) {
        self.inline(span.clone());
        self.found.opaque.push(span.clone());
        self.note.marks.push(Mark { kind, span });
    }

    fn inline(&mut self, span: Span) {
        if self.open.iter().any(|open| matches!(open.tag, Tag::CodeBlock(_) | Tag::HtmlBlock)) {
            return;
        }
        match &mut self.run {
            Some(run) => run.span.end = run.span.end.max(span.end),
            None => {
                // the backslash before a sign belongs to no event
                let escapes = usize::from(self.text[..span.start].ends_with('\\'));
                self.run = Some(Run { block: self.named(&span), span: span.start - escapes..span.end });
            }
        }
    }

    /// What an id at the end of text here names: the item or table that it is in, or the innermost block.
    fn named(&self, span: &Span) -> Span {
        let blocks = self.open.iter().rev().filter(|open| block_kind(&open.tag).is_some() || is_item(&open.tag));
        let mut blocks = blocks.map(|open| (&open.tag, &open.span));
        let innermost = blocks.next();
        let around = blocks.find(|(tag, _)| is_item(tag) || matches!(tag, Tag::Table(_)));
        match (innermost, around) {
            (Some((tag, span)), _) if is_item(tag) => span.clone(),
            (_, Some((_, span))) | (Some((_, span)), None) => span.clone(),
            (None, None) => span.clone(),
        }
    }

    fn close_run(&mut self) {
        self.found.runs.extend(self.run.take());
    }

    fn top(&mut self, kind: BlockKind, span: Span) {
        if self.open.is_empty() {
            self.tops.push(Block { kind, span });
        }
    }

    fn begin(&mut self, tag: Tag<'a>, span: Span) {
        if matches!(tag, Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. }) {
            self.inline(span.clone());
        } else {
            self.close_run();
        }
        let callout = matches!(tag, Tag::BlockQuote(_)).then(|| self.callout(span.clone())).flatten();
        if let Some(kind) = block_kind(&tag) {
            self.top(if callout.is_some() { BlockKind::Callout } else { kind }, span.clone());
        }
        self.note.callouts.extend(callout);
        match &tag {
            Tag::Item => self.note.tasks.extend(task(self.text, span.clone())),
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.split([' ', '\t', ',', '{']).next().unwrap_or_default(),
                    CodeBlockKind::Indented => "",
                };
                let kind = MarkKind::Code { language: language.to_owned() };
                self.note.marks.push(Mark { kind, span: span.clone() });
            }
            Tag::HtmlBlock => self.note.marks.push(Mark { kind: MarkKind::Html, span: span.clone() }),
            Tag::FootnoteDefinition(label) => {
                let kind = MarkKind::FootnoteDefinition { label: label.to_string() };
                self.note.marks.push(Mark { kind, span: span.clone() });
            }
            _ => {}
        }
        self.open.push(Open { tag, span, inner: None });
    }

    fn end(&mut self) {
        let Some(Open { tag, span, inner }) = self.open.pop() else { return };
        match tag {
            Tag::Heading { level, .. } => {
                self.close_run();
                let text = inner.map(|inner| self.text[inner].trim().to_owned()).unwrap_or_default();
                self.note.headings.push(Heading { level: level as u8, text, span });
            }
            Tag::Link { link_type, .. } => self.link(link_type, span, inner, false),
            Tag::Image { link_type, .. } => self.link(link_type, span, inner, true),
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough => {}
            _ => self.close_run(),
        }
    }

    fn link(&mut self, kind: LinkType, span: Span, inner: Option<Span>, embed: bool) {
        match kind {
            LinkType::Inline => {
                let opened = span.start + if embed { 2 } else { 1 };
                let text_end = inner.map_or(opened, |inner| inner.end);
                self.found.opaque.push(text_end..span.end);
                // after `](`
                let Some(path) = target::destination(self.text, (text_end + 2).min(span.end)..span.end) else { return };
                let style = if path.angled { LinkStyle::MarkdownAngled } else { LinkStyle::Markdown };
                let mut link = target::link(self.text, span, &path, style);
                link.embed = embed;
                let shown = self.text[opened..text_end.max(opened)].to_owned();
                (link.alias, link.size) = target::shown(&shown, embed);
                self.note.links.push(link);
            }
            LinkType::Autolink | LinkType::Email => {
                self.found.opaque.push(span.clone());
                let path = self.text[span.clone()].trim_matches(['<', '>']).to_owned();
                self.note.links.push(Link {
                    style: LinkStyle::External,
                    embed: false,
                    path,
                    place: None,
                    alias: None,
                    size: None,
                    path_span: span.start + 1..span.end - 1,
                    span,
                });
            }
            // they lead where their definition does
            LinkType::Reference
            | LinkType::ReferenceUnknown
            | LinkType::Collapsed
            | LinkType::CollapsedUnknown
            | LinkType::Shortcut
            | LinkType::ShortcutUnknown
            | LinkType::WikiLink { .. } => {}
        }
    }

    fn callout(&self, span: Span) -> Option<Callout> {
        let first = self.text[span.clone()].lines().next()?;
        let rest = first.trim_start_matches(['>', ' ', '\t']).strip_prefix("[!")?;
        let (kind, rest) = rest.split_once(']')?;
        let (fold, title) = match rest.as_bytes().first() {
            Some(b'+') => (Fold::Open, &rest[1..]),
            Some(b'-') => (Fold::Closed, &rest[1..]),
            _ => (Fold::Fixed, rest),
        };
        let depth = self.open.iter().filter(|open| matches!(open.tag, Tag::BlockQuote(_))).count();
        // what follows a bar is data of the kind
        let kind = kind.split('|').next().unwrap_or_default().trim().to_lowercase();
        Some(Callout { kind, title: title.trim().to_owned(), fold, depth, span })
    }
}

fn is_item(tag: &Tag<'_>) -> bool {
    matches!(tag, Tag::Item)
}

fn block_kind(tag: &Tag<'_>) -> Option<BlockKind> {
    match tag {
        Tag::Paragraph => Some(BlockKind::Paragraph),
        Tag::Heading { .. } => Some(BlockKind::Heading),
        Tag::BlockQuote(_) => Some(BlockKind::Quote),
        Tag::CodeBlock(_) => Some(BlockKind::Code),
        Tag::HtmlBlock => Some(BlockKind::Html),
        Tag::List(_) => Some(BlockKind::List),
        Tag::FootnoteDefinition(_) => Some(BlockKind::Footnote),
        Tag::Table(_) => Some(BlockKind::Table),
        _ => None,
    }
}

/// A task, where an item begins with brackets around one character.
fn task(text: &str, item: Span) -> Option<Task> {
    let line = text[item.clone()].lines().next()?;
    let marked = line.trim_start_matches(|first: char| first.is_ascii_digit());
    let marked = marked.strip_prefix(['-', '*', '+', '.', ')'])?;
    let rest = marked.trim_start().strip_prefix('[')?;
    let status = rest.chars().next()?;
    let after = rest[status.len_utf8()..].strip_prefix(']')?;
    if !(after.is_empty() || after.starts_with([' ', '\t'])) {
        return None;
    }
    let at = item.start + (line.len() - rest.len());
    Some(Task {
        status,
        text: after.trim().to_owned(),
        span: at - 1..item.start + line.len(),
        status_span: at..at + status.len_utf8(),
    })
}

/// The blocks without gaps: each from the beginning of its line, empty lines with the block before them, and text that no
/// block has as one of its own.
fn tile(text: &str, start: usize, mut tops: Vec<Block>) -> Vec<Block> {
    tops.sort_by_key(|block| block.span.start);
    let end = Block { kind: BlockKind::Other, span: text.len()..text.len() };
    let mut tiled: Vec<Block> = Vec::with_capacity(tops.len());
    let mut at = start;
    for mut next in tops.into_iter().chain([end]) {
        let gap = &text[at.min(next.span.start)..next.span.start];
        let other = gap.trim_start();
        let empty = gap[..gap.len() - other.len()].rfind('\n').map_or(0, |line| line + 1);
        if next.span.start < text.len() {
            next.span.start -= gap.len() - gap.trim_end_matches([' ', '\t']).len();
        }
        let from = if tiled.is_empty() { at } else { at + empty };
        if !other.is_empty() || (tiled.is_empty() && from < next.span.start) {
            close(&mut tiled, from);
            tiled.push(Block { kind: BlockKind::Other, span: from..next.span.start });
        }
        at = at.max(next.span.end);
        close(&mut tiled, next.span.start);
        if next.span.start < next.span.end {
            tiled.push(next);
        }
    }
    tiled
}

/// Ends the last block where the next one begins.
fn close(tiled: &mut Vec<Block>, at: usize) {
    if let Some(last) = tiled.last_mut() {
        last.span.end = at;
        if last.span.is_empty() {
            tiled.pop();
        }
    }
}
