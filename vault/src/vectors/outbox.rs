//! What a remote store has missed, kept on disk until it is back.
//!
//! For a point only its last change waits. Where too much waits, or the store refuses it, all of a collection's changes are
//! dropped and the collection is marked: the caller gives the store everything of it anew.

mod queue;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::queue::{Batch, Item, Queue};
use super::check::Check;
use super::local::Aside;
use super::{Collection, Point, PointId, VectorError, VectorStore};

/// Changes that wait at most, of all collections. With the usual vectors they take about 40 MB.
pub const WAITING_MAX: u64 = 20_000;

/// A store and what it has missed.
pub struct Outbox {
    store: Arc<dyn VectorStore>,
    waiting_max: u64,
    /// Held over a change or a batch: so nothing overtakes what waits.
    queue: Mutex<Queue>,
}

/// What became of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// The store has it.
    Kept,
    /// It waits, on disk.
    Waits,
    /// It is dropped: the collection is to be given anew.
    Dropped,
}

/// A collection that is to be given anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rebuild {
    /// Which.
    pub collection: Collection,
    /// Why.
    pub why: String,
    /// Changes that were dropped so far.
    pub dropped: u64,
}

/// What one call of [`Outbox::drain`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drained {
    /// Changes that the store has taken.
    pub sent: u64,
    /// Changes that the store refused; their collections are marked.
    pub refused: u64,
}

impl Outbox {
    /// Opens the file of an outbox, or makes it. One that cannot be read is put aside: what the store has missed is not known
    /// then, and the caller gives it everything anew.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(path: &Path, store: Arc<dyn VectorStore>) -> Result<(Self, Option<Aside>), VectorError> {
        Self::open_with(path, store, WAITING_MAX)
    }

    /// Opens an outbox with a limit of its own.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        path: &Path,
        store: Arc<dyn VectorStore>,
        waiting_max: u64,
    ) -> Result<(Self, Option<Aside>), VectorError> {
        let away = |why: String| Check { store: store.name() }.away(format!("{}: {why}", path.display()));
        let (queue, aside) = match Queue::open(path) {
            Ok(queue) => (queue, None),
            Err(fault) if fault.is_damage() => {
                let aside = Aside { path: path.with_extension("aside"), why: fault.to_string() };
                fs::rename(path, &aside.path).map_err(|error| away(error.to_string()))?;
                (Queue::open(path).map_err(|fault| away(fault.to_string()))?, Some(aside))
            }
            Err(fault) => return Err(away(fault.to_string())),
        };
        Ok((Self { store, waiting_max, queue: Mutex::new(queue) }, aside))
    }

    /// Gives the store points, at once where it can be, else later.
    ///
    /// # Errors
    /// When the store refuses them, or the disk.
    pub fn upsert(&self, collection: &Collection, points: &[Point]) -> Result<Sent, VectorError> {
        self.check().points(collection, points)?;
        let items = points.iter().map(|point| Item::Upsert(point.into())).collect();
        self.send(collection, items, || self.store.upsert(collection, points))
    }

    /// Takes points from the store, at once where it can be, else later.
    ///
    /// # Errors
    /// When the store refuses, or the disk.
    pub fn delete(&self, collection: &Collection, ids: &[PointId]) -> Result<Sent, VectorError> {
        self.check().collection(collection)?;
        self.check().amount(ids.len())?;
        let items = ids.iter().map(|id| Item::Delete(id.0)).collect();
        self.send(collection, items, || self.store.delete(collection, ids))
    }

    /// Takes a whole collection from the store, at once where it can be, else later. Whatever of it waits, waits no more.
    ///
    /// # Errors
    /// When the store refuses, or the disk.
    pub fn remove(&self, collection: &Collection) -> Result<Sent, VectorError> {
        self.check().collection(collection)?;
        let queue = self.lock();
        queue.forget(collection).map_err(|fault| self.failed(&fault))?;
        drop(queue);
        self.send(collection, vec![Item::Remove], || self.store.remove(collection))
    }

    /// Gives the store what waits, the oldest first, until nothing does.
    ///
    /// # Errors
    /// When the store is away still, or the disk refuses; what was taken is gone from what waits.
    pub fn drain(&self) -> Result<Drained, VectorError> {
        let mut drained = Drained::default();
        loop {
            let queue = self.lock();
            let Some(batch) = queue.first().map_err(|fault| self.failed(&fault))? else { return Ok(drained) };
            match self.give(&batch) {
                Ok(()) => {
                    queue.done(&batch).map_err(|fault| self.failed(&fault))?;
                    drained.sent += batch.len();
                }
                Err(VectorError::Refused { why, .. }) => {
                    drained.refused += batch.len();
                    queue.mark(&batch.collection, &why, 0).map_err(|fault| self.failed(&fault))?;
                }
                Err(away) => return Err(away),
            }
        }
    }

    /// How many changes wait.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn waiting(&self) -> Result<u64, VectorError> {
        self.lock().len().map_err(|fault| self.failed(&fault))
    }

    /// The collections that are to be given anew: removed from the store, then everything of them put there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn rebuilds(&self) -> Result<Vec<Rebuild>, VectorError> {
        self.lock().rebuilds().map_err(|fault| self.failed(&fault))
    }

    /// A collection was given anew. False, and it stays marked, if more of it was dropped since it was asked for.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn rebuilt(&self, rebuild: &Rebuild) -> Result<bool, VectorError> {
        self.lock().unmark(rebuild).map_err(|fault| self.failed(&fault))
    }

    fn send(
        &self,
        collection: &Collection,
        items: Vec<Item>,
        give: impl FnOnce() -> Result<(), VectorError>,
    ) -> Result<Sent, VectorError> {
        if items.is_empty() {
            return Ok(Sent::Kept);
        }
        let queue = self.lock();
        let failed = |fault| self.failed(&fault);
        let waiting = queue.len().map_err(failed)?;
        let marked = queue.is_marked(collection).map_err(failed)?;
        if waiting == 0 || marked {
            match give() {
                Err(VectorError::Away { .. }) => {}
                given => return given.map(|()| Sent::Kept),
            }
        }
        let count = items.len() as u64;
        if marked || waiting + count > self.waiting_max {
            let why = format!("more than {} changes would wait", self.waiting_max);
            queue.mark(collection, &why, count).map_err(failed)?;
            return Ok(Sent::Dropped);
        }
        queue.push(collection, items).map_err(failed)?;
        Ok(Sent::Waits)
    }

    fn give(&self, batch: &Batch) -> Result<(), VectorError> {
        let collection = &batch.collection;
        match &batch.change {
            queue::Change::Upsert(points) => self.store.upsert(collection, points),
            queue::Change::Delete(ids) => self.store.delete(collection, ids),
            queue::Change::Remove => self.store.remove(collection),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Check<'_> {
        Check { store: self.store.name() }
    }

    fn failed(&self, fault: &queue::Fault) -> VectorError {
        self.check().away(format!("what it has missed cannot be kept: {fault}"))
    }
}

#[cfg(test)]
mod tests;
