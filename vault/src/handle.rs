//! An open database that comes back by itself after the system refused a write, as on a full disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Error};

/// A database in a file.
#[derive(Debug)]
pub struct Handle {
    file: PathBuf,
    /// None after a refused write, until it is opened again.
    database: Mutex<Option<Arc<Database>>>,
}

impl Handle {
    /// Opens a file, or begins it.
    ///
    /// # Errors
    /// When the system refuses, another process has it, or it is damaged.
    pub fn open(file: &Path) -> Result<Self, Error> {
        let database = Mutex::new(Some(Arc::new(Database::create(file)?)));
        Ok(Self { file: file.to_owned(), database })
    }

    /// Does something with it. After a refused write the engine answers nothing more, so it is closed, and the next call
    /// opens it again.
    ///
    /// # Errors
    /// Those of the engine; whether something was written is not known then.
    pub fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.opened()?;
        let done = work(&database);
        if matches!(done, Err(Error::Io(_) | Error::PreviousIo)) {
            let mut opened = self.database.lock().unwrap_or_else(PoisonError::into_inner);
            // another call may have opened it again
            opened.take_if(|opened| Arc::ptr_eq(opened, &database));
        }
        done
    }

    fn opened(&self) -> Result<Arc<Database>, Error> {
        let mut opened = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*opened {
            return Ok(Arc::clone(database));
        }
        let database = Arc::new(Database::create(&self.file)?);
        Ok(Arc::clone(opened.insert(database)))
    }
}
