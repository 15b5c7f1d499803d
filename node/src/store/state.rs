//! `state.redb`: what cannot be rebuilt. Tokens, idempotency keys, peers, invitations, the audit, and what this node
//! promised.
//!
//! A write has reached the disk when its method returns, unless the method says otherwise. A corrupt file is refused
//! and left alone.

use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::handle::Handle;
use super::{StoreError, file};

/// Numbers of the file itself: `schema`, `incarnation`, `confirmed-without-notes`.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers-v1");
const SCHEMA: &str = "schema";
const INCARNATION: &str = "incarnation";
/// There while the state is from a life that confirmed terms without a note.
const UNNOTED: &str = "confirmed-without-notes";

/// Brings the file from one schema to the next, in the transaction that also writes the new number.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), StoreError>;

/// Entry n migrates from schema n to n + 1.
pub(super) const MIGRATIONS: &[Migration] = &[create_tables, create_audit, create_confirmed];

/// Counts the openings of a state; the first is 1. Numbers paired with it are never reused across restarts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// An open `state.redb`. Share it by reference or `Arc`: all methods take `&self`.
#[derive(Debug)]
pub struct State {
    handle: Handle,
    incarnation: Incarnation,
}

impl State {
    /// Creates the file whole or not at all; refused when there is one.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        Self::create_with(path, MIGRATIONS)
    }

    pub(super) fn create_with(path: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let database = file::create(path, |database| migrate(database, path, migrations))?;
        Self::start(Handle::file(path, database))
    }

    /// Opens an existing file and migrates it; a missing, newer or corrupt one is refused unchanged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, MIGRATIONS)
    }

    pub(super) fn open_with(path: &Path, migrations: &[Migration]) -> Result<Self, StoreError> {
        let database = file::open(path)?;
        migrate(&database, path, migrations).map_err(|error| error.at(path))?;
        Self::start(Handle::file(path, database))
    }

    /// A state in memory, for tests and throw-away nodes.
    pub fn in_memory() -> Self {
        let database = file::in_memory();
        migrate(&database, Path::new("memory"), MIGRATIONS)
            .and_then(|()| Self::start(Handle::memory(database)))
            .expect("a new database in memory has nothing that can fail")
    }

    fn start(handle: Handle) -> Result<Self, StoreError> {
        let incarnation = handle.write(|txn| {
            let mut numbers = txn.open_table(NUMBERS)?;
            let next = numbers.get(INCARNATION)?.map_or(0, |number| number.value()) + 1;
            numbers.insert(INCARNATION, next)?;
            Ok(Incarnation(next))
        })?;
        Ok(Self { handle, incarnation })
    }

    /// Whether terms granted before this opening may have been confirmed without a note of it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn lacks_notes(&self) -> Result<bool, StoreError> {
        self.read(|txn| Ok(txn.open_table(NUMBERS)?.get(UNNOTED)?.is_some()))
    }

    /// Every such term has its note now.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn has_notes(&self) -> Result<(), StoreError> {
        self.write(|txn| {
            txn.open_table(NUMBERS)?.remove(UNNOTED)?;
            Ok(())
        })
    }

    /// Which opening this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// See [`Handle::read`].
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.handle.read(work)
    }

    /// See [`Handle::write`].
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.handle.write(work)
    }

    /// See [`Handle::write_soon`].
    pub(super) fn write_soon<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.handle.write_soon(work)
    }
}

/// Brings `database` to the newest schema, one transaction a step; refuses a newer one before anything is written.
fn migrate(database: &Database, path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let known = u32::try_from(migrations.len()).expect("a handful of migrations");
    let found = schema(&database.begin_read()?)?;
    if found > known {
        return Err(StoreError::Newer { path: path.into(), found, known });
    }
    for version in found..known {
        let mut txn = database.begin_write()?;
        txn.set_two_phase_commit(true);
        migrations[version as usize](&txn)?;
        txn.open_table(NUMBERS)?.insert(SCHEMA, u64::from(version) + 1)?;
        txn.commit()?;
    }
    Ok(())
}

/// The schema of the file; 0 before the first migration.
fn schema(txn: &ReadTransaction) -> Result<u32, StoreError> {
    let numbers = match txn.open_table(NUMBERS) {
        Ok(numbers) => numbers,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let found = numbers.get(SCHEMA)?.map_or(0, |number| number.value());
    Ok(u32::try_from(found).unwrap_or(u32::MAX))
}

fn create_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(super::tokens::TOKENS)?;
    txn.open_table(super::idempotency::KEYS)?;
    txn.open_table(super::peers::PEERS)?;
    txn.open_table(super::invitations::INVITATIONS)?;
    txn.open_table(super::claims::STARTS)?;
    txn.open_table(super::claims::NEVER_CONFIRM)?;
    txn.open_table(super::settings::SETTINGS)?;
    Ok(())
}

/// A state that was used before does not tell what was confirmed; see [`State::lacks_notes`].
fn create_confirmed(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(super::claims::CONFIRMED)?;
    let mut numbers = txn.open_table(NUMBERS)?;
    let used = numbers.get(INCARNATION)?.is_some();
    if used {
        numbers.insert(UNNOTED, 1)?;
    }
    Ok(())
}

fn create_audit(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(super::audit::AUDIT)?;
    Ok(())
}
