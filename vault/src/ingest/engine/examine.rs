//! A look at places where something may have changed.

use std::collections::BTreeSet;

use super::super::rules::Why;
use super::{CONFLICT, Ingest, IngestError, LINKS_MAX};
use crate::path::VaultPath;
use crate::root::ChildKind;
use crate::root::trees::Trees;

impl Ingest {
    /// Looks at places in the files where something may have changed.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn examine(&mut self, places: &BTreeSet<VaultPath>) -> Result<(), IngestError> {
        let Some(root) = self.source.files.clone() else { return Ok(()) };
        if places.iter().any(|place| self.rules.as_ref().is_some_and(|rules| rules.is_rule(place))) {
            return self.scan();
        }
        for place in places.iter().chain(&self.links.clone()) {
            self.go_on()?;
            self.examine_one(&root, place)?;
        }
        self.commit()
    }

    fn examine_one(&mut self, root: &Trees, place: &VaultPath) -> Result<(), IngestError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        // what it is goes before what its name looks like: a folder has no name of a file
        let kind = match root.kind(place) {
            Ok(Some(kind)) => kind,
            Ok(None) => {
                self.gone(place);
                return Ok(());
            }
            Err(error) => {
                self.refuse(place, &error);
                return Ok(());
            }
        };
        if kind == ChildKind::Folder {
            if rules.skips_folder(place) {
                return Ok(());
            }
            return self.examine_folder(root, place);
        }
        match rules.skips(place) {
            Some(Why::Hidden | Why::Excluded) => return Ok(()),
            Some(Why::Conflict) => {
                self.skip(place.as_str(), CONFLICT);
                return Ok(());
            }
            Some(Why::Attachment) | None => {}
        }
        if kind == ChildKind::Link && self.links.len() < LINKS_MAX {
            self.links.insert(place.clone());
        }
        self.looked_at(root, place, kind)
    }

    fn examine_folder(&mut self, root: &Trees, place: &VaultPath) -> Result<(), IngestError> {
        // a note may have been there before
        if self.target.has(place.as_str()) {
            self.forget(vec![place.as_str().to_owned()]);
        }
        self.shared.tell().skipped.remove(place.as_str());
        let (mut seen, mut attachments) = (BTreeSet::new(), BTreeSet::new());
        self.look_into(root, place.as_str(), &mut seen, &mut attachments)?;
        let below = format!("{place}/");
        let gone = self.indexed_below(&below, &seen);
        self.forget(gone);
        self.keep_attachments(attachments, |path| path.as_str().starts_with(&below));
        Ok(())
    }

    /// Forgets a file, or a folder with all that was in it.
    fn gone(&mut self, place: &VaultPath) {
        let below = format!("{place}/");
        let mut gone = self.indexed_below(&below, &BTreeSet::new());
        if self.target.has(place.as_str()) {
            gone.push(place.as_str().to_owned());
        }
        self.forget(gone);
        let is_there = |path: &VaultPath| path != place && !path.as_str().starts_with(&below);
        let left = self.attachments.iter().filter(|path| is_there(path)).cloned().collect();
        self.keep_attachments(left, |_| true);
        self.links.remove(place);
        self.shared.tell().skipped.retain(|path, _| path != place.as_str() && !path.starts_with(&below));
    }
}
