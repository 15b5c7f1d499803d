//! Documents into the index: what is on disk is compared with what is indexed, and only what differs is read.
//!
//! What an event says is not believed: it only tells where to look. So a rename, an editor's way of saving, a checkout and
//! a lost event all come to the same.

mod examine;
mod scan;

use std::collections::BTreeSet;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::read::{self, Read};
use super::rules::{Rules, Why};
use super::shared::{Phase, Shared};
use super::target::Target;
use super::watch::{Depth, WatchMode};
use crate::code::{self, FindSymbols};
use crate::documents::{Documents, DocumentsError};
use crate::index::catalog::{Entry, path_of};
use crate::index::generations::Generations;
use crate::index::record::{Privacy, Stat};
use crate::index::words::IndexError;
use crate::memory;
use crate::note::Warning;
use crate::path::VaultPath;
use crate::root::trees::Trees;
use crate::root::{ChildKind, FILE_BYTES_MAX, FileError};

/// Files that are listed as not indexed.
const SKIPPED_MAX: usize = 1_000;
/// Documents that are listed in one step.
const PAGE_DOCUMENTS: usize = 1_000;
/// How long after a change the file system may give another change the same time, in nanoseconds: a tick, and some more.
const TICK_NS: i64 = 50_000_000;
/// Links that are looked at whenever something changes; more are looked at by each scan.
const LINKS_MAX: usize = 1_000;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 128;

/// Why the index does not take what is there.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The index fails.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The documents fail.
    #[error(transparent)]
    Documents(#[from] DocumentsError),
    /// Its folder fails.
    #[error("the folder of the index: {0}")]
    Folder(#[from] std::io::Error),
    /// It is told to end; what was taken in is kept, and the next start goes on.
    #[error("the vault is being closed")]
    Stopped,
}

/// What is indexed, where, and by which rules.
#[derive(Clone)]
pub struct Source {
    /// The files; none where there are only pushed documents.
    pub files: Option<Arc<Trees>>,
    /// What the files are.
    pub reads: Reads,
    /// Pushed documents; none where there are only files.
    pub documents: Option<Arc<Documents>>,
    /// What is wrong with what is configured, to be shown with the faults of the rules.
    pub faults: Vec<String>,
    /// Where in the files all is private, in the language of `.gitignore`.
    pub private: Vec<String>,
    /// Where the index is; outside the vault.
    pub folder: PathBuf,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// Now, in milliseconds of Unix time.
    pub now_ms: fn() -> u64,
}

/// What files are read as.
#[derive(Clone)]
pub enum Reads {
    /// The notes of a vault.
    Notes,
    /// Source files, whose symbols are found so.
    Code(FindSymbols),
}

/// The one who writes the index.
pub struct Ingest {
    source: Source,
    rules: Option<Rules>,
    generations: Generations,
    target: Target,
    shared: Arc<Shared>,
    /// Files that are no documents.
    attachments: BTreeSet<VaultPath>,
    /// Symbolic links, which change when what they lead to does.
    links: BTreeSet<VaultPath>,
    stopping: Arc<AtomicBool>,
    /// Whether something is found now that was not, or is told.
    changed: bool,
    /// Folders that were looked into and are to be watched.
    met: Vec<PathBuf>,
    /// Folders that were found to be gone.
    away: BTreeSet<PathBuf>,
}

impl Reads {
    /// A working tree has folders with tens of thousands of files that nobody asks for, such as `target`.
    pub(super) fn watched(&self) -> Depth {
        match self {
            Self::Notes => Depth::All,
            Self::Code(_) => Depth::Itself,
        }
    }

    /// Largest file that is read, in bytes; of source files, what is larger nobody wrote.
    fn bytes_max(&self) -> u64 {
        match self {
            Self::Notes => FILE_BYTES_MAX,
            Self::Code(_) => code::BYTES_MAX as u64,
        }
    }
}

impl Source {
    /// The rules of the files as they are now.
    fn rules(&self) -> Option<Rules> {
        self.files.as_ref().map(|trees| match self.reads {
            Reads::Notes => Rules::of_notes(trees, &self.private),
            Reads::Code(_) => Rules::of_code(Arc::clone(trees), &self.private),
        })
    }
}

impl Ingest {
    /// Opens the index, or begins one; what is in the vault has yet to be looked at by [`Self::scan`].
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn open(source: Source) -> Result<(Self, Arc<Shared>), IngestError> {
        let generations = Generations::new(&source.folder)?;
        let target = match generations.current().map(|number| Target::open(&generations, number, true)) {
            Some(Ok(target)) => target,
            Some(Err(busy @ IndexError::Busy { .. })) => return Err(busy.into()),
            broken => {
                if let Some(Err(error)) = broken {
                    tracing::error!(%error, "the index is broken and built anew");
                }
                Self::begin(&generations)?
            }
        };
        generations.keep(&[target.number]);
        let shared = Arc::new(Shared::new(Arc::clone(&target.serving)));
        let rules = source.rules();
        let (attachments, links, stopping) = (BTreeSet::new(), BTreeSet::new(), Arc::default());
        let shows = Arc::clone(&shared);
        let ingest = Self {
            source,
            rules,
            generations,
            target,
            shared: shows,
            attachments,
            links,
            stopping,
            changed: true,
            met: Vec::new(),
            away: BTreeSet::new(),
        };
        Ok((ingest, shared))
    }

    fn begin(generations: &Generations) -> Result<Target, IngestError> {
        // a crash may have left one that is only begun
        if let Some(Ok(target)) = generations.unfinished().map(|number| Target::open(generations, number, false)) {
            return Ok(target);
        }
        Ok(Target::open(generations, generations.begin()?, false)?)
    }

    /// Shows how it stands to those who look at another.
    #[must_use]
    pub(super) fn showing(self, shared: Arc<Shared>) -> Self {
        Self { shared, ..self }
    }

    /// Ends what it does where this is set.
    #[must_use]
    pub(super) fn until(self, stopping: Arc<AtomicBool>) -> Self {
        Self { stopping, ..self }
    }

    fn go_on(&self) -> Result<(), IngestError> {
        if self.stopping.load(Ordering::Acquire) { Err(IngestError::Stopped) } else { Ok(()) }
    }

    /// Builds a new index beside the one that is searched, and takes its place when it has everything.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn rebuild(&mut self) -> Result<(), IngestError> {
        self.target = Target::open(&self.generations, self.generations.begin()?, false)?;
        self.attachments.clear();
        self.scan()
    }

    /// Takes in a file where it is another than the one that is indexed.
    fn file(&mut self, root: &Trees, path: &VaultPath, kind: ChildKind, stat: Stat) -> Result<(), IngestError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        if rules.skips(path) == Some(Why::Attachment) {
            if self.attachments.insert(path.clone()) {
                self.target.serving.change().insert_file(path.clone());
            }
            return Ok(());
        }
        let mut by_rule = rules.privacy(path);
        if kind == ChildKind::Link {
            // what a rule hides or keeps private is so by whatever name
            let Some(leads_to) = root.leads_to(path) else { return Ok(()) };
            if matches!(rules.skips(&leads_to), Some(Why::Hidden | Why::Excluded)) {
                self.refuse(path, &FileError::LeftOut(leads_to));
                return Ok(());
            }
            by_rule = by_rule.max(rules.privacy(&leads_to));
        }
        let is_known = |entry: &Entry| {
            // a parser that failed may not fail again
            let is_whole = !entry.warnings.iter().any(|warning| matches!(warning, Warning::Symbols { .. }));
            entry.stat == Some(stat) && entry.by_rule == by_rule && is_whole
        };
        if self.target.serving.catalog().named(path.as_str()).is_some_and(is_known) {
            self.shared.tell().skipped.remove(path.as_str());
            return Ok(());
        }
        let most = self.source.reads.bytes_max();
        if stat.size > most {
            self.refuse(path, &FileError::Large { bytes: stat.size, most });
            return Ok(());
        }
        match root.read(path) {
            Ok(Some((stat, bytes))) => {
                self.shared.tell().bytes_read += bytes.len() as u64;
                self.shared.tell().skipped.remove(path.as_str());
                let now_ms = (self.source.now_ms)();
                let stat = Some(certain(stat, now_ms));
                self.take(path, path.as_str(), stat, by_rule, bytes)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.refuse(path, &error);
                Ok(())
            }
        }
    }

    /// Says why a file is not read. What was indexed of it is found on where it may be there still, and only cannot be read.
    fn refuse(&mut self, path: &VaultPath, error: &FileError) {
        let is_another = !matches!(error, FileError::Io(_) | FileError::Unsteady | FileError::Replaced(_));
        if is_another && self.target.has(path.as_str()) {
            self.forget(vec![path.as_str().to_owned()]);
        }
        let is_document = self.rules.as_ref().is_some_and(|rules| rules.skips(path).is_none());
        if is_document {
            self.skip(path.as_str(), &error.to_string());
        }
    }

    fn take(
        &mut self,
        path: &VaultPath,
        name: &str,
        stat: Option<Stat>,
        by_rule: Privacy,
        bytes: Vec<u8>,
    ) -> Result<(), IngestError> {
        let number = self.target.number_of(name);
        let read = Read { path, name, number, stat, by_rule, now_ms: (self.source.now_ms)() };
        // a pushed document is text, whatever the files are
        let reads = if stat.is_some() { &self.source.reads } else { &Reads::Notes };
        let (record, text) = read::document(read, bytes, reads);
        self.target.put(record, &text)?;
        if self.target.is_full() {
            self.commit()?;
            memory::give_back();
        }
        Ok(())
    }

    /// Makes the index what pushed documents are now.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn examine_documents(&mut self, ids: &[VaultPath]) -> Result<(), IngestError> {
        for id in ids {
            self.document(id)?;
        }
        self.commit()
    }

    fn document(&mut self, id: &VaultPath) -> Result<(), IngestError> {
        let Some(documents) = &self.source.documents else { return Ok(()) };
        let name = documents.name(id);
        let Some(document) = documents.get(id)? else {
            self.forget(vec![name]);
            return Ok(());
        };
        let bytes = document.text.into_bytes();
        let digest = read::digest(&bytes);
        let known = self.target.serving.catalog().named(&name).map(|entry| (entry.digest.clone(), entry.by_rule));
        if known == Some((digest, document.privacy)) {
            return Ok(());
        }
        self.take(&note_path(id), &name, None, document.privacy, bytes)
    }

    /// The documents whose names begin so and that were not seen.
    fn indexed_below(&self, prefix: &str, seen: &BTreeSet<String>) -> Vec<String> {
        let catalog = self.target.serving.catalog();
        let below = catalog.below(prefix).map(|entry| entry.name.clone());
        let of_files = |name: &String| !prefix.is_empty() || path_of(name).is_some();
        below.filter(|name| of_files(name) && !seen.contains(name)).collect()
    }

    fn forget(&mut self, names: Vec<String>) {
        names.into_iter().for_each(|name| self.target.forget(name));
    }

    /// Makes the attachments of which `of` is true those that are there.
    fn keep_attachments(&mut self, there: BTreeSet<VaultPath>, of: impl Fn(&VaultPath) -> bool) {
        let mut catalog = self.target.serving.change();
        let gone: Vec<VaultPath> =
            self.attachments.iter().filter(|path| of(path) && !there.contains(path)).cloned().collect();
        for path in gone {
            catalog.remove_file(&path);
            self.attachments.remove(&path);
        }
        for path in there {
            if self.attachments.insert(path.clone()) {
                catalog.insert_file(path);
            }
        }
    }

    fn skip(&mut self, path: &str, why: &str) {
        self.changed = true;
        let mut status = self.shared.tell();
        if status.skipped.len() < SKIPPED_MAX || status.skipped.contains_key(path) {
            status.skipped.insert(path.to_owned(), why.to_owned());
        } else {
            status.skipped_more += 1;
        }
    }

    /// Whether something has changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        mem::take(&mut self.changed)
    }

    /// Folders that were looked into since this was asked last, where they have to be watched one by one.
    pub(super) fn take_met(&mut self) -> Vec<PathBuf> {
        mem::take(&mut self.met)
    }

    /// Folders that were found to be gone since this was asked last.
    pub(super) fn take_away(&mut self) -> BTreeSet<PathBuf> {
        mem::take(&mut self.away)
    }

    fn commit(&mut self) -> Result<(), IngestError> {
        self.changed |= self.target.commit()?;
        if !self.target.complete {
            self.shared.tell().phase = Phase::Building { documents: self.target.serving.catalog().len() as u64 };
        }
        Ok(())
    }
}

const CONFLICT: &str = "it is the other copy of a conflict; merge it and remove it";

/// How the file was, or nothing that it will ever be again where it may still change without another time.
fn certain(stat: Stat, now_ms: u64) -> Stat {
    let now_ns = i64::try_from(now_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    if now_ns.saturating_sub(stat.changed_ns) < TICK_NS { Stat { changed_ns: i64::MIN, ..stat } } else { stat }
}

/// The path by which a pushed document is read as a note.
fn note_path(id: &VaultPath) -> VaultPath {
    let is_known = id.is_note() || id.is_canvas();
    let named = if is_known { id.as_str().to_owned() } else { format!("{id}.md") };
    VaultPath::new(&named).unwrap_or_else(|_| id.clone())
}
