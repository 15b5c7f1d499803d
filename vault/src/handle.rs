//! An open database that comes back by itself after the system refused a write, as on a full disk.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, Error};

/// How long it stays closed after a refused write: to open it again may mean to read all of it.
const PAUSE: Duration = Duration::from_secs(1);

/// A database in a file.
#[derive(Debug)]
pub struct Handle {
    file: PathBuf,
    opening: RwLock<Opening>,
}

#[derive(Debug)]
struct Opening {
    /// None after a refused write, until it is opened again.
    database: Option<Database>,
    /// Which opening this is.
    number: u64,
    closed: Instant,
}

impl Handle {
    /// Opens a file, or begins it.
    ///
    /// # Errors
    /// When the system refuses, another process has it, or it is damaged.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let database = Some(Database::create(file)?);
        let opening = RwLock::new(Opening { database, number: 0, closed: Instant::now() });
        Ok(Self { file: file.to_owned(), opening })
    }

    /// Does something with it. After a refused write the engine answers nothing more, so it is closed once nobody uses it,
    /// and opened again a moment later. The work uses no handle itself.
    ///
    /// # Errors
    /// Those of the engine; whether something was written is not known then.
    pub fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        self.reopen()?;
        let opening = self.opening.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = &opening.database else { return Err(Error::PreviousIo) };
        let (number, done) = (opening.number, work(database));
        drop(opening);
        if matches!(done, Err(Error::Io(_) | Error::PreviousIo | Error::LockPoisoned(_))) {
            let mut opening = self.opening.write().unwrap_or_else(PoisonError::into_inner);
            // another call may have opened it again
            if opening.number == number && opening.database.take().is_some() {
                opening.closed = Instant::now();
            }
        }
        done
    }

    fn reopen(&self) -> Result<(), Error> {
        if self.opening.read().unwrap_or_else(PoisonError::into_inner).database.is_some() {
            return Ok(());
        }
        let mut opening = self.opening.write().unwrap_or_else(PoisonError::into_inner);
        if opening.database.is_none() {
            if opening.closed.elapsed() < PAUSE {
                return Err(Error::PreviousIo);
            }
            // not begun anew: what was removed meanwhile may be derived from nothing
            opening.database = Some(Database::open(&self.file)?);
            opening.number += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase as _, TableDefinition};

    use super::*;

    const TABLE: TableDefinition<'_, u8, u8> = TableDefinition::new("table");

    fn read(handle: &Handle) -> Result<Option<u8>, Error> {
        handle.with(|database| Ok(database.begin_read()?.open_table(TABLE)?.get(1)?.map(|value| value.value())))
    }

    /// Asks until the pause is over.
    fn after_the_pause(handle: &Handle) -> Result<Option<u8>, Error> {
        loop {
            match read(handle) {
                Err(Error::PreviousIo) => std::thread::park_timeout(PAUSE / 20),
                answer => return answer,
            }
        }
    }

    /// What refused a write is opened again after a pause with what it had; a file that was removed is not begun anew.
    #[test]
    fn it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.redb");
        let handle = Handle::open(&file).unwrap();
        handle
            .with(|database| {
                let write = database.begin_write()?;
                write.open_table(TABLE)?.insert(1, 2)?;
                Ok(write.commit()?)
            })
            .unwrap();
        let fails = || handle.with(|_| Err::<(), _>(Error::PreviousIo)).unwrap_err();
        fails();
        assert!(matches!(read(&handle), Err(Error::PreviousIo)), "it is opened again without a pause");
        assert_eq!(after_the_pause(&handle).unwrap(), Some(2));
        fails();
        std::fs::remove_file(&file).unwrap();
        assert!(after_the_pause(&handle).is_err() && !file.exists());
    }
}
