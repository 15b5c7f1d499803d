//! The vault of this node: its index, its vectors and its pushed documents, as the node's parts hold them.
//!
//! It is opened at the start where a vault is configured or a document was pushed before, and else by the first document.

mod embedders;
pub mod runs;
mod store;
pub mod symbols;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use vault::code::Language;
use vault::documents::{Documents, PUSHED, RUNS};
use vault::edit::names::Namer;
use vault::embed::cache::{Cache, ENTRIES_MAX};
use vault::embed::idle::Idle;
use vault::ingest::engine::{Reads, Source};
use vault::ingest::read::digest;
use vault::ingest::shared::Serving;
use vault::ingest::worker::Worker;
use vault::meaning::{FALL_BACK, Meanings, Open, Ready, Setup, nudge};
use vault::root::trees::Trees;
use vault::root::{Root, RootError};
use vault::vectors::Content;

use self::embedders::Embedders;
use self::store::Store;
use self::symbols::Finder;
use crate::config::{Code, Vault as Settings};
use crate::ops::error::{Code as ErrorCode, Error};

/// How long a model stays in memory that nobody asks.
const MODEL_IDLE: Duration = Duration::from_secs(300);
/// How long the process that finds symbols stays that nobody asks.
const FINDER_IDLE: Duration = Duration::from_secs(60);
/// What tells the files of the other indexes from those of a vault.
const CODE: &str = "code";
const RUNS_NAME: &str = "runs";
/// Letters of a vault's digest that name its index.
const NAME_LETTERS: usize = 16;

/// What is indexed, once it is open.
pub struct Opened {
    /// The vault; none where there are pushed documents only.
    pub root: Option<Arc<Root>>,
    /// Pushed documents.
    pub documents: Arc<Documents>,
    /// The index of both.
    pub notes: Indexed,
    /// The index of working trees; none where none is named.
    pub code: Option<Indexed>,
    /// What jobs did.
    pub runs: Runs,
    /// What was embedded before; none without an embedder.
    pub cache: Option<Arc<Cache>>,
    /// Who gives notes other names.
    pub namer: Namer,
    model: Option<Arc<Idle>>,
}

/// What jobs did, as documents, and the index of them.
pub struct Runs {
    /// The documents.
    pub documents: Arc<Documents>,
    /// Their index.
    pub indexed: Indexed,
}

impl Opened {
    /// The index of something.
    ///
    /// # Errors
    /// When there is none.
    pub fn indexed(&self, content: Content) -> Result<&Indexed, Error> {
        match content {
            Content::Notes => Ok(&self.notes),
            Content::Runs => Ok(&self.runs.indexed),
            Content::Code => self.code.as_ref().ok_or_else(|| {
                Error::new(ErrorCode::NoVault, "this node has no working trees to search")
                    .hint("name them in code.paths of the configuration: [\"/home/ann/src/project\"]")
            }),
        }
    }
}

/// An index, and the vectors of what it has.
pub struct Indexed {
    /// Who indexes.
    pub worker: Worker,
    /// Who keeps vectors; none without an embedder.
    pub meanings: Option<Meanings>,
}

impl Indexed {
    /// What is searched.
    pub fn serving(&self) -> Arc<Serving> {
        self.worker.shared().serving()
    }

    /// What is searched by meaning, or why nothing is.
    ///
    /// # Errors
    /// While there is nothing, in words for people.
    pub fn ready(&self) -> Result<Ready, String> {
        let Some(meanings) = &self.meanings else { return Err("no embedder is configured".to_owned()) };
        meanings.ready().ok_or_else(|| meanings.missing())
    }
}

/// Where things are that are not in the settings.
pub struct Places {
    /// Where all that is indexed is kept.
    pub folder: PathBuf,
    /// Where models are.
    pub models: PathBuf,
    /// This binary.
    pub program: PathBuf,
    /// Whose threads wait for other programs.
    pub runtime: Handle,
}

/// The vault of a node.
pub struct Context {
    settings: Settings,
    folder: PathBuf,
    models: PathBuf,
    owner: String,
    runtime: Handle,
    finder: Arc<Finder>,
    opened: Mutex<Option<Arc<Opened>>>,
}

impl Context {
    /// Takes what is configured, and where things are. `owner` tells the vectors of this node from those of others.
    pub fn new(settings: Settings, places: Places, owner: String) -> Self {
        let Places { folder, models, program, runtime } = places;
        let finder = Arc::new(Finder::new(program));
        Self { settings, folder, models, owner, runtime, finder, opened: Mutex::default() }
    }

    /// Opens it where something is configured or was pushed.
    ///
    /// # Errors
    /// When the vault is none, or what is kept cannot be opened.
    pub fn start(&self) -> Result<(), Error> {
        if self.settings.path.is_some() || !self.settings.code.paths.is_empty() || self.documents_file().exists() {
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
            Error::new(ErrorCode::NoVault, "this node has no vault and no documents")
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
        self.finder.release(FINDER_IDLE);
    }

    fn documents_file(&self) -> PathBuf {
        self.folder.join("documents.redb")
    }

    fn opened_now(&self) -> Result<Opened, Error> {
        let root = self.settings.path.as_deref().map(Root::open).transpose();
        let root = root.map_err(|error| wrong(&error))?.map(Arc::new);
        if let Some(root) = &root
            && !looks_like_a_vault(root)
        {
            let words = format!("{} is not a vault: it has neither .obsidian nor a note", root.folder().display());
            return Err(Error::new(ErrorCode::Config, words)
                .hint("name the folder that Obsidian opens; or make .obsidian in it"));
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
        let documents = Arc::new(Documents::open(&self.documents_file(), PUSHED).map_err(|error| failed(&error))?);
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
            files: root.clone().map(|root| Arc::new(Trees::alone(root))),
            reads: Reads::Notes,
            documents: Some(Arc::clone(&documents)),
            faults: Vec::new(),
            private: self.settings.private.clone(),
            folder: self.folder.join("index").join(&name),
            watch: self.settings.watch,
            now_ms,
        };
        let Embedders { open, model } = embedders::embedders(&self.settings, &self.models, &self.runtime)?;
        let meaning = match open.is_empty() {
            true => None,
            false => {
                let store = store::open(&self.settings, &self.folder, &self.runtime)?;
                let cache = Cache::open(&self.folder.join("embeddings.redb"), ENTRIES_MAX);
                Some(ByMeaning { store, cache: Arc::new(cache.map_err(|error| failed(&error))?), embedders: open })
            }
        };
        let meaning = meaning.as_ref();
        let cache = meaning.map(|meaning| Arc::clone(&meaning.cache));
        let notes = self.indexed(Content::Notes, source.clone(), &name, meaning)?;
        let code = self.code(&source, meaning)?;
        let runs = self.runs(&source, meaning)?;
        Ok(Opened { root, documents, notes, code, runs, cache, namer, model })
    }

    /// The index of the working trees that are named.
    fn code(&self, notes: &Source, meaning: Option<&ByMeaning>) -> Result<Option<Indexed>, Error> {
        let Code { paths, private } = &self.settings.code;
        if paths.is_empty() {
            return Ok(None);
        }
        let (mut roots, mut faults) = (Vec::new(), Vec::new());
        for path in paths {
            match Root::open(path) {
                Ok(root) => roots.push(Arc::new(root)),
                // jobs do not wait for a tree that was moved
                Err(error) => faults.push(format!("{error}; it is left out until the next start")),
            }
        }
        for fault in &faults {
            tracing::warn!(fault, "a working tree is not searched");
        }
        let finder = Arc::clone(&self.finder);
        let find = move |language: Language, text: &str| finder.find(language, text);
        let source = Source {
            files: Some(Arc::new(Trees::named(roots))),
            reads: Reads::Code(Arc::new(find)),
            documents: None,
            faults,
            private: private.clone(),
            folder: self.folder.join("index").join(CODE),
            ..notes.clone()
        };
        self.indexed(Content::Code, source, CODE, meaning).map(Some)
    }

    /// The index of what jobs did.
    fn runs(&self, notes: &Source, meaning: Option<&ByMeaning>) -> Result<Runs, Error> {
        let documents = Documents::open(&self.folder.join("runs.redb"), RUNS).map_err(|error| failed(&error))?;
        let documents = Arc::new(documents);
        let source = Source {
            files: None,
            documents: Some(Arc::clone(&documents)),
            folder: self.folder.join("index").join(RUNS_NAME),
            ..notes.clone()
        };
        let indexed = self.indexed(Content::Runs, source, RUNS_NAME, meaning)?;
        Ok(Runs { documents, indexed })
    }

    /// Begins to index what a source has; `name` tells its files from those of others.
    fn indexed(
        &self,
        content: Content,
        source: Source,
        name: &str,
        meaning: Option<&ByMeaning>,
    ) -> Result<Indexed, Error> {
        let (nudge, nudged) = nudge();
        let nudger = nudge.clone();
        let worker = Worker::start(source, move || nudger.send()).map_err(|error| failed(&error))?;
        let Some(meaning) = meaning else { return Ok(Indexed { worker, meanings: None }) };
        let upkeep = Arc::clone(&meaning.store.upkeep);
        let setup = Setup {
            shared: Arc::clone(worker.shared()),
            content,
            owner: self.owner.clone(),
            store: Arc::clone(&meaning.store.store),
            store_reach: meaning.store.reach,
            upkeep: Box::new(move || upkeep()),
            embedders: meaning.embedders.clone(),
            fall_back: FALL_BACK,
            cache: Arc::clone(&meaning.cache),
            stamps: self.folder.join(format!("{name}.stamps.redb")),
            now_ms,
        };
        let meanings = Meanings::start(setup, nudge, nudged).map_err(|error| failed(&error))?;
        Ok(Indexed { worker, meanings: Some(meanings) })
    }
}

/// What all that is indexed is compared by.
struct ByMeaning {
    store: Store,
    cache: Arc<Cache>,
    embedders: Vec<Open>,
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

fn wrong(error: &RootError) -> Error {
    Error::new(ErrorCode::Config, error.to_string())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::new(ErrorCode::Storage, crate::runs::chain(error))
}

/// Now, in milliseconds of Unix time.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
