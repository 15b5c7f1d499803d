//! What each link of a vault leads to, by Obsidian's rules, and what leads to a note.
//!
//! Obsidian's rules: a link names the end of a path. A path from the vault's root that fits wholly is first, then what lies
//! in or below the linking note's folder, then the shortest path. `./` and `../` begin at the note's folder, `/` at the root.
//! The extension of a note may be left out, and neither case nor Unicode form counts. Where no file fits, the other name of
//! exactly one note does.

mod names;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::note::{Heading, Link, LinkStyle, Note, Place, Span};
use crate::path::{self, VaultPath};

pub(crate) use names::Names;

/// What a link leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Out of the vault.
    External,
    /// Nothing that is here.
    Unresolved,
    /// A file, and a place in it.
    File {
        /// The file.
        path: VaultPath,
        /// The place.
        place: TargetPlace,
    },
}

/// The place in a file that a link leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetPlace {
    /// None is named.
    Whole,
    /// A section or block.
    Found(Span),
    /// One that is not there.
    Missing,
}

/// A link, and the note that it is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backlink {
    /// The note with the link.
    pub from: VaultPath,
    /// The link.
    pub link: Link,
}

/// The links of a vault.
#[derive(Clone, Debug, Default)]
pub struct Links {
    names: Names,
    files: BTreeMap<VaultPath, Entry>,
    /// Who has a link whose last part is this, without a note's extension.
    linkers: BTreeMap<String, BTreeSet<VaultPath>>,
}

/// What of a file counts for links.
#[derive(Clone, Debug, Default)]
struct Entry {
    links: Vec<Link>,
    /// Each heading with its section.
    headings: Vec<(Heading, Span)>,
    block_ids: Vec<(String, Span)>,
    aliases: Vec<String>,
}

impl Links {
    /// Takes in a note as it is now.
    pub fn insert_note(&mut self, path: VaultPath, note: &Note) {
        let sections = (0..note.headings.len()).map(|heading| note.section(heading));
        let entry = Entry {
            links: note.links.clone(),
            headings: note.headings.iter().cloned().zip(sections).collect(),
            block_ids: note.block_ids.iter().map(|id| (id.id.to_lowercase(), id.block.clone())).collect(),
            aliases: note.aliases().into_iter().map(str::to_owned).collect(),
        };
        self.insert(path, entry);
    }

    /// Takes in a file that is no note, with the links that it has.
    pub fn insert_file(&mut self, path: VaultPath, links: Vec<Link>) {
        self.insert(path, Entry { links, ..Entry::default() });
    }

    fn insert(&mut self, path: VaultPath, entry: Entry) {
        self.remove(&path);
        self.names.insert(&path, &entry.aliases);
        for link in &entry.links {
            self.linkers.entry(link_name(link)).or_default().insert(path.clone());
        }
        self.files.insert(path, entry);
    }

    /// Forgets a file.
    pub fn remove(&mut self, path: &VaultPath) {
        let Some(entry) = self.files.remove(path) else { return };
        self.names.remove(path, &entry.aliases);
        for link in &entry.links {
            let name = link_name(link);
            if let Some(linkers) = self.linkers.get_mut(&name) {
                linkers.remove(path);
                if linkers.is_empty() {
                    self.linkers.remove(&name);
                }
            }
        }
    }

    /// Whether the file is here.
    pub fn contains(&self, path: &VaultPath) -> bool {
        self.files.contains_key(path)
    }

    /// What a link in a note leads to.
    pub fn resolve(&self, from: &VaultPath, link: &Link) -> Target {
        if link.style == LinkStyle::External {
            return Target::External;
        }
        let Some(path) = self.names.find(from, link) else { return Target::Unresolved };
        let place = link.place.as_ref().map_or(TargetPlace::Whole, |place| self.place(&path, place));
        Target::File { path, place }
    }

    fn place(&self, path: &VaultPath, place: &Place) -> TargetPlace {
        let Some(entry) = self.files.get(path) else { return TargetPlace::Missing };
        let found = match place {
            Place::Block(id) => {
                let id = id.to_lowercase();
                entry.block_ids.iter().find(|(known, _)| *known == id).map(|(_, block)| block.clone())
            }
            Place::Headings(headings) => entry.section(headings),
        };
        found.map_or(TargetPlace::Missing, TargetPlace::Found)
    }

    /// The links of a note, with what they lead to.
    pub fn outgoing<'a>(&'a self, path: &'a VaultPath) -> impl Iterator<Item = (&'a Link, Target)> {
        let links = self.files.get(path).into_iter().flat_map(|entry| &entry.links);
        links.map(move |link| (link, self.resolve(path, link)))
    }

    /// The links of other notes to this file, by the note that has them.
    pub fn backlinks(&self, to: &VaultPath) -> Vec<Backlink> {
        let leads_here = |from: &VaultPath, link: &Link| matches!(self.resolve(from, link), Target::File { path, .. } if path == *to);
        let mut found = Vec::new();
        for from in self.may_link(to).into_iter().filter(|from| *from != to) {
            let links = self.files[from].links.iter().filter(|link| leads_here(from, link));
            found.extend(links.map(|link| Backlink { from: from.clone(), link: link.clone() }));
        }
        found
    }

    /// The files with a link whose last part may name this one.
    pub(crate) fn may_link(&self, to: &VaultPath) -> BTreeSet<&VaultPath> {
        let aliases = self.files.get(to).into_iter().flat_map(|entry| &entry.aliases);
        let names = aliases.map(|alias| path::key(alias)).chain([file_name(to)]);
        names.filter_map(|name| self.linkers.get(&name)).flatten().collect()
    }

    /// Links that lead nowhere, by the name that they have.
    pub fn unresolved(&self) -> BTreeMap<String, Vec<Backlink>> {
        let mut found: BTreeMap<String, Vec<Backlink>> = BTreeMap::new();
        for (from, entry) in &self.files {
            for link in entry.links.iter().filter(|link| self.resolve(from, link) == Target::Unresolved) {
                let backlink = Backlink { from: from.clone(), link: link.clone() };
                found.entry(link.path.clone()).or_default().push(backlink);
            }
        }
        found
    }

    /// Notes that no other note links to.
    pub fn orphans(&self) -> Vec<&VaultPath> {
        self.files.keys().filter(|path| path.is_note() && self.backlinks(path).is_empty()).collect()
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn links_of(&self, path: &VaultPath) -> &[Link] {
        self.files.get(path).map_or(&[], |entry| &entry.links)
    }

    pub(crate) fn aliases_of(&self, path: &VaultPath) -> &[String] {
        self.files.get(path).map_or(&[], |entry| &entry.aliases)
    }
}

impl Entry {
    /// The section of the last heading: each lies in the one before.
    fn section(&self, headings: &[String]) -> Option<Span> {
        let mut within: Option<Span> = None;
        let mut rest = &self.headings[..];
        for wanted in headings {
            let wanted = heading_key(wanted);
            let found = rest.iter().position(|(heading, section)| {
                heading_key(&heading.text) == wanted && within.as_ref().is_none_or(|within| section.end <= within.end)
            })?;
            within = Some(rest[found].1.clone());
            rest = &rest[found + 1..];
        }
        within
    }
}

/// A heading as links name it: Obsidian leaves out the signs that mean something in a link, and joins spaces.
pub(crate) fn heading_key(text: &str) -> String {
    let plain: String = text.chars().map(|next| if "#|^:%[]\\".contains(next) { ' ' } else { next }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    path::key(&words.join(" "))
}

/// The last part of what a link names, as [`file_name`] gives that of a file.
fn link_name(link: &Link) -> String {
    let last = link.path.rsplit('/').next().unwrap_or_default();
    without_extension(path::key(last))
}

fn file_name(path: &VaultPath) -> String {
    without_extension(path::key(path.name()))
}

fn without_extension(mut name: String) -> String {
    if name.ends_with(".md") {
        name.truncate(name.len() - ".md".len());
    }
    name
}
