//! A look at everything: the folders of the vault, and the pushed documents.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::rules::Why;
use super::super::shared::Phase;
use super::super::watch::Depth;
use super::{CONFLICT, DEPTH_MAX, Ingest, IngestError, LINKS_MAX, PAGE_DOCUMENTS};
use crate::memory;
use crate::path::VaultPath;
use crate::root::trees::Trees;
use crate::root::{ChildKind, FileError};

impl Ingest {
    /// Makes the index what the vault and the documents are.
    ///
    /// # Errors
    /// When the index cannot be written; the next scan goes on.
    pub fn scan(&mut self) -> Result<(), IngestError> {
        self.begin_scan();
        if let Some(root) = self.source.files.clone() {
            self.rules = self.source.rules();
            let of_rules = self.rules.iter().flat_map(|rules| rules.faults());
            let faults = self.source.faults.iter().chain(of_rules).cloned().collect();
            self.shared.tell().faults = faults;
            self.links.clear();
            let mut seen = BTreeSet::new();
            let mut attachments = BTreeSet::new();
            self.look_into(&root, "", &mut seen, &mut attachments)?;
            let gone = self.indexed_below("", &seen);
            self.forget(gone);
            self.keep_attachments(attachments, |_| true);
        }
        self.scan_documents()?;
        self.commit()?;
        self.complete()?;
        memory::give_back();
        Ok(())
    }

    fn begin_scan(&self) {
        let mut status = self.shared.tell();
        status.skipped.clear();
        status.skipped_more = 0;
        if !self.target.complete {
            status.phase = Phase::Building { documents: self.target.serving.catalog().len() as u64 };
        }
    }

    fn complete(&mut self) -> Result<(), IngestError> {
        if !self.target.complete {
            self.generations.make_current(self.target.number)?;
            self.target.complete = true;
            self.shared.serve(Arc::clone(&self.target.serving));
            self.generations.keep(&[self.target.number]);
        }
        self.changed = true;
        let mut status = self.shared.tell();
        status.phase = Phase::Ready;
        status.failure = None;
        status.scanned_at_ms = Some((self.source.now_ms)());
        Ok(())
    }

    pub(super) fn look_into(
        &mut self,
        root: &Trees,
        folder: &str,
        seen: &mut BTreeSet<String>,
        attachments: &mut BTreeSet<VaultPath>,
    ) -> Result<(), IngestError> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let children = match root.children(&folder) {
                Ok(children) => children,
                Err(error) => {
                    if let FileError::Replaced(gone) = &error {
                        self.away.insert(gone.clone());
                    }
                    // what was in it is not gone: it is only not seen
                    let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                    seen.extend(self.indexed_below(&below, &BTreeSet::new()));
                    attachments
                        .extend(self.attachments.iter().filter(|path| path.as_str().starts_with(&below)).cloned());
                    self.skip(if folder.is_empty() { "the whole folder" } else { &folder }, &error.to_string());
                    continue;
                }
            };
            if self.source.reads.watched() == Depth::Itself {
                self.met.extend(root.on_disk(&folder));
            }
            for child in children {
                self.go_on()?;
                let name = match child.name {
                    Ok(name) => name,
                    Err(shown) => {
                        self.skip(&shown, "its name is not UTF-8");
                        continue;
                    }
                };
                let whole = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let Ok(path) = VaultPath::new(&whole) else { continue };
                let rules = self.rules.as_ref().expect("a vault has rules");
                if child.kind == ChildKind::Folder {
                    let depth = whole.matches('/').count();
                    if depth < DEPTH_MAX && !rules.skips_folder(&path) {
                        folders.push(whole);
                    }
                    continue;
                }
                match rules.skips(&path) {
                    Some(Why::Hidden | Why::Excluded) => {}
                    Some(Why::Conflict) => self.skip(&whole, CONFLICT),
                    Some(Why::Attachment) => drop(attachments.insert(path)),
                    None => {
                        if child.kind == ChildKind::Link && self.links.len() < LINKS_MAX {
                            self.links.insert(path.clone());
                        }
                        seen.insert(whole);
                        self.looked_at(root, &path, child.kind)?;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn looked_at(&mut self, root: &Trees, path: &VaultPath, kind: ChildKind) -> Result<(), IngestError> {
        match root.stat(path) {
            Ok(Some(stat)) => self.file(root, path, kind, stat),
            Ok(None) => Ok(()),
            Err(error) => {
                self.refuse(path, &error);
                Ok(())
            }
        }
    }

    fn scan_documents(&mut self) -> Result<(), IngestError> {
        let Some(documents) = self.source.documents.clone() else { return Ok(()) };
        let mut seen = BTreeSet::new();
        let mut after = None;
        loop {
            let ids = documents.ids(after.as_ref(), PAGE_DOCUMENTS)?;
            let Some(last) = ids.last() else { break };
            after = Some(last.clone());
            for id in ids {
                self.go_on()?;
                seen.insert(documents.name(&id));
                self.document(&id)?;
            }
        }
        let gone = self.indexed_below(documents.begin(), &seen);
        self.forget(gone);
        Ok(())
    }
}
