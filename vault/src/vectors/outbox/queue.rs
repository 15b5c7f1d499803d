//! The file of an outbox: changes in the order in which they came, and the collections that are marked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::{
    Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};

use super::Rebuild;
use crate::vectors::{Collection, POINTS_MAX, Point, PointId};

/// Most memory for cached pages, in bytes.
const CACHE_BYTES: usize = 1024 * 1024;

/// Number of a change, growing, to the change.
const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox-changes-v1");
/// Collection and point to the number of its change.
const POINTS: TableDefinition<(&str, u128), u64> = TableDefinition::new("outbox-points-v1");
/// Collection to why it is to be given anew, and how many of its changes were dropped.
const REBUILDS: TableDefinition<&str, (&str, u64)> = TableDefinition::new("outbox-rebuilds-v1");

/// Why the file did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// What is there is not what was written.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// The system refuses.
    #[error(transparent)]
    Engine(Box<redb::Error>),
}

/// A change of one point, or of all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Item {
    /// A point comes.
    Upsert(Kept),
    /// A point goes.
    Delete(u128),
    /// All go.
    Remove,
}

/// A point as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    id: u128,
    document: String,
    digest: String,
    vector: Vec<f32>,
}

/// Changes of one kind and collection, which follow each other.
pub struct Batch {
    /// Of which.
    pub collection: Collection,
    /// The changes.
    pub change: Change,
    numbers: Vec<u64>,
}

/// What a store is asked.
pub enum Change {
    /// To keep points.
    Upsert(Vec<Point>),
    /// To forget points.
    Delete(Vec<PointId>),
    /// To forget all.
    Remove,
}

/// The open file.
pub struct Queue(Database);

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(why) => Self::Damaged(why),
            redb::Error::Io(error)
                if matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(error.to_string())
            }
            error @ (redb::Error::UpgradeRequired(_) | redb::Error::RepairAborted) => Self::Damaged(error.to_string()),
            error => Self::Engine(Box::new(error)),
        }
    }
}

impl Fault {
    /// Whether the file is of no more use.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

impl From<&Point> for Kept {
    fn from(point: &Point) -> Self {
        let Point { id, document, digest, vector } = point.clone();
        Self { id: id.0, document, digest, vector }
    }
}

impl From<Kept> for Point {
    fn from(kept: Kept) -> Self {
        Self { id: PointId(kept.id), document: kept.document, digest: kept.digest, vector: kept.vector }
    }
}

impl Batch {
    /// How many changes.
    pub fn len(&self) -> u64 {
        self.numbers.len() as u64
    }
}

impl Queue {
    /// Opens a file, all of which is verified, or makes it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        guarded(|| {
            let database = Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).create(path)?;
            let transaction = database.begin_write()?;
            transaction.open_table(CHANGES)?;
            transaction.open_table(POINTS)?;
            transaction.open_table(REBUILDS)?;
            transaction.commit()?;
            Ok(Self(database))
        })
    }

    /// How many changes wait.
    pub fn len(&self) -> Result<u64, Fault> {
        Ok(self.0.begin_read()?.open_table(CHANGES)?.len()?)
    }

    /// Adds changes of a collection; what waited of the same points waits no more.
    pub fn push(&self, collection: &Collection, items: Vec<Item>) -> Result<(), Fault> {
        let name = json(collection);
        self.write(|transaction| {
            let mut changes = transaction.open_table(CHANGES)?;
            let mut points = transaction.open_table(POINTS)?;
            let mut number = changes.last()?.map_or(0, |(number, _)| number.value());
            for item in items {
                number += 1;
                if let Some(id) = item.id()
                    && let Some(before) = points.insert((&*name, id), number)?
                {
                    changes.remove(before.value())?;
                }
                let row = postcard::to_stdvec(&(&*name, &item)).expect("plain data has a form");
                changes.insert(number, &*row)?;
            }
            Ok(())
        })
    }

    /// The first changes, as many as may be one call of a store.
    pub fn first(&self) -> Result<Option<Batch>, Fault> {
        guarded(|| {
            let changes = self.0.begin_read()?.open_table(CHANGES)?;
            let mut batch: Option<(String, Batch)> = None;
            for entry in changes.iter()?.take(POINTS_MAX) {
                let (number, row) = entry?;
                let (name, item): (String, Item) = postcard::from_bytes(row.value()).map_err(damaged)?;
                let Some((first, batch)) = &mut batch else {
                    let collection = serde_json::from_str(&name).map_err(damaged)?;
                    batch = Some((name, Batch { collection, change: item.into(), numbers: vec![number.value()] }));
                    continue;
                };
                if *first != name || !batch.change.add(item) {
                    break;
                }
                batch.numbers.push(number.value());
            }
            Ok(batch.map(|(_, batch)| batch))
        })
    }

    /// The store has taken these.
    pub fn done(&self, batch: &Batch) -> Result<(), Fault> {
        let name = json(&batch.collection);
        self.write(|transaction| {
            let mut changes = transaction.open_table(CHANGES)?;
            let mut points = transaction.open_table(POINTS)?;
            for number in &batch.numbers {
                changes.remove(number)?;
            }
            for id in batch.change.ids() {
                points.remove((&*name, id))?;
            }
            Ok(())
        })
    }

    /// Drops all changes of a collection.
    pub fn forget(&self, collection: &Collection) -> Result<(), Fault> {
        self.write(|transaction| forget(transaction, &json(collection)).map(drop))
    }

    /// Drops all changes of a collection and some more, and marks it.
    pub fn mark(&self, collection: &Collection, why: &str, more: u64) -> Result<(), Fault> {
        let name = json(collection);
        self.write(|transaction| {
            let dropped = more + forget(transaction, &name)?;
            let mut rebuilds = transaction.open_table(REBUILDS)?;
            let before = rebuilds.get(&*name)?.map(|row| (row.value().0.to_owned(), row.value().1));
            let (why, before) = before.unwrap_or_else(|| (why.to_owned(), 0));
            rebuilds.insert(&*name, (&*why, before + dropped))?;
            Ok(())
        })
    }

    /// Whether a collection is marked.
    pub fn is_marked(&self, collection: &Collection) -> Result<bool, Fault> {
        Ok(self.0.begin_read()?.open_table(REBUILDS)?.get(&*json(collection))?.is_some())
    }

    /// The marked collections.
    pub fn rebuilds(&self) -> Result<Vec<Rebuild>, Fault> {
        guarded(|| {
            let mut all = Vec::new();
            for entry in self.0.begin_read()?.open_table(REBUILDS)?.iter()? {
                let (name, row) = entry?;
                let collection = serde_json::from_str(name.value()).map_err(damaged)?;
                all.push(Rebuild { collection, why: row.value().0.to_owned(), dropped: row.value().1 });
            }
            Ok(all)
        })
    }

    /// Takes a mark away, unless more was dropped since.
    pub fn unmark(&self, rebuild: &Rebuild) -> Result<bool, Fault> {
        let name = json(&rebuild.collection);
        self.write(|transaction| {
            let mut rebuilds = transaction.open_table(REBUILDS)?;
            let same = rebuilds.get(&*name)?.is_some_and(|row| row.value().1 == rebuild.dropped);
            if same {
                rebuilds.remove(&*name)?;
            }
            Ok(same)
        })
    }

    fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T, Fault>) -> Result<T, Fault> {
        guarded(|| {
            let transaction = self.0.begin_write()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
    }
}

impl Item {
    fn id(&self) -> Option<u128> {
        match self {
            Self::Upsert(kept) => Some(kept.id),
            Self::Delete(id) => Some(*id),
            Self::Remove => None,
        }
    }
}

impl From<Item> for Change {
    fn from(item: Item) -> Self {
        match item {
            Item::Upsert(kept) => Self::Upsert(vec![kept.into()]),
            Item::Delete(id) => Self::Delete(vec![PointId(id)]),
            Item::Remove => Self::Remove,
        }
    }
}

impl Change {
    /// Takes another change in; false where it is of another kind.
    fn add(&mut self, item: Item) -> bool {
        match (self, item) {
            (Self::Upsert(points), Item::Upsert(kept)) => points.push(kept.into()),
            (Self::Delete(ids), Item::Delete(id)) => ids.push(PointId(id)),
            (Self::Upsert(_) | Self::Delete(_) | Self::Remove, _) => return false,
        }
        true
    }

    fn ids(&self) -> Vec<u128> {
        match self {
            Self::Upsert(points) => points.iter().map(|point| point.id.0).collect(),
            Self::Delete(ids) => ids.iter().map(|id| id.0).collect(),
            Self::Remove => Vec::new(),
        }
    }
}

/// Drops what waits of a collection, and answers with how much that was.
fn forget(transaction: &WriteTransaction, name: &str) -> Result<u64, Fault> {
    let mut changes = transaction.open_table(CHANGES)?;
    let before = changes.len()?;
    changes.retain(|_, row| {
        // what cannot be read is met, and told, when it is its turn
        postcard::take_from_bytes::<&str>(row).map_or(true, |(other, _)| other != name)
    })?;
    transaction.open_table(POINTS)?.retain_in((name, u128::MIN)..=(name, u128::MAX), |_, _| false)?;
    Ok(before - changes.len()?)
}

fn json(collection: &Collection) -> String {
    serde_json::to_string(collection).expect("a collection is plain data")
}

fn damaged(error: impl std::error::Error) -> Fault {
    Fault::Damaged(error.to_string())
}

/// The engine may panic where it meets pages that it has not written.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Fault::Damaged("the engine gave up reading it".into())))
}
