//! An open database that comes back by itself after the system refused a write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::group::Group;
use super::{StoreError, file};

/// A database in a file, or in memory.
#[derive(Debug)]
pub struct Handle {
    place: Mutex<Place>,
    opened: Mutex<Option<Arc<Opened>>>,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Memory,
}

/// One opening. Its group goes with it, so that no writer takes the sync of a later opening for its own.
#[derive(Debug)]
struct Opened {
    database: Database,
    group: Group,
}

impl Handle {
    /// Of a file opened by [`file::open`] or [`file::create`].
    pub fn file(path: &Path, database: Database) -> Self {
        Self { place: Mutex::new(Place::File(path.into())), opened: Mutex::new(Some(Opened::new(database))) }
    }

    /// Of a database in memory.
    pub fn memory(database: Database) -> Self {
        Self { place: Mutex::new(Place::Memory), opened: Mutex::new(Some(Opened::new(database))) }
    }

    /// The open file has another name now.
    pub fn moved(&self, path: &Path) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Place::File(path.into());
    }

    /// Reads one consistent state.
    pub fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.with(|opened| work(&opened.database.begin_read()?))
    }

    /// Writes, and returns once it is on disk. Concurrent writers share a sync. After an error the write may or may
    /// not have happened.
    pub fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.with(|opened| {
            let done = commit(&opened.database, work)?;
            opened.group.wait(|| sync(&opened.database))?;
            Ok(done)
        })
    }

    /// Writes what may be lost with the power; the next [`Self::write`] puts it on disk too.
    pub fn write_soon<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(|opened| commit(&opened.database, work))
    }

    /// Runs `work` on the open database. After a refused write (a full disk) the engine answers nothing more, so it
    /// is closed, and the next call opens it again.
    fn with<T>(&self, work: impl FnOnce(&Opened) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let opened = self.opened()?;
        let result = work(&opened);
        if let (Err(StoreError::Engine(error)), Place::File(_)) = (&result, self.place())
            && matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo)
        {
            let mut current = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &opened)) {
                current.take();
            }
        }
        result.map_err(|error| error.at(&self.path()))
    }

    fn opened(&self) -> Result<Arc<Opened>, StoreError> {
        let mut current = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = current.as_ref() {
            return Ok(opened.clone());
        }
        let opened = Opened::new(file::open(&self.path())?);
        *current = Some(opened.clone());
        Ok(opened)
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn path(&self) -> PathBuf {
        match self.place() {
            Place::File(path) => path,
            Place::Memory => PathBuf::from("memory"),
        }
    }
}

impl Opened {
    fn new(database: Database) -> Arc<Self> {
        Arc::new(Self { database, group: Group::default() })
    }
}

/// Commits so that later reads see it and the next sync writes it out.
fn commit<T>(
    database: &Database,
    work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::None)?;
    let done = work(&txn)?;
    txn.commit()?;
    Ok(done)
}

/// Puts every commit made so far on disk. Two phases: a one-phase commit that later reads as damaged is rolled back
/// by the engine, and a start that was rolled back would be made twice.
fn sync(database: &Database) -> Result<(), StoreError> {
    let mut txn = database.begin_write()?;
    txn.set_two_phase_commit(true);
    Ok(txn.commit()?)
}
