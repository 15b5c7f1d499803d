//! The vault of this node: its index, its vectors and its pushed documents, as the node's parts hold them.
//!
//! It is opened at the start where a vault is configured or a document was pushed before, and else by the first document.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use vault::documents::Documents;
use vault::edit::names::Namer;
use vault::embed::cache::{Cache, ENTRIES_MAX};
use vault::embed::idle::Idle;
use vault::embed::{EmbedError, Embedder};
use vault::ingest::engine::Source;
use vault::ingest::read::digest;
use vault::ingest::worker::Worker;
use vault::meaning::{Meanings, Open, Setup, nudge};
use vault::root::Root;
use vault::vectors::Content;
use vault::vectors::local::LocalStore;

use crate::config::{EmbedderChoice, Vault as Settings};
use crate::ops::error::{Code, Error};

/// How long a model stays in memory that nobody asks.
const MODEL_IDLE: Duration = Duration::from_secs(300);
/// Letters of a vault's digest that name its index.
const NAME_LETTERS: usize = 16;

/// What is indexed, once it is open.
pub struct Opened {
    /// The vault; none where there are pushed documents only.
    pub root: Option<Arc<Root>>,
    /// Pushed documents.
    pub documents: Arc<Documents>,
    /// Who indexes.
    pub worker: Worker,
    /// Who keeps vectors; none without an embedder.
    pub meanings: Option<Meanings>,
    /// Who gives notes other names.
    pub namer: Namer,
    model: Option<Arc<Idle>>,
}

/// The vault of a node.
pub struct Context {
    settings: Settings,
    folder: PathBuf,
    models: PathBuf,
    owner: String,
    opened: Mutex<Option<Arc<Opened>>>,
}

impl Context {
    /// Takes what is configured; `folder` is where all of it is kept, `models` where models are.
    pub fn new(settings: Settings, folder: PathBuf, models: PathBuf, owner: String) -> Self {
        Self { settings, folder, models, owner, opened: Mutex::default() }
    }

    /// Opens it where something is configured or was pushed.
    ///
    /// # Errors
    /// When the vault is none, or what is kept cannot be opened.
    pub fn start(&self) -> Result<(), Error> {
        if self.settings.path.is_some() || self.documents_file().exists() {
            self.open()?;
        }
        Ok(())
    }

    /// What is open.
    ///
    /// # Errors
    /// When nothing is.
    pub fn get(&self) -> Result<Arc<Opened>, Error> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.clone().ok_or_else(|| {
            Error::new(Code::NoVault, "this node has no vault and no documents")
                .hint("start it with: rhizome up --vault PATH; or push documents: POST /v1/ingest")
        })
    }

    /// What is open; opened now where it was not.
    ///
    /// # Errors
    /// When the vault is none, or what is kept cannot be opened.
    pub fn open(&self) -> Result<Arc<Opened>, Error> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*opened {
            return Ok(Arc::clone(opened));
        }
        let now = Arc::new(self.opened_now()?);
        *opened = Some(Arc::clone(&now));
        Ok(now)
    }

    /// Ends the threads.
    pub fn stop(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(opened);
    }

    /// Forgets a model that nobody asks.
    pub fn release_idle(&self) {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(model) = opened.as_ref().and_then(|opened| opened.model.as_ref()) {
            model.release(MODEL_IDLE);
        }
    }

    fn documents_file(&self) -> PathBuf {
        self.folder.join("documents.redb")
    }

    fn opened_now(&self) -> Result<Opened, Error> {
        let root = self.settings.path.as_deref().map(Root::open).transpose();
        let root = root.map_err(|error| Error::new(Code::Config, error.to_string()))?.map(Arc::new);
        if let Some(root) = &root
            && !looks_like_a_vault(root)
        {
            let words = format!("{} is not a vault: it has neither .obsidian nor a note", root.folder().display());
            return Err(
                Error::new(Code::Config, words).hint("name the folder that Obsidian opens; or make .obsidian in it")
            );
        }
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&error))?;
        let name = root.as_ref().map_or_else(
            || "documents".to_owned(),
            |root| {
                let mut name = digest(root.folder().as_os_str().as_encoded_bytes());
                name.truncate(NAME_LETTERS);
                name
            },
        );
        let documents = Arc::new(Documents::open(&self.documents_file()).map_err(|error| failed(&error))?);
        let namer = Namer::new(self.folder.join(format!("{name}.names.json")));
        if let Some(root) = &root {
            match namer.recover(root) {
                Ok(None) => {}
                Ok(Some(renamed)) => tracing::warn!(?renamed, "a name that a crash had left was given whole"),
                // nothing is lost by searching meanwhile
                Err(error) => {
                    tracing::error!(%error, "a name that a crash had left is not given whole; the next one waits")
                }
            }
        }
        let source = Source {
            vault: root.clone(),
            documents: Arc::clone(&documents),
            private: self.settings.private.clone(),
            folder: self.folder.join("index").join(&name),
            watch: self.settings.watch,
            now_ms,
        };
        let (nudge, nudged) = nudge();
        let nudger = nudge.clone();
        let worker = Worker::start(source, move || nudger.send()).map_err(|error| failed(&error))?;
        let (embedders, model) = self.embedders()?;
        let meanings = if embedders.is_empty() {
            None
        } else {
            let (store, aside) = LocalStore::open(&self.folder.join("vectors")).map_err(|error| failed(&error))?;
            if let Some(aside) = aside {
                tracing::warn!(?aside, "vectors that could not be read are made again");
            }
            let store = Arc::new(store);
            let upkeep = Arc::clone(&store);
            let cache =
                Cache::open(&self.folder.join("embeddings.redb"), ENTRIES_MAX).map_err(|error| failed(&error))?;
            let setup = Setup {
                shared: Arc::clone(worker.shared()),
                content: Content::Notes,
                owner: self.owner.clone(),
                store,
                upkeep: Box::new(move || {
                    if let Err(error) = upkeep.maintain() {
                        tracing::warn!(%error, "vectors are not sealed, and found more slowly");
                    }
                }),
                embedders,
                cache: Arc::new(cache),
                stamps: self.folder.join(format!("{name}.stamps.redb")),
                now_ms,
            };
            Some(Meanings::start(setup, nudge, nudged).map_err(|error| failed(&error))?)
        };
        Ok(Opened { root, documents, worker, meanings, namer, model })
    }

    /// The embedders that are configured, or the model that was added where nothing is.
    fn embedders(&self) -> Result<(Vec<Open>, Option<Arc<Idle>>), Error> {
        let mut openers: Vec<Open> = Vec::new();
        let mut model = None;
        for choice in &self.settings.embedders {
            match choice {
                EmbedderChoice::MiniLm => {
                    let Some(folder) = self.model() else {
                        if self.settings.embedders_given {
                            return Err(Error::new(Code::Config, "vault.embedder has minilm, and no model was added")
                                .hint("add one with: rhizome model add DIR; deploy/minilm.sh fetches one"));
                        }
                        continue;
                    };
                    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                    let idle =
                        Idle::new(&folder, threads).map_err(|error| Error::new(Code::Config, error.to_string()))?;
                    let idle = Arc::new(idle);
                    model = Some(Arc::clone(&idle));
                    openers.push(Arc::new(move || -> Result<Arc<dyn Embedder>, EmbedError> {
                        Ok(Arc::clone(&idle) as Arc<dyn Embedder>)
                    }));
                }
            }
        }
        Ok((openers, model))
    }

    /// The folder of the model that is configured, or of the first one that was added.
    fn model(&self) -> Option<PathBuf> {
        if let Some(folder) = &self.settings.model {
            return Some(folder.clone());
        }
        let mut folders: Vec<PathBuf> =
            std::fs::read_dir(&self.models).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        folders.sort();
        folders.into_iter().find(|folder| folder.join("config.json").is_file())
    }
}

/// A folder of Obsidian, or one with a note in it or one folder below.
fn looks_like_a_vault(root: &Root) -> bool {
    use vault::root::ChildKind;
    let children = |folder: &str| root.children(folder).unwrap_or_default();
    let is_note =
        |name: &Result<String, String>| name.as_ref().is_ok_and(|name| name.to_ascii_lowercase().ends_with(".md"));
    let here = children("");
    here.iter().any(|child| child.name.as_deref() == Ok(".obsidian") || is_note(&child.name))
        || here.iter().filter(|child| child.kind == ChildKind::Folder).any(|child| {
            child.name.as_deref().is_ok_and(|folder| children(folder).iter().any(|child| is_note(&child.name)))
        })
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(Code::Storage, crate::runs::chain(error))
}

/// Now, in milliseconds of Unix time.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
