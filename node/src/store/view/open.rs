//! Opening the view, and building it anew beside one that cannot be used.
//!
//! At every moment the file in place is a whole one or the one that was found, so whatever kills the rebuilding, the next
//! start finds what it needs to begin it again; and an older program that is brought back meanwhile finds its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::super::handle::Handle;
use super::super::{StoreError, file};
use super::{View, check_format, create_tables};

/// What was found when the view was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// What was written before. Scan for objects whose tips have changed.
    Kept,
    /// Nothing; the view is new and empty.
    Created,
    /// Something unusable, which stays in place until [`View::complete`]; the view is new and empty.
    Rebuilding {
        /// Why it was unusable.
        reason: String,
        /// Where it goes then, in place of an earlier one.
        aside: PathBuf,
    },
}

/// A view that is being built beside another one.
#[derive(Debug)]
pub(super) struct Rebuilding {
    beside: PathBuf,
    place: PathBuf,
    aside: PathBuf,
}

impl View {
    /// Opens the view, or begins it anew where there is none or one that cannot be used.
    pub fn open(path: &Path) -> Result<(Self, Opened), StoreError> {
        let (reason, suffix) =
            match file::open(path).and_then(|database| check_format(&database, path).map(|()| database)) {
                Ok(database) => return Ok((Self::of(Handle::file(path, database)), Opened::Kept)),
                Err(StoreError::Missing { .. }) => {
                    let database = file::create(path, create_tables)?;
                    return Ok((Self::of(Handle::file(path, database)), Opened::Created));
                }
                Err(StoreError::Corrupt { reason, .. }) => (reason, "corrupt"),
                Err(StoreError::Newer { found, known, .. }) => {
                    (format!("it has format {found}, and {known} is used here"), "other")
                }
                Err(error) => return Err(error.at(path)),
            };
        let (beside, aside) = (file::beside(path, "rebuilding"), file::beside(path, suffix));
        // one that was not finished may lack anything
        remove(&beside)?;
        let database = file::create(&beside, create_tables)?;
        let mut view = Self::of(Handle::file(&beside, database));
        view.rebuilding = Some(Rebuilding { beside, place: path.into(), aside: aside.clone() }).into();
        Ok((view, Opened::Rebuilding { reason, aside }))
    }

    /// What was built beside the old file takes its place, on disk and in one step. Nothing is done for a view that was
    /// not rebuilt, or that has its place.
    pub fn complete(&self) -> Result<(), StoreError> {
        let mut rebuilding = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Rebuilding { beside, place, aside }) = rebuilding.as_ref() else { return Ok(()) };
        self.handle.write(|_| Ok(()))?;
        remove(aside)?;
        // the old one is kept under another name, and is in its place until the new one is
        fs::hard_link(place, aside).map_err(|source| file::io_error(place, source))?;
        fs::rename(beside, place).map_err(|source| file::io_error(place, source))?;
        self.handle.moved(place);
        file::sync_directory(place).map_err(|source| file::io_error(place, source))?;
        *rebuilding = None;
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(file::io_error(path, source)),
        Ok(()) | Err(_) => Ok(()),
    }
}
