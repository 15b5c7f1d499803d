//! The store in process: a folder with the vectors, and in memory a quarter of them to find the nearest by.
//!
//! Everything is exact up to [`SEAL_POINTS`] points of a collection. What is more is in graphs, of which each has a file that
//! can be made again; [`LocalStore::maintain`] builds them. The file with the vectors is the truth: memory follows a change
//! once it is on disk, and after a refusal of the disk memory is read anew.

mod change;
mod file;
mod live;
mod load;
mod seal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Database, ReadableDatabase};

use self::change::Change;
use self::file::{VECTORS, VectorRow, read_vector};
use self::live::Live;
pub use self::load::Aside;
pub use self::seal::{SEGMENT_POINTS_MAX, Upkeep};
use super::check::{Check, cosine};
use super::exact::best::Guess;
use super::{Collection, HITS_MAX, Near, POINTS_MAX, Point, PointId, VectorError, VectorStore};
use crate::derived::{Fault, guarded};

/// Points of a collection that are scanned one by one; with more, a scan takes longer than a search may.
pub const SEAL_POINTS: usize = 100_000;
/// What people call it.
const NAME: &str = "in process";

/// A store in a folder of its own. Share it by reference or `Arc`.
pub struct LocalStore {
    folder: PathBuf,
    seal_points: usize,
    /// None after a refusal of the disk, until it is read anew.
    state: RwLock<Option<State>>,
    /// Held from the plan of a change until memory follows it.
    writing: Mutex<()>,
    /// Held while graphs are built.
    upkeep: Mutex<()>,
    next_segment: AtomicU32,
}

/// What is open.
struct State {
    database: Arc<Database>,
    collections: BTreeMap<Collection, Live>,
}

impl LocalStore {
    /// Opens the store of a folder, or makes it. A file that cannot be read is put aside, and the store is empty then: the
    /// caller computes anew what it held.
    ///
    /// # Errors
    /// When the system refuses, or another process has it open.
    pub fn open(folder: &Path) -> Result<(Self, Option<Aside>), VectorError> {
        Self::open_with(folder, SEAL_POINTS)
    }

    /// Opens a store that seals this many points and more.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(folder: &Path, seal_points: usize) -> Result<(Self, Option<Aside>), VectorError> {
        let (state, aside) = load::open(folder).map_err(|fault| error(folder, fault))?;
        let store = Self {
            folder: folder.into(),
            seal_points,
            next_segment: AtomicU32::new(state.next_segment()),
            state: RwLock::new(Some(state)),
            writing: Mutex::new(()),
            upkeep: Mutex::new(()),
        };
        Ok((store, aside))
    }

    /// Does something with what is open.
    fn read<T>(&self, work: impl FnOnce(&State) -> Result<T, Fault>) -> Result<T, VectorError> {
        loop {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(state) = state.as_ref() {
                return guarded(|| work(state)).map_err(|fault| self.failed(fault));
            }
            drop(state);
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            self.reload()?;
        }
    }

    /// Changes the disk, and then memory.
    fn write<P, T>(
        &self,
        commit: impl FnOnce(&State) -> Result<P, Fault>,
        apply: impl FnOnce(&mut State, P) -> T,
    ) -> Result<T, VectorError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload()?;
        let done = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let state = state.as_ref().expect("it was read, and only writers take it away");
            guarded(|| commit(state))
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match (done, state.as_mut()) {
            (Ok(plan), Some(open)) => Ok(apply(open, plan)),
            (Ok(_), None) => unreachable!("only writers take it away"),
            (Err(fault), _) => {
                // whether it was written is not known, and the engine answers nothing more after some refusals
                state.take();
                Err(self.failed(fault))
            }
        }
    }

    /// Reads everything anew where it was taken away. The caller holds `writing`.
    fn reload(&self) -> Result<(), VectorError> {
        if self.state.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            let state = load::load(&self.folder).map_err(|fault| self.failed(fault))?;
            self.next_segment.fetch_max(state.next_segment(), Ordering::Relaxed);
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
        }
        Ok(())
    }

    fn failed(&self, fault: Fault) -> VectorError {
        if let Fault::Damaged(why) = &fault {
            load::mark_damaged(&self.folder, why);
        }
        error(&self.folder, fault)
    }

    fn check(&self) -> Check<'_> {
        Check { store: self.name() }
    }
}

impl State {
    fn next_segment(&self) -> u32 {
        let numbers = self.collections.values().flat_map(|live| live.segments.keys());
        numbers.max().map_or(1, |last| last + 1)
    }

    fn next_collection(&self) -> u32 {
        self.collections.values().map(|live| live.number).max().map_or(1, |last| last + 1)
    }

    /// Compares what may be near by the full vectors.
    fn rescore(
        &self,
        collection: &Collection,
        live: &Live,
        vector: &[f32],
        guesses: &[Guess],
        limit: usize,
    ) -> Result<Vec<Near>, Fault> {
        let vectors = self.database.begin_read()?.open_table(VECTORS)?;
        let mut hits: Vec<(f32, &Guess, String)> = Vec::with_capacity(limit + 1);
        for guess in guesses {
            // what cannot reach the worst of those found needs no look at the disk
            if hits.len() == limit && hits.last().is_some_and(|worst| guess.score + guess.error < worst.0) {
                continue;
            }
            // a change that is on disk already and not yet in memory may have taken it away
            let Some(row) = vectors.get((live.number, guess.id.0))? else { continue };
            let row = read_vector(collection.embedder.dimension, guess.id, row.value())?;
            if row.document == guess.document {
                let score = cosine(vector, &row.vector);
                let place = hits.partition_point(|(other, hit, _)| (*other, guess.id) > (score, hit.id));
                hits.insert(place, (score, guess, row.digest));
                hits.truncate(limit);
            }
        }
        let near = hits.into_iter().filter_map(|(score, guess, digest)| {
            let document = live.names.of(guess.document)?.to_owned();
            Some(Near { id: guess.id, document, digest, score })
        });
        Ok(near.collect())
    }

    /// Points as they were given, all of which are there.
    fn rows(&self, collection: &Collection, live: &Live, ids: &[PointId]) -> Result<Vec<Point>, Fault> {
        let vectors = self.database.begin_read()?.open_table(VECTORS)?;
        let mut points = Vec::with_capacity(ids.len());
        for id in ids {
            let row = vectors.get((live.number, id.0))?.ok_or_else(|| Fault::Damaged("a point is gone".into()))?;
            let VectorRow { document, vector, digest } = read_vector(collection.embedder.dimension, *id, row.value())?;
            let Some(name) = live.names.of(document) else {
                return Err(Fault::Damaged("a document without a name".into()));
            };
            points.push(Point { id: *id, document: name.to_owned(), digest, vector });
        }
        Ok(points)
    }
}

impl VectorStore for LocalStore {
    fn name(&self) -> &str {
        NAME
    }

    fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<(), VectorError> {
        let points = self.check().points(collection, points)?;
        if points.is_empty() {
            return Ok(());
        }
        self.write(
            |state| {
                let change = match state.collections.get(collection) {
                    Some(live) => Change::upsert(live, &points),
                    None => {
                        let empty = Live::new(state.next_collection(), collection.embedder.dimension);
                        Change { begins: Some(collection), ..Change::upsert(&empty, &points) }
                    }
                };
                change.commit(&state.database)?;
                Ok(change)
            },
            |state, change| {
                let begins = || Live::new(change.number, collection.embedder.dimension);
                state.collections.entry(collection.clone()).or_insert_with(begins).apply(&change);
            },
        )
    }

    fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<(), VectorError> {
        self.check().collection(collection)?;
        self.check().amount(ids.len())?;
        self.write(
            |state| {
                let Some(live) = state.collections.get(collection) else { return Ok(None) };
                let change = Change::delete(live, ids);
                if !change.removed.is_empty() {
                    change.commit(&state.database)?;
                }
                Ok(Some(change))
            },
            |state, change| {
                if let (Some(change), Some(live)) = (change, state.collections.get_mut(collection)) {
                    live.apply(&change);
                }
            },
        )
    }

    fn search(
        &self,
        collection: &Collection,
        vector: &[f32],
        limit: usize,
        documents: Option<&BTreeSet<String>>,
    ) -> Result<Vec<Near>, VectorError> {
        self.check().collection(collection)?;
        self.check().vector(collection.embedder.dimension, vector)?;
        let limit = limit.min(HITS_MAX);
        self.read(|state| {
            let Some(live) = state.collections.get(collection).filter(|_| limit > 0) else { return Ok(Vec::new()) };
            let guesses = live.choose(vector, limit, documents);
            state.rescore(collection, live, vector, &guesses, limit)
        })
    }

    fn page(&self, collection: &Collection, after: Option<PointId>, limit: usize) -> Result<Vec<Point>, VectorError> {
        self.check().collection(collection)?;
        let limit = limit.min(POINTS_MAX);
        // while nobody writes, so that what memory knows and the file lacks is damage
        self.write(
            |state| match state.collections.get(collection) {
                Some(live) => state.rows(collection, live, &live.ids_after(after, limit)),
                None => Ok(Vec::new()),
            },
            |_, points| points,
        )
    }

    fn count(&self, collection: &Collection) -> Result<u64, VectorError> {
        self.check().collection(collection)?;
        self.read(|state| Ok(state.collections.get(collection).map_or(0, |live| live.len() as u64)))
    }

    fn collections(&self, owner: &str) -> Result<Vec<Collection>, VectorError> {
        self.check().owner(owner)?;
        let own = |collection: &&Collection| collection.owner == owner;
        self.read(|state| Ok(state.collections.keys().filter(own).cloned().collect()))
    }

    fn remove(&self, collection: &Collection) -> Result<(), VectorError> {
        self.check().collection(collection)?;
        let removed = self.write(
            |state| match state.collections.get(collection) {
                Some(live) => change::forget(&state.database, live.number),
                None => Ok(()),
            },
            |state, ()| state.collections.remove(collection),
        )?;
        for segment in removed.iter().flat_map(|live| live.segments.keys()) {
            // a file that stays is removed at the next start
            std::fs::remove_file(load::segment_path(&self.folder, *segment)).ok();
        }
        Ok(())
    }
}

fn error(folder: &Path, fault: Fault) -> VectorError {
    let path = folder.join(load::FILE);
    let store = NAME.to_owned();
    match fault {
        Fault::Damaged(why) => VectorError::Refused {
            store,
            why: format!("{} is damaged ({why}): the next start puts it aside and begins anew", path.display()),
        },
        Fault::Engine(error) => match *error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => VectorError::Refused {
                store,
                why: format!("another process has {} open: end it first", path.display()),
            },
            other => VectorError::Away { store, why: format!("{}: {other}", path.display()) },
        },
    }
}

#[cfg(test)]
mod tests;
