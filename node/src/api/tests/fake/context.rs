//! The vault of the node in memory: nothing is in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt as _;

use vault::edit::Patched;
use vault::edit::names::Renamed;
use vault::ingest::shared::Status;
use vault::search::{Answer, Mode};
use vault::transfer::Counts;

use super::Fake;
use crate::api::operations::Upload;
use crate::ops::error::Error;
use crate::ops::transfer::Lines;
use crate::ops::types::{
    ContextQuery, Coverage, Ingest, Ingested, LinksQuery, NoteLinks, NotePatch, NoteQuery, NoteRename, NoteText,
    SearchQuery, VaultStatus, VaultStatusQuery,
};
use crate::ops::{Caller, Scope};

fn status() -> VaultStatus {
    VaultStatus {
        vault: None,
        coverage: Coverage { documents: 0, words: 0, meaning: 0 },
        warnings: BTreeMap::new(),
        index: Status::default(),
        meaning: None,
        others: Vec::new(),
        note: None,
    }
}

impl Fake {
    pub async fn search(&self, caller: &Caller, query: SearchQuery) -> Result<Answer, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(Answer { hits: Vec::new(), mode: Mode::Keyword, notices: vec![query.q] })
    }

    pub async fn context(&self, caller: &Caller, _: ContextQuery) -> Result<Bytes, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(Bytes::from_static(b"{}"))
    }

    pub async fn job_context(&self, caller: &Caller, _: &str) -> Result<Bytes, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(Bytes::from_static(b"{}"))
    }

    pub async fn ingest(&self, caller: &Caller, ingest: Ingest) -> Result<Ingested, Error> {
        caller.require(Scope::ContextWrite)?;
        Ok(Ingested { kept: ingest.documents.len(), removed: 0 })
    }

    pub async fn note(&self, caller: &Caller, query: NoteQuery) -> Result<NoteText, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(NoteText { path: query.path, digest: String::new(), text: String::new() })
    }

    pub async fn patch_note(&self, caller: &Caller, _: NoteQuery, _: NotePatch) -> Result<Patched, Error> {
        caller.require(Scope::ContextWrite)?;
        Ok(Patched { digest: String::new(), changed: false })
    }

    pub async fn rename_note(&self, caller: &Caller, _: NoteRename) -> Result<Renamed, Error> {
        caller.require(Scope::ContextWrite)?;
        Ok(Renamed::default())
    }

    pub async fn links(&self, caller: &Caller, _: LinksQuery) -> Result<NoteLinks, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(NoteLinks::Vault { unresolved: BTreeMap::new(), orphans: Vec::new() })
    }

    pub async fn vault_status(&self, caller: &Caller, _: VaultStatusQuery) -> Result<VaultStatus, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(status())
    }

    pub async fn rebuild_vault(&self, caller: &Caller) -> Result<VaultStatus, Error> {
        caller.require(Scope::ContextWrite)?;
        Ok(status())
    }

    pub async fn export_vault(&self, caller: &Caller) -> Result<Lines, Error> {
        caller.require(Scope::ContextRead)?;
        Ok(futures::stream::empty().boxed())
    }

    pub async fn import_vault(&self, caller: &Caller, _: Upload) -> Result<Counts, Error> {
        caller.require(Scope::ContextWrite)?;
        Ok(Counts::default())
    }
}
