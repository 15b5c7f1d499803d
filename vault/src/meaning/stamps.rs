//! Which documents have their vectors in which collection, durably.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use redb::{Database, ReadableDatabase as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::derived::{self, Fault, guarded};
use crate::handle::Handle;
use crate::vectors::Collection;

/// Collection and document to the stamp in JSON.
const STAMPS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("stamps.1");
/// What a collection is of to the one that is searched, in JSON.
const CURRENT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("current.1");

/// That a document has its vectors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// The digests of its passages whose vectors are kept.
    pub digests: BTreeSet<String>,
    /// Since when, in milliseconds of Unix time.
    pub at_ms: u64,
}

/// The store of stamps. It is derived: without it all vectors are sent again, out of the cache.
#[derive(Debug)]
pub struct Stamps {
    handle: Handle,
}

impl Stamps {
    /// Opens the store in a file, or begins it. One that is damaged is put aside.
    ///
    /// # Errors
    /// When the system refuses, or another process has it.
    pub fn open(file: &Path) -> Result<Self, Fault> {
        derived::open(file, |file| {
            let handle = Handle::open(file)?;
            handle.with(|database| {
                let write = database.begin_write()?;
                write.open_table(STAMPS)?;
                write.open_table(CURRENT)?;
                Ok(write.commit()?)
            })?;
            Ok(Self { handle })
        })
    }

    /// The collection that is searched.
    ///
    /// # Errors
    /// When the store fails.
    pub fn current(&self, content: &str) -> Result<Option<Collection>, Fault> {
        self.with(|database| {
            let json = database.begin_read()?.open_table(CURRENT)?.get(content)?;
            Ok(json.and_then(|json| serde_json::from_slice(json.value()).ok()))
        })
    }

    /// Has a collection searched.
    ///
    /// # Errors
    /// When the store fails.
    pub fn make_current(&self, collection: &Collection) -> Result<(), Fault> {
        self.with(|database| {
            let json = serde_json::to_vec(collection).expect("a collection is plain data");
            let write = database.begin_write()?;
            write.open_table(CURRENT)?.insert(collection.content.as_str(), &*json)?;
            Ok(write.commit()?)
        })
    }

    /// The stamps of a collection.
    ///
    /// # Errors
    /// When the store fails.
    pub fn all(&self, collection: &Collection) -> Result<BTreeMap<String, Stamp>, Fault> {
        self.with(|database| {
            let name = collection.to_string();
            let read = database.begin_read()?;
            let table = read.open_table(STAMPS)?;
            let mut stamps = BTreeMap::new();
            for entry in table.range((name.as_str(), "")..)? {
                let (key, json) = entry?;
                let (of, document) = key.value();
                if of != name {
                    break;
                }
                // one that cannot be read is made again
                if let Ok(stamp) = serde_json::from_slice(json.value()) {
                    stamps.insert(document.to_owned(), stamp);
                }
            }
            Ok(stamps)
        })
    }

    /// Sets stamps, and removes those that are none, together.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set(&self, collection: &Collection, stamps: &[(String, Option<Stamp>)]) -> Result<(), Fault> {
        self.with(|database| {
            let name = collection.to_string();
            let write = database.begin_write()?;
            {
                let mut table = write.open_table(STAMPS)?;
                for (document, stamp) in stamps {
                    match stamp {
                        Some(stamp) => {
                            let json = serde_json::to_vec(stamp).expect("a stamp is plain data");
                            table.insert((name.as_str(), document.as_str()), &*json)?;
                        }
                        None => drop(table.remove((name.as_str(), document.as_str()))?),
                    }
                }
            }
            Ok(write.commit()?)
        })
    }

    /// Removes all stamps of a collection.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&self, collection: &Collection) -> Result<(), Fault> {
        let documents: Vec<_> = self.all(collection)?.into_keys().map(|document| (document, None)).collect();
        self.set(collection, &documents)
    }
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Fault> {
        guarded(|| Ok(self.handle.with(work)?))
    }
}
