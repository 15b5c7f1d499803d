//! What the vault shows of itself: packs, links, how it stands.

use std::collections::BTreeMap;

use vault::context::{self, Ask, Made};
use vault::index::record::Privacy;
use vault::ingest::shared::Phase;
use vault::links::{Target, TargetPlace};
use vault::meaning::Meanings;
use vault::pack::tokens;
use vault::path::VaultPath;
use vault::vectors::Content;

use super::refused;
use crate::context::{Indexed, Opened};
use crate::ops::error::{Code, Error};
use crate::ops::types::{Coverage, LinkShown, NoteLinks, NoteStatus, OtherStatus, VaultStatus};

/// Documents with warnings that a status names.
const WARNED_MAX: usize = 1_000;

impl Opened {
    pub(super) fn root(&self) -> Result<&vault::root::Root, Error> {
        self.root.as_deref().ok_or_else(|| Error::new(Code::NoVault, "this node has documents, and no vault"))
    }

    /// Makes a pack.
    pub(in crate::ops) fn pack(&self, ask: Ask<'_>) -> Result<Made, Error> {
        let ready = self.notes.ready();
        let meaning = ready.as_ref().map(vault::meaning::Ready::meaning).map_err(Clone::clone);
        context::pack(&self.notes.serving(), meaning, ask, &tokens::tokens).map_err(|error| refused::context(&error))
    }

    pub(super) fn links_of(&self, path: &VaultPath) -> Result<NoteLinks, Error> {
        let serving = self.notes.serving();
        let catalog = serving.catalog();
        if !catalog.links().contains(path) {
            return Err(Error::new(Code::NotFound, format!("there is no file {path} in the vault")));
        }
        let outgoing = catalog.links().outgoing(path).map(|(link, target)| {
            let (path, leads) = match target {
                Target::External => (None, "external"),
                Target::Unresolved => (None, "unresolved"),
                Target::File { path, place: TargetPlace::Missing } => (Some(path.into()), "missing_place"),
                Target::File { path, place: TargetPlace::Whole | TargetPlace::Found(_) } => (Some(path.into()), "file"),
            };
            LinkShown { path, target: link.path.clone(), leads: leads.to_owned() }
        });
        let outgoing = outgoing.collect();
        let backlinks = catalog.links().backlinks(path).into_iter().map(|backlink| LinkShown {
            path: Some(backlink.from.into()),
            target: backlink.link.path,
            leads: "file".to_owned(),
        });
        Ok(NoteLinks::File { path: path.to_string(), outgoing, backlinks: backlinks.collect() })
    }

    pub(super) fn loose_links(&self) -> NoteLinks {
        let serving = self.notes.serving();
        let catalog = serving.catalog();
        let unresolved = catalog.links().unresolved().into_iter().map(|(name, links)| {
            let mut files: Vec<String> = links.into_iter().map(|link| link.from.into()).collect();
            files.dedup();
            (name, files)
        });
        let unresolved = unresolved.collect();
        let orphans = catalog.links().orphans().into_iter().map(ToString::to_string).collect();
        NoteLinks::Vault { unresolved, orphans }
    }

    pub(super) fn status(&self, note: Option<NoteStatus>) -> VaultStatus {
        let shared = self.notes.worker.shared();
        let serving = shared.serving();
        let catalog = serving.catalog();
        let mut warnings = BTreeMap::new();
        for (_, entry) in catalog.entries().filter(|(_, entry)| !entry.warnings.is_empty()).take(WARNED_MAX) {
            let words: Vec<String> = entry.warnings.iter().map(ToString::to_string).collect();
            warnings.insert(entry.name.clone(), words);
        }
        drop(catalog);
        let other = |content: Content| {
            let indexed = self.indexed(content).ok()?;
            let (coverage, meaning) = (coverage(indexed), indexed.meanings.as_ref().map(Meanings::status));
            Some(OtherStatus { content, coverage, index: indexed.worker.shared().status(), meaning })
        };
        VaultStatus {
            vault: self.root.as_ref().map(|root| root.folder().display().to_string()),
            coverage: coverage(&self.notes),
            warnings,
            meaning: self.notes.meanings.as_ref().map(Meanings::status),
            index: shared.status(),
            others: [Content::Code, Content::Runs].into_iter().filter_map(other).collect(),
            note,
        }
    }

    pub(super) fn note_status(&self, path: &str) -> Result<NoteStatus, Error> {
        let shared = self.notes.worker.shared();
        let serving = shared.serving();
        let catalog = serving.catalog();
        let status = shared.status();
        let Some(entry) = catalog.named(path) else {
            let why = match status.skipped.get(path) {
                Some(why) => why.clone(),
                None if status.phase == Phase::Ready => {
                    return Err(Error::new(Code::NotFound, format!("there is no document {path}")));
                }
                None => "the index is being built".to_owned(),
            };
            let why = Some(why);
            let path = path.to_owned();
            return Ok(NoteStatus {
                path,
                words_at_ms: None,
                links_at_ms: None,
                meaning_at_ms: None,
                why,
                private: false,
            });
        };
        let meaning_at_ms = self.notes.meanings.as_ref().and_then(|all| all.stamped(path, &entry.passages));
        let why = match (&self.notes.meanings, meaning_at_ms) {
            (_, Some(_)) => None,
            (None, _) => Some("no embedder is configured".to_owned()),
            (Some(all), None) => {
                let waits = || "its passages wait to be embedded".to_owned();
                Some(all.status().failure.unwrap_or_else(waits))
            }
        };
        Ok(NoteStatus {
            path: entry.name.clone(),
            words_at_ms: Some(entry.indexed_at_ms),
            links_at_ms: Some(entry.indexed_at_ms),
            meaning_at_ms,
            why,
            private: entry.privacy == Privacy::Private,
        })
    }
}

fn coverage(indexed: &Indexed) -> Coverage {
    let (serving, status) = (indexed.serving(), indexed.worker.shared().status());
    let catalog = serving.catalog();
    let words = catalog.len() as u64;
    let has_vectors = |all: &Meanings| {
        catalog.entries().filter(|(_, entry)| all.stamped(&entry.name, &entry.passages).is_some()).count() as u64
    };
    let meaning = indexed.meanings.as_ref().map_or(0, has_vectors);
    Coverage { documents: words + status.skipped.len() as u64 + status.skipped_more, words, meaning }
}
