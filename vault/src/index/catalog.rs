//! What of every document is held in memory: where it is, what it is asked for without its text, and its links.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::record::{Privacy, Record, Stat};
use crate::links::Links;
use crate::note::{Property, Warning};
use crate::path::{VaultPath, key};

/// A document, without its text.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The name that is shown.
    pub title: String,
    /// How the file was; none for what is no file.
    pub stat: Option<Stat>,
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// Its properties.
    pub properties: Vec<Property>,
    /// Its tags from text and properties, each with those above it, as [`key`] gives them.
    pub tags: BTreeSet<String>,
    /// The digests of its passages, in order.
    pub passages: Vec<String>,
    /// Who may see it.
    pub privacy: Privacy,
    /// Who may see it by the rules of where it lies, or of who pushed it.
    pub by_rule: Privacy,
    /// What is wrong with it.
    pub warnings: Vec<Warning>,
    /// When it was read, in milliseconds of Unix time.
    pub indexed_at_ms: u64,
}

/// All documents.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<u64, Entry>,
    numbers: BTreeMap<String, u64>,
    tags: BTreeMap<String, BTreeSet<u64>>,
    properties: BTreeMap<String, BTreeSet<u64>>,
    links: Links,
    next: u64,
}

impl Catalog {
    /// Takes in a document in place of what there was under its name.
    pub fn insert(&mut self, record: &Record) {
        self.remove(&record.name);
        let entry = Entry::new(record);
        for tag in &entry.tags {
            self.tags.entry(tag.clone()).or_default().insert(record.number);
        }
        for property in &entry.properties {
            self.properties.entry(key(&property.name)).or_default().insert(record.number);
        }
        if let Some(path) = path_of(&record.name) {
            self.links.insert_note(path, &record.note);
        }
        self.next = self.next.max(record.number + 1);
        self.numbers.insert(record.name.clone(), record.number);
        self.entries.insert(record.number, entry);
    }

    /// Forgets a document.
    pub fn remove(&mut self, name: &str) {
        let Some(number) = self.numbers.remove(name) else { return };
        let Some(entry) = self.entries.remove(&number) else { return };
        for tag in &entry.tags {
            forget(&mut self.tags, tag, number);
        }
        for property in &entry.properties {
            forget(&mut self.properties, &key(&property.name), number);
        }
        if let Some(path) = path_of(name) {
            self.links.remove(&path);
        }
    }

    /// Takes in a file that is no document, to which links may lead.
    pub fn insert_file(&mut self, path: VaultPath) {
        self.links.insert_file(path, Vec::new());
    }

    /// Forgets a file that is no document.
    pub fn remove_file(&mut self, path: &VaultPath) {
        self.links.remove(path);
    }

    /// The number of a document.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.numbers.get(name).copied()
    }

    /// A number that no document has or had.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// A document by its name.
    pub fn named(&self, name: &str) -> Option<&Entry> {
        self.entries.get(self.numbers.get(name)?)
    }

    /// A document by its number.
    pub fn numbered(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    /// All documents with their numbers.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(number, entry)| (*number, entry))
    }

    /// The documents whose names begin so, in order.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Entry> {
        let from = self.numbers.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let here = from.take_while(move |(name, _)| name.starts_with(prefix));
        here.filter_map(|(_, number)| self.entries.get(number))
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The documents with a tag, given by its key, or one below it.
    pub fn tagged(&self, tag: &str) -> BTreeSet<u64> {
        self.tags.get(tag).cloned().unwrap_or_default()
    }

    /// The documents with a property, given by the key of its name.
    pub fn with_property(&self, name: &str) -> BTreeSet<u64> {
        self.properties.get(name).cloned().unwrap_or_default()
    }

    /// What leads where.
    pub fn links(&self) -> &Links {
        &self.links
    }
}

impl Entry {
    fn new(record: &Record) -> Self {
        let note = &record.note;
        let mut tags = BTreeSet::new();
        for tag in note.tags.iter().map(|tag| &*tag.name).chain(note.property_tags()) {
            let tag = key(tag);
            tags.extend(tag.match_indices('/').map(|(at, _)| tag[..at].to_owned()));
            tags.insert(tag);
        }
        Self {
            name: record.name.clone(),
            title: record.title.clone(),
            stat: record.stat,
            digest: record.digest.clone(),
            properties: note.properties.clone(),
            tags,
            passages: record.passages.iter().map(|passage| passage.digest.clone()).collect(),
            privacy: record.privacy,
            by_rule: record.by_rule,
            warnings: note.warnings.clone(),
            indexed_at_ms: record.indexed_at_ms,
        }
    }
}

/// The path of a document that is a file of the vault.
pub fn path_of(name: &str) -> Option<VaultPath> {
    // all other names begin with `/`, which no path does
    VaultPath::new(name).ok()
}

fn forget(sets: &mut BTreeMap<String, BTreeSet<u64>>, name: &str, number: u64) {
    if let Some(set) = sets.get_mut(name) {
        set.remove(&number);
        if set.is_empty() {
            sets.remove(name);
        }
    }
}
