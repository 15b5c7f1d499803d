//! The generation of the index that is written, in batches of which each is there whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::shared::Serving;
use crate::index::catalog::Catalog;
use crate::index::generations::Generations;
use crate::index::record::Record;
use crate::index::words::{self, IndexError, WordsWriter};

/// Documents and bytes of text after which a batch is full.
const BATCH_DOCUMENTS: usize = 4_000;
const BATCH_BYTES: usize = 32 << 20;

/// The generation that is written.
pub(super) struct Target {
    /// Which it is.
    pub number: u64,
    /// Whether it has everything, so that it is the current one.
    pub complete: bool,
    /// What is searched of it.
    pub serving: Arc<Serving>,
    writer: WordsWriter,
    next_number: u64,
    staged: BTreeMap<String, Record>,
    staged_bytes: usize,
    removed: BTreeSet<String>,
}

impl Target {
    /// Opens a generation that may be broken in any way.
    pub fn open(generations: &Generations, number: u64, complete: bool) -> Result<Self, IndexError> {
        // the library panics over files that are cut short; nothing of what it was doing is used afterwards
        let opened = catch_unwind(AssertUnwindSafe(|| Self::read(generations, number, complete)));
        opened.unwrap_or_else(|_| {
            let folder = generations.path(number).display().to_string();
            Err(IndexError::Damaged { folder, files: 1 })
        })
    }

    fn read(generations: &Generations, number: u64, complete: bool) -> Result<Self, IndexError> {
        let (words, writer) = words::open(&generations.path(number))?;
        let mut catalog = Catalog::default();
        words.records(|record| catalog.insert(&record))?;
        let next_number = catalog.next_number();
        let serving = Arc::new(Serving::new(words, catalog));
        let (staged, staged_bytes, removed) = (BTreeMap::new(), 0, BTreeSet::new());
        Ok(Self { number, complete, serving, writer, next_number, staged, staged_bytes, removed })
    }

    /// The number of a document, or the one that it will have.
    pub fn number_of(&mut self, name: &str) -> u64 {
        let staged = self.staged.get(name).map(|record| record.number);
        let known = staged.or_else(|| self.serving.catalog().number(name));
        known.unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number - 1
        })
    }

    /// Whether a document is indexed, or will be.
    pub fn has(&self, name: &str) -> bool {
        self.staged.contains_key(name) || self.serving.catalog().number(name).is_some() && !self.removed.contains(name)
    }

    pub fn put(&mut self, record: Record, text: &str) -> Result<(), IndexError> {
        self.writer.put(&record, text)?;
        self.removed.remove(&record.name);
        self.staged_bytes += text.len();
        self.staged.insert(record.name.clone(), record);
        Ok(())
    }

    pub fn forget(&mut self, name: String) {
        self.writer.remove(&name);
        self.staged.remove(&name);
        self.removed.insert(name);
    }

    /// Whether so much waits that it should be committed.
    pub fn is_full(&self) -> bool {
        self.staged.len() >= BATCH_DOCUMENTS || self.staged_bytes >= BATCH_BYTES
    }

    /// Makes durable, and lets be searched, what waits; whether anything did.
    pub fn commit(&mut self) -> Result<bool, IndexError> {
        if self.staged.is_empty() && self.removed.is_empty() {
            return Ok(false);
        }
        self.writer.commit()?;
        self.serving.words.refresh()?;
        let mut catalog = self.serving.change();
        for name in mem::take(&mut self.removed) {
            catalog.remove(&name);
        }
        for record in mem::take(&mut self.staged).into_values() {
            catalog.insert(&record);
        }
        self.staged_bytes = 0;
        Ok(true)
    }
}
