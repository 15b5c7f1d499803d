//! The vault: searching, packs, documents, changes of notes, links, and how all of it stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vault::context::{self, Ask, ContextError, Made};
use vault::documents::DocumentsError;
use vault::edit::names::{self, NameError, Renamed};
use vault::edit::{self, EditError, Patch, Patched};
use vault::index::record::Privacy;
use vault::ingest::read::digest;
use vault::ingest::shared::Phase;
use vault::links::{Target, TargetPlace};
use vault::pack::{Budget, PackError, Private, tokens};
use vault::patch::{Change, Place, Value};
use vault::path::VaultPath;
use vault::search::{self, Answer, Request, SearchError};

use super::error::{Code, Error};
use super::jobs::storage;
use super::types::{
    ContextQuery, Coverage, Ingest, Ingested, LinkShown, LinksQuery, NoteLinks, NotePatch, NoteQuery, NoteRename,
    NoteStatus, NoteText, SearchQuery, VaultStatus, VaultStatusQuery,
};
use super::{Caller, Scope};
use crate::context::Opened;
use crate::node::Node;

/// Hits of a search that says nothing, and the budget of such a pack, in tokens.
const HITS: usize = 10;
pub(super) const BUDGET_TOKENS: usize = 4_000;
/// Documents of one push.
const DOCUMENTS_MAX: usize = 1_000;
/// Documents with warnings that a status names.
const WARNED_MAX: usize = 1_000;
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
            let ready = opened.meanings.as_ref().and_then(vault::meaning::Meanings::ready);
            let privacy = if query.private { Privacy::Private } else { Privacy::Open };
            let (mode, matching, limit) = (query.mode, query.matching, query.limit.unwrap_or(HITS));
            let request = Request { query: &query.q, mode, matching, limit, privacy };
            let meaning = ready.as_ref().map(vault::meaning::Ready::meaning);
            search::search(&opened.worker.shared().serving(), meaning, request).map_err(|error| search_error(&error))
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
            opened.documents.put(&ingest.documents).map_err(|error| documents_error(&error))?;
            let mut removed = 0;
            for id in &ingest.remove {
                removed += usize::from(opened.documents.remove(id).map_err(|error| documents_error(&error))?);
            }
            let kept = ingest.documents.len();
            let ids = ingest.documents.into_iter().map(|document| document.id).chain(ingest.remove).collect();
            opened.worker.documents(ids).map_err(|error| storage(&error))?;
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
            let read = root.read(&path).map_err(|error| storage(&error))?;
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
            let patch = patch(change)?;
            edit::patch(root, &path, seen.as_deref(), &patch).map_err(|error| edit_error(&error))
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
            opened.worker.scan().map_err(|error| storage(&error))?;
            let serving = opened.worker.shared().serving();
            let renamed = {
                let catalog = serving.catalog();
                let digest_of = |path: &VaultPath| catalog.named(path.as_str()).map(|entry| entry.digest.clone());
                names::rename(root, catalog.links(), digest_of, &opened.journal, &from, &to)
            };
            let renamed = renamed.map_err(|error| name_error(&error))?;
            opened.worker.scan().map_err(|error| storage(&error))?;
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
                    if let Err(error) = builder.worker.rebuild() {
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

impl Opened {
    fn root(&self) -> Result<&vault::root::Root, Error> {
        self.root.as_deref().ok_or_else(|| Error::new(Code::NoVault, "this node has documents, and no vault"))
    }

    /// Makes a pack.
    pub(super) fn pack(&self, ask: Ask<'_>) -> Result<Made, Error> {
        let ready = self.meanings.as_ref().and_then(vault::meaning::Meanings::ready);
        let meaning = ready.as_ref().map(vault::meaning::Ready::meaning);
        context::pack(&self.worker.shared().serving(), meaning, ask, &tokens::tokens)
            .map_err(|error| context_error(&error))
    }

    fn links_of(&self, path: &VaultPath) -> Result<NoteLinks, Error> {
        let serving = self.worker.shared().serving();
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

    fn loose_links(&self) -> NoteLinks {
        let serving = self.worker.shared().serving();
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

    fn status(&self, note: Option<NoteStatus>) -> VaultStatus {
        let shared = self.worker.shared();
        let serving = shared.serving();
        let catalog = serving.catalog();
        let (mut meaning, mut warnings) = (0, BTreeMap::new());
        for (_, entry) in catalog.entries() {
            let meanings = self.meanings.as_ref();
            meaning += u64::from(meanings.is_some_and(|all| all.stamped(&entry.name, &entry.passages).is_some()));
            if !entry.warnings.is_empty() && warnings.len() < WARNED_MAX {
                let words: Vec<String> = entry.warnings.iter().map(ToString::to_string).collect();
                warnings.insert(entry.name.clone(), words);
            }
        }
        let index = shared.status();
        let words = catalog.len() as u64;
        VaultStatus {
            vault: self.root.as_ref().map(|root| root.folder().display().to_string()),
            coverage: Coverage { documents: words + index.skipped.len() as u64 + index.skipped_more, words, meaning },
            warnings,
            meaning: self.meanings.as_ref().map(vault::meaning::Meanings::status),
            index,
            note,
        }
    }

    fn note_status(&self, path: &str) -> Result<NoteStatus, Error> {
        let shared = self.worker.shared();
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
        let meaning_at_ms = self.meanings.as_ref().and_then(|all| all.stamped(path, &entry.passages));
        let why = match (&self.meanings, meaning_at_ms) {
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

/// What a change of a note means, of which exactly one place and one change are given.
fn patch(change: NotePatch) -> Result<Patch, Error> {
    let wrong = |why: &str| Error::new(Code::BadRequest, why);
    let places = [change.heading.is_some(), change.block.is_some(), change.property.is_some()];
    if places.into_iter().filter(|given| *given).count() != 1 {
        return Err(wrong("a change names one of heading, block and property"));
    }
    let texts = [&change.replace, &change.prepend, &change.append];
    let changes = texts.into_iter().filter(|given| given.is_some()).count();
    if let Some(name) = change.property {
        if changes > 0 || change.value.is_some() == change.remove {
            return Err(wrong("a property has a value, or is removed"));
        }
        let value = change.value.map(value).transpose()?;
        return Ok(Patch::Property { name, value });
    }
    if changes != 1 || change.value.is_some() || change.remove {
        return Err(wrong("a heading or block has one of replace, prepend and append"));
    }
    let place = match (change.heading, change.block) {
        (Some(path), _) => Place::Heading(path),
        (None, block) => Place::Block(block.unwrap_or_default().trim_start_matches('^').to_owned()),
    };
    let text = change.replace.map(Change::Replace);
    let text = text.or_else(|| change.prepend.map(Change::Prepend)).or_else(|| change.append.map(Change::Append));
    let change = text.ok_or_else(|| wrong("a heading or block has one of replace, prepend and append"))?;
    Ok(Patch::Text { place, change })
}

fn value(json: serde_json::Value) -> Result<Value, Error> {
    let wrong =
        || Error::new(Code::BadRequest, "a property is text, a number, true or false, null, or a list of texts");
    Ok(match json {
        serde_json::Value::Null => Value::Empty,
        serde_json::Value::Bool(checked) => Value::Checkbox(checked),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().ok_or_else(wrong)?),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(values) => {
            let texts = values.into_iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong));
            Value::List(texts.collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(_) => return Err(wrong()),
    })
}

fn search_error(error: &SearchError) -> Error {
    match error {
        SearchError::Query(error) => Error::new(Code::BadRequest, error.to_string())
            .hint("the README has the search language, which is Obsidian's"),
        SearchError::Limit(_) => Error::new(Code::BadRequest, error.to_string()),
        SearchError::Index(error) => storage(error),
    }
}

fn context_error(error: &ContextError) -> Error {
    match error {
        ContextError::NoNote(_) => Error::new(Code::NotFound, error.to_string()),
        ContextError::Named(_) | ContextError::Nothing | ContextError::Pack(PackError::NoBudget) => {
            Error::new(Code::BadRequest, error.to_string())
        }
        ContextError::Search(error) => search_error(error),
        ContextError::Index(error) => storage(error),
        ContextError::Pack(error) => Error::new(Code::Internal, error.to_string()),
    }
}

fn documents_error(error: &DocumentsError) -> Error {
    match error {
        DocumentsError::Id(_) => Error::new(Code::BadRequest, error.to_string()),
        DocumentsError::Long(_) | DocumentsError::Full => Error::new(Code::TooLarge, error.to_string()),
        DocumentsError::Store { .. } => storage(error),
    }
}

fn edit_error(error: &EditError) -> Error {
    match error {
        EditError::Missing(_) => Error::new(Code::NotFound, error.to_string()),
        EditError::NotANote(_) | EditError::Patch(_) => Error::new(Code::BadRequest, error.to_string()),
        EditError::Conflict { .. } => Error::new(Code::Conflict, error.to_string())
            .hint("read it with: rhizome note show PATH, or GET /v1/notes?path=PATH"),
        EditError::Write { .. } => storage(error),
    }
}

fn name_error(error: &NameError) -> Error {
    match error {
        NameError::Rename(vault::rename::RenameError::Missing(_)) => Error::new(Code::NotFound, error.to_string()),
        NameError::Rename(vault::rename::RenameError::Taken(_)) => {
            Error::new(Code::Conflict, error.to_string()).hint("choose another name, or move that file first")
        }
        NameError::Rename(_) => Error::new(Code::BadRequest, error.to_string()),
        NameError::Behind(_) => Error::new(Code::Busy, error.to_string()).retry_after_ms(1_000),
        NameError::Write { .. } | NameError::Journal { .. } => storage(error),
    }
}
