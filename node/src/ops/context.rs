//! The vault: searching, packs, documents, changes of notes, links, and how all of it stands.

mod patch;
pub(super) mod refused;
mod shown;

use std::sync::Arc;

use bytes::Bytes;
use vault::context::Ask;
use vault::edit::names::{self, Renamed};
use vault::edit::{self, Patched};
use vault::index::record::Privacy;
use vault::ingest::read::digest;
use vault::pack::{Budget, Private};
use vault::path::VaultPath;
use vault::search::{self, Answer, Request};

use super::error::{Code, Error};
use super::jobs::storage;
use super::types::{
    ContextQuery, Ingest, Ingested, LinksQuery, NoteLinks, NotePatch, NoteQuery, NoteRename, NoteText, SearchQuery,
    VaultStatus, VaultStatusQuery,
};
use super::{Caller, Scope};
use crate::context::Opened;
use crate::node::Node;

/// Hits of a search that says nothing, and the budget of such a pack, in tokens.
const HITS: usize = 10;
pub(super) const BUDGET_TOKENS: usize = 4_000;
/// Documents of one push.
const DOCUMENTS_MAX: usize = 1_000;
/// Largest pack that is shown of a job, in bytes.
const PACK_BYTES_MAX: u64 = 16 << 20;

impl Node {
    /// What fits a search.
    ///
    /// # Errors
    /// When the query is none, or there is nothing to search.
    pub async fn search(self: &Arc<Self>, caller: &Caller, query: SearchQuery) -> Result<Answer, Error> {
        caller.require(Scope::ContextRead)?;
        self.with_vault(move |opened| {
            let indexed = opened.indexed(query.content)?;
            let ready = indexed.ready();
            let privacy = if query.private { Privacy::Private } else { Privacy::Open };
            let (mode, matching, limit) = (query.mode, query.matching, query.limit.unwrap_or(HITS));
            let request = Request { query: &query.q, mode, matching, limit, privacy };
            let meaning = ready.as_ref().map(vault::meaning::Ready::meaning).map_err(Clone::clone);
            search::search(&indexed.serving(), meaning, request).map_err(|error| refused::search(&error))
        })
        .await
    }

    /// A context pack.
    ///
    /// # Errors
    /// When nothing is asked for, a note is not there, or the budget is 0.
    pub async fn context(self: &Arc<Self>, caller: &Caller, query: ContextQuery) -> Result<Bytes, Error> {
        caller.require(Scope::ContextRead)?;
        self.with_vault(move |opened| {
            let notes: Vec<String> = query.notes.iter().flat_map(|notes| notes.lines().map(str::to_owned)).collect();
            let private = if query.open_only { Private::Refused } else { Private::Taken };
            let budget = budget(query.budget_tokens, query.budget_bytes)?;
            let text = query.q.as_deref().unwrap_or_default();
            let ask = Ask { text, named: &notes, budget, private, privacy: Privacy::Open };
            let made = opened.pack(ask)?;
            Ok(Bytes::from(made.pack.to_json()))
        })
        .await
    }

    /// The pack that a job was submitted with.
    ///
    /// # Errors
    /// When there is no such job, or it has none.
    pub async fn job_context(self: &Arc<Self>, caller: &Caller, id: &str) -> Result<Bytes, Error> {
        caller.require(Scope::ContextRead)?;
        let job = self.find(id)?;
        let Some(digest) = job.create.spec.context else {
            return Err(Error::new(Code::NotFound, format!("the job {id} was submitted without a context pack")));
        };
        let blobs = self.blobs.clone();
        let read = tokio::task::spawn_blocking(move || blobs.read(digest, PACK_BYTES_MAX)).await;
        let read = read.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        read.map(Bytes::from).map_err(|_| {
            Error::new(Code::Gone, format!("the context pack of the job {id} is not on this node"))
                .hint("ask its author's node, or the one that ran it")
        })
    }

    /// Keeps and forgets pushed documents; they are searchable as they are when it answers.
    ///
    /// # Errors
    /// When one is too long, there are too many, or they cannot be stored.
    pub async fn ingest(self: &Arc<Self>, caller: &Caller, ingest: Ingest) -> Result<Ingested, Error> {
        caller.require(Scope::ContextWrite)?;
        let count = ingest.documents.len() + ingest.remove.len();
        if count == 0 || count > DOCUMENTS_MAX {
            let words = format!("a push has 1 to {DOCUMENTS_MAX} documents, not {count}");
            return Err(Error::new(Code::BadRequest, words));
        }
        let node = Arc::clone(self);
        let work = move || {
            let opened = node.context.open()?;
            opened.documents.put(&ingest.documents).map_err(|error| refused::documents(&error))?;
            let mut removed = 0;
            for id in &ingest.remove {
                removed += usize::from(opened.documents.remove(id).map_err(|error| refused::documents(&error))?);
            }
            let kept = ingest.documents.len();
            let ids = ingest.documents.into_iter().map(|document| document.id).chain(ingest.remove).collect();
            opened.notes.worker.documents(ids).map_err(|error| storage(&error))?;
            Ok(Ingested { kept, removed })
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::new(Code::Internal, error.to_string()))?
    }

    /// A note as it is.
    ///
    /// # Errors
    /// When there is none.
    pub async fn note(self: &Arc<Self>, caller: &Caller, query: NoteQuery) -> Result<NoteText, Error> {
        caller.require(Scope::ContextRead)?;
        self.with_vault(move |opened| {
            let (root, path) = (opened.root()?, path(&query.path)?);
            let read = root.read(&path).map_err(|error| refused::file(&error, &error))?;
            let Some((_, bytes)) = read else {
                return Err(Error::new(Code::NotFound, format!("there is no note {path}")));
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(NoteText { path: path.into(), digest: digest(&bytes), text })
        })
        .await
    }

    /// Changes one section, block or property of a note.
    ///
    /// # Errors
    /// When the note is another than was seen, the place is not in it, or it cannot be written.
    pub async fn patch_note(
        self: &Arc<Self>,
        caller: &Caller,
        query: NoteQuery,
        change: NotePatch,
    ) -> Result<Patched, Error> {
        caller.require(Scope::ContextWrite)?;
        self.with_vault(move |opened| {
            let (root, path) = (opened.root()?, path(&query.path)?);
            let seen = change.if_match.clone();
            let patch = patch::patch(change)?;
            edit::patch(root, &path, seen.as_deref(), &patch).map_err(|error| refused::edit(&error))
        })
        .await
    }

    /// Gives a file another name, and has every link follow.
    ///
    /// # Errors
    /// When it cannot have that name, or a file with links changes meanwhile.
    pub async fn rename_note(self: &Arc<Self>, caller: &Caller, wish: NoteRename) -> Result<Renamed, Error> {
        caller.require(Scope::ContextWrite)?;
        self.with_vault(move |opened| {
            let (root, from, to) = (opened.root()?, path(&wish.from)?, path(&wish.to)?);
            // what was just written has to be known before links are
            opened.notes.worker.scan().map_err(|error| storage(&error))?;
            let serving = opened.notes.serving();
            let plan = {
                let catalog = serving.catalog();
                let digest_of = |path: &VaultPath| catalog.named(path.as_str()).map(|entry| entry.digest.clone());
                names::plan(catalog.links(), digest_of, &from, &to)
            };
            let renamed = plan.and_then(|plan| opened.namer.rename(root, plan));
            let renamed = renamed.map_err(|error| refused::name(&error))?;
            opened.notes.worker.scan().map_err(|error| storage(&error))?;
            Ok(renamed)
        })
        .await
    }

    /// The links of a file, or what leads nowhere in the vault.
    ///
    /// # Errors
    /// When there is no such file.
    pub async fn links(self: &Arc<Self>, caller: &Caller, query: LinksQuery) -> Result<NoteLinks, Error> {
        caller.require(Scope::ContextRead)?;
        self.with_vault(move |opened| match query.path {
            Some(wanted) => opened.links_of(&path(&wanted)?),
            None => Ok(opened.loose_links()),
        })
        .await
    }

    /// How the vault stands, and one of its files.
    ///
    /// # Errors
    /// When there is none.
    pub async fn vault_status(
        self: &Arc<Self>,
        caller: &Caller,
        query: VaultStatusQuery,
    ) -> Result<VaultStatus, Error> {
        caller.require(Scope::ContextRead)?;
        self.with_vault(move |opened| {
            let note = query.path.as_deref().map(|path| opened.note_status(path)).transpose()?;
            Ok(opened.status(note))
        })
        .await
    }

    /// Builds the index anew beside the old one, which answers meanwhile; returns when it is begun.
    ///
    /// # Errors
    /// When there is no vault.
    pub async fn rebuild_vault(self: &Arc<Self>, caller: &Caller) -> Result<VaultStatus, Error> {
        caller.require(Scope::ContextWrite)?;
        self.with_vault(move |opened| {
            let builder = Arc::clone(opened);
            std::thread::Builder::new()
                .name("rebuild".to_owned())
                .spawn(move || {
                    if let Err(error) = builder.notes.worker.rebuild() {
                        tracing::error!(%error, "the index is not built anew");
                    }
                })
                .map_err(|error| storage(&error))?;
            Ok(opened.status(None))
        })
        .await
    }

    async fn with_vault<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Opened>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let opened = self.context.get()?;
        let done = tokio::task::spawn_blocking(move || work(&opened)).await;
        done.map_err(|error| Error::new(Code::Internal, error.to_string()))?
    }
}

/// The budget that is meant.
pub(super) fn budget(tokens: Option<usize>, bytes: Option<usize>) -> Result<Budget, Error> {
    match (tokens, bytes) {
        (Some(_), Some(_)) => Err(Error::new(Code::BadRequest, "a budget is in tokens or in bytes, not in both")),
        (Some(tokens), None) => Ok(Budget::Tokens(tokens)),
        (None, Some(bytes)) => Ok(Budget::Bytes(bytes)),
        (None, None) => Ok(Budget::Tokens(BUDGET_TOKENS)),
    }
}

fn path(text: &str) -> Result<VaultPath, Error> {
    VaultPath::new(text).map_err(|error| Error::new(Code::BadRequest, format!("'{text}': {error}")))
}
