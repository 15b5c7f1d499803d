//! One pass after another: what the index has is compared with what has its vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::stamps::{Stamp, Stamps};
use super::{Ready, Shown, point_id};
use crate::derived::{self, Fault};
use crate::embed::cache::Cache;
use crate::embed::{EmbedError, Embedder, EmbedderId, Reach};
use crate::index::record::Privacy;
use crate::index::words::IndexError;
use crate::ingest::shared::Shared;
use crate::memory;
use crate::vectors::{Collection, Content, POINTS_MAX, Point, PointId, VectorError, VectorStore};

/// Passages after which what was embedded is stored.
const BATCH_PASSAGES: usize = 64;
/// How long an embedder has to be away before the next one takes its place, where nothing else is said.
pub const FALL_BACK: Duration = Duration::from_secs(120);

/// Opens an embedder, which may be away.
pub type Open = Arc<dyn Fn() -> Result<Arc<dyn Embedder>, EmbedError> + Send + Sync>;

/// What the vectors are made by and of.
pub struct Setup {
    /// What is searched.
    pub shared: Arc<Shared>,
    /// Of what its documents are.
    pub content: Content,
    /// Whose collections they are.
    pub owner: String,
    /// Where vectors are kept.
    pub store: Arc<dyn VectorStore>,
    /// Whether that is on this machine.
    pub store_reach: Reach,
    /// What the store wants done from time to time, after vectors came to it.
    pub upkeep: Box<dyn Fn() + Send>,
    /// What makes them: the first, or the next while it is away.
    pub embedders: Vec<Open>,
    /// How long one has to be away before the next one takes its place, since that begins from nothing.
    pub fall_back: Duration,
    /// What was embedded before.
    pub cache: Arc<Cache>,
    /// Where it is kept which documents have their vectors.
    pub stamps: PathBuf,
    /// Now, in milliseconds of Unix time.
    pub now_ms: fn() -> u64,
}

/// Why vectors are missing.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The embedder.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The store.
    #[error(transparent)]
    Vectors(#[from] VectorError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is kept of them.
    #[error("the stamps of vectors: {0}")]
    Stamps(#[from] Fault),
    /// The system gives no thread, or does not put a damaged file aside.
    #[error("vectors are not kept: {0}")]
    System(#[source] std::io::Error),
}

/// Who keeps vectors.
pub struct Keeper {
    setup: Setup,
    stamps: Stamps,
    opened: Vec<Opened>,
    shown: Arc<Mutex<Shown>>,
    stop: Arc<AtomicBool>,
    /// The collection whose stamps are shown.
    target: Option<Collection>,
}

/// An embedder, and since when it is away.
struct Opened {
    open: Open,
    embedder: Option<Arc<dyn Embedder>>,
    away_since: Option<Instant>,
}

/// What of a document has to be done.
struct Todo {
    name: String,
    digests: BTreeSet<String>,
}

impl Keeper {
    /// Opens what is kept.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn open(setup: Setup, shown: Arc<Mutex<Shown>>, stop: Arc<AtomicBool>) -> Result<Self, KeeperError> {
        let stamps = Stamps::open(&setup.stamps)?;
        let open = |open: &Open| Opened { open: Arc::clone(open), embedder: None, away_since: None };
        let opened = setup.embedders.iter().map(open).collect();
        Ok(Self { setup, stamps, opened, shown, stop, target: None })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the vectors to what the index has.
    ///
    /// # Errors
    /// When something is away or fails; the next pass goes on where this one ended.
    pub fn pass(&mut self) -> Result<(), KeeperError> {
        let done = self.attempt();
        if let Err(KeeperError::Stamps(Fault::Damaged(why))) = &done {
            self.begin_anew(why)?;
        }
        let mut shown = self.shown();
        shown.status.failure = done.as_ref().err().map(ToString::to_string);
        done
    }

    /// Forgets the stamps, which are damaged: all vectors are sent again, out of the cache.
    fn begin_anew(&mut self, why: &str) -> Result<(), KeeperError> {
        let (file, aside) = (&self.setup.stamps, derived::aside(&self.setup.stamps));
        tracing::warn!(why, aside = %aside.display(), "the stamps of vectors are damaged and begun anew");
        std::fs::rename(file, aside).map_err(KeeperError::System)?;
        self.stamps = Stamps::open(file)?;
        self.target = None;
        Ok(())
    }

    fn attempt(&mut self) -> Result<(), KeeperError> {
        self.shown().status.store = self.setup.store.name().to_owned();
        let chosen = self.choose();
        self.show_current()?;
        let (at, embedder) = chosen?;
        let collection = self.collection(&*embedder);
        if self.target.as_ref() != Some(&collection) {
            tracing::info!(%collection, "vectors are kept");
            let stamped = self.trusted(&collection)?;
            self.shown().stamped = stamped;
            self.target = Some(collection.clone());
        }
        match self.stamps.current(self.setup.content.as_str())? {
            // better a part than nothing
            None => {
                self.stamps.make_current(&collection)?;
                self.show_current()?;
            }
            Some(current) if current != collection => self.shown().status.building = Some(collection.to_string()),
            Some(_) => {}
        }
        let before = self.shown().status.embedded;
        let done = self.fill(&collection, &*embedder);
        if let Err(KeeperError::Embed(EmbedError::Away { .. })) = &done {
            self.opened[at].away_since.get_or_insert_with(Instant::now);
        }
        done?;
        self.opened[at].away_since = None;
        if !self.is_stopped() {
            self.complete(&collection, embedder)?;
            (self.setup.upkeep)();
            if self.shown().status.embedded > before {
                memory::give_back();
            }
        }
        Ok(())
    }

    /// The first embedder that is there, or was a moment ago.
    fn choose(&mut self) -> Result<(usize, Arc<dyn Embedder>), KeeperError> {
        let mut failure = None;
        let fall_back = self.setup.fall_back;
        for (at, opened) in self.opened.iter_mut().enumerate() {
            let is_given_up = opened.away_since.is_some_and(|since| since.elapsed() >= fall_back);
            if let Some(embedder) = opened.embedder.as_ref().filter(|_| !is_given_up) {
                return Ok((at, Arc::clone(embedder)));
            }
            match (opened.open)() {
                Ok(embedder) => {
                    opened.away_since = None;
                    return Ok((at, Arc::clone(opened.embedder.insert(embedder))));
                }
                Err(error) => {
                    let since = *opened.away_since.get_or_insert_with(Instant::now);
                    failure.get_or_insert(error);
                    // it may come back soon, and another would begin from nothing
                    if since.elapsed() < fall_back {
                        break;
                    }
                }
            }
        }
        let none = || EmbedError::Refused { embedder: "none".to_owned(), why: "no embedder is configured".to_owned() };
        Err(failure.unwrap_or_else(none).into())
    }

    fn collection(&self, embedder: &dyn Embedder) -> Collection {
        let (owner, content) = (self.setup.owner.clone(), self.setup.content);
        Collection { owner, content, embedder: embedder.id().clone() }
    }

    /// Lets the current collection be searched where its embedder is there, also while another one's is built.
    fn show_current(&mut self) -> Result<(), KeeperError> {
        let current = self.stamps.current(self.setup.content.as_str())?;
        let embedder = current.as_ref().and_then(|collection| self.opened_as(&collection.embedder));
        let mut shown = self.shown();
        shown.status.collection = current.as_ref().map(ToString::to_string);
        shown.ready = current.zip(embedder).map(|(collection, embedder)| Ready {
            store: Arc::clone(&self.setup.store),
            store_reach: self.setup.store_reach,
            collection,
            embedder,
        });
        Ok(())
    }

    /// The embedder that is this one.
    fn opened_as(&mut self, id: &EmbedderId) -> Option<Arc<dyn Embedder>> {
        let is_it = |embedder: &&Arc<dyn Embedder>| embedder.id() == id;
        if let Some(embedder) = self.opened.iter().filter_map(|opened| opened.embedder.as_ref()).find(is_it) {
            return Some(Arc::clone(embedder));
        }
        for opened in self.opened.iter_mut().filter(|opened| opened.embedder.is_none()) {
            // one that is away is asked again in the next pass
            opened.embedder = (opened.open)().ok();
        }
        self.opened.iter().filter_map(|opened| opened.embedder.as_ref()).find(is_it).cloned()
    }

    /// The stamps of a collection, as far as the store has what they say.
    fn trusted(&self, collection: &Collection) -> Result<BTreeMap<String, Stamp>, KeeperError> {
        let stamped = self.stamps.all(collection)?;
        let points: u64 = stamped.values().map(|stamp| stamp.digests.len() as u64).sum();
        let there = self.setup.store.count(collection)?;
        if there == points {
            return Ok(stamped);
        }
        if !stamped.is_empty() {
            tracing::warn!(%collection, points, there, "the store has other vectors than were sent; all are sent again");
        }
        self.setup.store.remove(collection)?;
        self.stamps.forget(collection)?;
        Ok(BTreeMap::new())
    }

    fn fill(&mut self, collection: &Collection, embedder: &dyn Embedder) -> Result<(), KeeperError> {
        let (todo, gone) = self.compare(embedder);
        for document in gone {
            self.forget(collection, document)?;
        }
        let mut batch: Vec<Todo> = Vec::new();
        let mut passages = 0;
        for document in todo {
            passages += document.digests.len();
            batch.push(document);
            if passages >= BATCH_PASSAGES {
                self.embed(collection, embedder, std::mem::take(&mut batch))?;
                passages = 0;
            }
            if self.is_stopped() {
                return Ok(());
            }
        }
        self.embed(collection, embedder, batch)
    }

    /// Where passages and what is made of them go.
    fn reach(&self, embedder: &dyn Embedder) -> Reach {
        if self.setup.store_reach == Reach::Remote { Reach::Remote } else { embedder.reach() }
    }

    /// The documents whose vectors are missing or not those of their passages, and those that are no more.
    fn compare(&self, embedder: &dyn Embedder) -> (Vec<Todo>, Vec<String>) {
        let serving = self.setup.shared.serving();
        let catalog = serving.catalog();
        let mut shown = self.shown();
        let (mut todo, mut private, mut of) = (Vec::new(), 0, 0);
        let mut kept = BTreeSet::new();
        for (_, entry) in catalog.entries() {
            if entry.privacy == Privacy::Private && self.reach(embedder) == Reach::Remote {
                private += 1;
                continue;
            }
            of += 1;
            kept.insert(entry.name.as_str());
            let digests: BTreeSet<&String> = entry.passages.iter().collect();
            let has_all = |stamp: &Stamp| stamp.digests.iter().eq(digests.iter().copied());
            if !shown.stamped.get(&entry.name).is_some_and(has_all) {
                todo.push(Todo { name: entry.name.clone(), digests: digests.into_iter().cloned().collect() });
            }
        }
        let gone = shown.stamped.keys().filter(|name| !kept.contains(name.as_str())).cloned().collect();
        shown.status.of = of;
        shown.status.private = private;
        shown.status.documents = of - todo.len() as u64;
        (todo, gone)
    }

    fn forget(&self, collection: &Collection, document: String) -> Result<(), KeeperError> {
        let stamp = self.shown().stamped.get(&document).cloned();
        let digests = stamp.into_iter().flat_map(|stamp| stamp.digests);
        let ids: Vec<PointId> = digests.map(|digest| point_id(&document, &digest)).collect();
        for ids in ids.chunks(POINTS_MAX) {
            self.setup.store.delete(collection, ids)?;
        }
        self.stamps.set(collection, &[(document.clone(), None)])?;
        self.shown().stamped.remove(&document);
        Ok(())
    }

    /// Embeds the passages of documents, and stores and stamps them.
    fn embed(&self, collection: &Collection, embedder: &dyn Embedder, batch: Vec<Todo>) -> Result<(), KeeperError> {
        let serving = self.setup.shared.serving();
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        let mut documents = Vec::new();
        for document in batch {
            let Some((record, text)) = serving.words.document(&document.name)? else { continue };
            // it may have become private since, with the same passages
            if record.privacy == Privacy::Private && self.reach(embedder) == Reach::Remote {
                continue;
            }
            let found: BTreeSet<String> = record.passages.iter().map(|passage| passage.digest.clone()).collect();
            // it has changed again, and comes with the next pass
            if found != document.digests {
                continue;
            }
            for passage in &record.passages {
                texts.entry(passage.digest.clone()).or_insert_with(|| text[passage.span.clone()].to_owned());
            }
            documents.push(document);
        }
        let wanted: Vec<(&str, &str)> = texts.iter().map(|(digest, text)| (digest.as_str(), text.as_str())).collect();
        let (vectors, embedded) = self.setup.cache.embed(embedder, &wanted)?;
        self.shown().status.embedded += embedded;
        let vectors: BTreeMap<&str, Vec<f32>> = texts.keys().map(String::as_str).zip(vectors).collect();
        let mut points = Vec::new();
        let mut stale = Vec::new();
        for document in &documents {
            let before =
                self.shown().stamped.get(&document.name).map(|stamp| stamp.digests.clone()).unwrap_or_default();
            stale.extend(before.difference(&document.digests).map(|digest| point_id(&document.name, digest)));
            points.extend(document.digests.difference(&before).map(|digest| Point {
                id: point_id(&document.name, digest),
                document: document.name.clone(),
                digest: digest.clone(),
                vector: vectors[digest.as_str()].clone(),
            }));
        }
        for points in points.chunks(POINTS_MAX) {
            self.setup.store.upsert(collection, points)?;
        }
        for ids in stale.chunks(POINTS_MAX) {
            self.setup.store.delete(collection, ids)?;
        }
        let at_ms = (self.setup.now_ms)();
        let stamps = documents.into_iter().map(|document| (document.name, Stamp { digests: document.digests, at_ms }));
        let stamps: Vec<(String, Option<Stamp>)> = stamps.map(|(name, stamp)| (name, Some(stamp))).collect();
        self.stamps.set(collection, &stamps)?;
        let mut shown = self.shown();
        shown.status.documents += stamps.len() as u64;
        shown.stamped.extend(stamps.into_iter().filter_map(|(name, stamp)| Some((name, stamp?))));
        Ok(())
    }

    /// Has a collection searched that has everything, in place of the one before.
    fn complete(&mut self, collection: &Collection, embedder: Arc<dyn Embedder>) -> Result<(), KeeperError> {
        let before = self.stamps.current(self.setup.content.as_str())?;
        if before.as_ref() != Some(collection) {
            self.stamps.make_current(collection)?;
            let (store, store_reach) = (Arc::clone(&self.setup.store), self.setup.store_reach);
            let ready = Ready { store, store_reach, collection: collection.clone(), embedder };
            let mut shown = self.shown();
            shown.status.collection = Some(collection.to_string());
            shown.ready = Some(ready);
            drop(shown);
            if let Some(before) = before {
                self.setup.store.remove(&before)?;
                self.stamps.forget(&before)?;
            }
        }
        self.shown().status.building = None;
        Ok(())
    }
}
