//! Where a link leads, as it is written.

use percent_encoding::percent_decode_str;

use crate::note::{Link, LinkStyle, Place, Span};

/// A destination in CommonMark's style.
pub(super) struct Destination {
    pub(super) span: Span,
    pub(super) angled: bool,
}

/// The destination that begins at or after the range's start.
pub(super) fn destination(text: &str, within: Span) -> Option<Destination> {
    let raw = text.get(within.clone())?;
    let begin = within.start + raw.len() - raw.trim_start().len();
    let raw = raw.trim_start();
    if let Some(inner) = raw.strip_prefix('<') {
        let length = unescaped(inner, |next| next == '>')?;
        return Some(Destination { span: begin + 1..begin + 1 + length, angled: true });
    }
    let mut depth = 0_usize;
    let ends = unescaped(raw, |next| match next {
        '(' => {
            depth += 1;
            false
        }
        ')' if depth > 0 => {
            depth -= 1;
            false
        }
        ')' => true,
        other => other.is_whitespace(),
    });
    Some(Destination { span: begin..begin + ends.unwrap_or(raw.len()), angled: false })
}

/// Where the first character is that `ends`, past those behind a backslash.
fn unescaped(text: &str, mut ends: impl FnMut(char) -> bool) -> Option<usize> {
    let mut escaped = false;
    for (at, next) in text.char_indices() {
        if !escaped && next == '\\' {
            escaped = true;
            continue;
        }
        if !escaped && ends(next) {
            return Some(at);
        }
        escaped = false;
    }
    None
}

/// A link in one of CommonMark's styles.
pub(super) fn link(text: &str, span: Span, destination: &Destination, style: LinkStyle) -> Link {
    let raw = &text[destination.span.clone()];
    if is_external(raw) {
        return Link {
            style: LinkStyle::External,
            embed: false,
            path: raw.to_owned(),
            place: None,
            alias: None,
            size: None,
            span,
            path_span: destination.span.clone(),
        };
    }
    let (path, fragment) = raw.split_once('#').map_or((raw, None), |(path, place)| (path, Some(place)));
    Link {
        style,
        embed: false,
        path: decoded(path),
        place: fragment.and_then(|fragment| place(&decoded(fragment))),
        alias: None,
        size: None,
        span,
        path_span: destination.span.start..destination.span.start + path.len(),
    }
}

/// The link between double brackets whose inside this is.
pub(super) fn wiki(text: &str, inner: Span, embed: bool) -> Link {
    let raw = &text[inner.clone()];
    let (target, alias) = raw.split_once('|').map_or((raw, None), |(target, alias)| (target, Some(alias)));
    // in a table the bar has a backslash
    let target = if alias.is_some() { target.strip_suffix('\\').unwrap_or(target) } else { target };
    let (path, subpath) = target.split_once('#').map_or((target, None), |(path, place)| (path, Some(place)));
    let begin = inner.start + path.len() - path.trim_start().len();
    let path = path.trim();
    let (alias, size) = alias.map_or((None, None), |alias| shown(alias.trim(), embed));
    Link {
        style: LinkStyle::Wiki,
        embed,
        path: path.to_owned(),
        place: subpath.and_then(place),
        alias,
        size,
        span: inner.start - if embed { 3 } else { 2 }..inner.end + 2,
        path_span: begin..begin + path.len(),
    }
}

/// What is shown for a link: words, and of an embed, behind the last bar, a size such as `100` or `100x50`.
pub(super) fn shown(text: &str, embed: bool) -> (Option<String>, Option<(u32, Option<u32>)>) {
    let words = |text: &str| Some(text.trim_end_matches('\\').to_owned()).filter(|text| !text.is_empty());
    if !embed {
        return (words(text), None);
    }
    let (before, last) = text.rsplit_once('|').unwrap_or(("", text));
    match size(last.trim()) {
        Some(size) => (words(before), Some(size)),
        None => (words(text), None),
    }
}

fn size(text: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    match text.split_once('x') {
        Some((width, height)) => Some((number(width)?, Some(number(height)?))),
        None => Some((number(text)?, None)),
    }
}

/// What stands behind `#`.
fn place(text: &str) -> Option<Place> {
    if let Some(id) = text.strip_prefix('^') {
        return Some(Place::Block(id.trim().to_owned()));
    }
    let headings: Vec<String> =
        text.split('#').map(|heading| heading.trim().to_owned()).filter(|heading| !heading.is_empty()).collect();
    (!headings.is_empty()).then_some(Place::Headings(headings))
}

fn decoded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(next) = characters.next() {
        match characters.peek() {
            Some(escaped) if next == '\\' && escaped.is_ascii_punctuation() => {}
            _ => plain.push(next),
        }
    }
    percent_decode_str(&plain).decode_utf8_lossy().into_owned()
}

/// Whether a destination begins with a scheme of two letters or more: one is a drive's.
fn is_external(destination: &str) -> bool {
    let Some((scheme, _)) = destination.split_once(':') else { return destination.starts_with("//") };
    scheme.len() > 1
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}
