//! What has to be written when a file gets another name: each link to it in its own style, and no other byte.
//!
//! A name may also take links from others, or lose them: every link that would lead to another file afterwards is written
//! anew, wherever it is.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::links::{Links, Names};
use crate::note::{Link, LinkStyle, Span};
use crate::path::{VaultPath, key};

/// What a link in CommonMark's style cannot have as it is.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'%').add(b'#').add(b'?').add(b'(').add(b')').add(b'<').add(b'>').add(b'\\').add(b'|');
/// What Obsidian allows in no name, since no link could have it.
const NOT_IN_NAMES: &str = "#^[]|";

/// What is written in place of what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// The bytes that go.
    pub span: Span,
    /// What comes.
    pub text: String,
}

/// All that a new name needs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// The edits of each file, in order, by its name before.
    pub edits: BTreeMap<VaultPath, Vec<Edit>>,
    /// Links that lead elsewhere afterwards, as no path that they could have leads where they did.
    pub lost: Vec<(VaultPath, Link)>,
}

/// Why a file cannot get a name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RenameError {
    /// There is no such file.
    #[error("there is no file {0} in the vault")]
    Missing(VaultPath),
    /// It would replace another.
    #[error("there is a file {0} already")]
    Taken(VaultPath),
    /// No link could lead to it.
    #[error("the name {0} has one of the characters {NOT_IN_NAMES}, which no link can have")]
    Unlinkable(VaultPath),
    /// A note would be none any more, or the other way round.
    #[error("{from} and {to} are not both notes")]
    Kind {
        /// What it is.
        from: VaultPath,
        /// What it would be.
        to: VaultPath,
    },
}

/// Says what a new name needs.
///
/// # Errors
/// When the file is not there, or the name cannot be had.
pub fn plan(links: &Links, from: &VaultPath, to: &VaultPath) -> Result<Plan, RenameError> {
    if !links.contains(from) {
        return Err(RenameError::Missing(from.clone()));
    }
    // another case or form of the same name is no other file on many systems
    if from != to && (links.contains(to) || (from.key() != to.key() && links.names().has(to))) {
        return Err(RenameError::Taken(to.clone()));
    }
    if to.as_str().contains(|next| NOT_IN_NAMES.contains(next)) {
        return Err(RenameError::Unlinkable(to.clone()));
    }
    if from.is_note() != to.is_note() {
        return Err(RenameError::Kind { from: from.clone(), to: to.clone() });
    }
    let mut after = links.names().clone();
    after.remove(from, links.aliases_of(from));
    after.insert(to, links.aliases_of(from));
    let moved = |path: &VaultPath| if path == from { to.clone() } else { path.clone() };

    let mut plan = Plan::default();
    let touched: BTreeSet<&VaultPath> =
        links.may_link(from).into_iter().chain(links.may_link(to)).chain([from]).collect();
    for file in touched {
        let written_in = moved(file);
        for link in links.links_of(file).iter().filter(|link| !link.path.is_empty()) {
            let Some(before) = links.names().find(file, link) else { continue };
            let target = moved(&before);
            let leads_there = after.find(&written_in, link).as_ref() == Some(&target);
            // by another name of the note it is still known, and its own may only have changed its case
            if leads_there && (before == target || is_alias(links, &before, link)) {
                continue;
            }
            match spell(&after, &written_in, link, &before, &target) {
                Some(path) if path == link.path => {}
                Some(path) => {
                    let text = encoded(&path, link.style, file);
                    plan.edits.entry(file.clone()).or_default().push(Edit { span: link.path_span.clone(), text });
                }
                None => plan.lost.push((file.clone(), link.clone())),
            }
        }
    }
    Ok(plan)
}

/// The text after edits that are in order and do not overlap.
pub fn apply(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        written.extend_from_slice(&text[at..edit.span.start]);
        written.extend_from_slice(edit.text.as_bytes());
        at = edit.span.end;
    }
    written.extend_from_slice(&text[at..]);
    written
}

fn is_alias(links: &Links, path: &VaultPath, link: &Link) -> bool {
    links.aliases_of(path).iter().any(|alias| key(alias) == key(&link.path))
}

/// The path of `target` in the style of a link that named `before`: the first of its spellings that leads there.
fn spell(after: &Names, from: &VaultPath, link: &Link, before: &VaultPath, target: &VaultPath) -> Option<String> {
    let old = link.path.as_str();
    let has_extension = !before.is_note() || key(old).ends_with(".md");
    let shown = |path: &str| match path.rsplit_once('.') {
        Some((stem, _)) if !has_extension => stem.to_owned(),
        _ => path.to_owned(),
    };
    let (name, whole) = (shown(target.name()), shown(target.as_str()));
    let root = format!("/{whole}");
    let relative = shown(&relative(from.folder(), target.as_str(), old.starts_with("./")));
    let spellings = if link.style == LinkStyle::Canvas {
        vec![whole]
    } else if old.starts_with('/') {
        vec![root]
    } else if old.starts_with("./") || old.starts_with("../") {
        vec![relative, whole, root]
    } else if old.contains('/') {
        vec![whole, root]
    } else {
        vec![name, whole, root]
    };
    let leads = |path: &String| after.find(from, &Link { path: path.clone(), ..link.clone() }).as_ref() == Some(target);
    spellings.into_iter().find(leads)
}

/// The way from a folder to a path.
fn relative(folder: &str, path: &str, dotted: bool) -> String {
    let mut here: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let mut there: Vec<&str> = path.split('/').collect();
    while there.len() > 1 && here.first().is_some_and(|part| *part == there[0]) {
        here.remove(0);
        there.remove(0);
    }
    let up = "../".repeat(here.len());
    let begin = if up.is_empty() && dotted { "./" } else { "" };
    // without `./` it would be the end of a path
    let begin = if up.is_empty() && begin.is_empty() { "./" } else { begin };
    format!("{begin}{up}{}", there.join("/"))
}

fn encoded(path: &str, style: LinkStyle, file: &VaultPath) -> String {
    let text = match style {
        LinkStyle::Wiki | LinkStyle::Canvas | LinkStyle::External => path.to_owned(),
        LinkStyle::Markdown | LinkStyle::Definition => utf8_percent_encode(path, ENCODED).to_string(),
        LinkStyle::MarkdownAngled => path.replace('%', "%25").replace('<', "%3C").replace('>', "%3E"),
    };
    if !file.is_canvas() {
        return text;
    }
    let quoted = serde_json::Value::String(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
