//! Errors of the vault as those of operations: what was wrong with the request, and what failed here.

use vault::context::ContextError;
use vault::documents::DocumentsError;
use vault::edit::EditError;
use vault::edit::names::NameError;
use vault::pack::PackError;
use vault::root::FileError;
use vault::root::write::WriteError;
use vault::search::SearchError;

use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;

pub(super) fn search(error: &SearchError) -> Error {
    match error {
        SearchError::Query(error) => Error::new(Code::BadRequest, error.to_string())
            .hint("the README has the search language, which is Obsidian's"),
        SearchError::Limit(_) => Error::new(Code::BadRequest, error.to_string()),
        SearchError::Index(error) => storage(error),
    }
}

pub(super) fn context(error: &ContextError) -> Error {
    match error {
        ContextError::NoNote(_) => Error::new(Code::NotFound, error.to_string()),
        ContextError::Named(_) | ContextError::Nothing | ContextError::Pack(PackError::NoBudget) => {
            Error::new(Code::BadRequest, error.to_string())
        }
        ContextError::Search(error) => search(error),
        ContextError::Index(error) => storage(error),
        ContextError::Pack(error) => Error::new(Code::Internal, error.to_string()),
    }
}

pub(in crate::ops) fn documents(error: &DocumentsError) -> Error {
    match error {
        DocumentsError::Id(_) => Error::new(Code::BadRequest, error.to_string()),
        DocumentsError::Long(_) | DocumentsError::LongId(_) | DocumentsError::Full => {
            Error::new(Code::TooLarge, error.to_string())
        }
        DocumentsError::Store { .. } => storage(error),
    }
}

pub(super) fn edit(error: &EditError) -> Error {
    match error {
        EditError::Missing(_) => Error::new(Code::NotFound, error.to_string()),
        EditError::NotANote(_) | EditError::Patch(_) => Error::new(Code::BadRequest, error.to_string()),
        EditError::Conflict { .. } => Error::new(Code::Conflict, error.to_string())
            .hint("read it with: rhizome note show PATH, or GET /v1/notes?path=PATH"),
        EditError::Write { source, .. } => write(error, source),
    }
}

pub(super) fn name(error: &NameError) -> Error {
    match error {
        NameError::Rename(vault::rename::RenameError::Missing(_)) => Error::new(Code::NotFound, error.to_string()),
        NameError::Rename(vault::rename::RenameError::Taken(_)) => {
            Error::new(Code::Conflict, error.to_string()).hint("choose another name, or move that file first")
        }
        NameError::Rename(_) => Error::new(Code::BadRequest, error.to_string()),
        NameError::Behind(_) => Error::new(Code::Busy, error.to_string()).retry_after_ms(1_000),
        NameError::Write { source, .. } => write(error, source),
        NameError::Journal { .. } => storage(error),
    }
}

/// A file that is not written: because of what it is, or because the system says no.
fn write(error: &(dyn std::error::Error + 'static), source: &WriteError) -> Error {
    let code = match source {
        WriteError::Taken(_) | WriteError::Changed { .. } => Code::Conflict,
        WriteError::Link(_) => Code::BadRequest,
        WriteError::File(source) => return file(error, source),
        WriteError::Aside { .. } => return storage(error),
    };
    Error::new(code, crate::runs::chain(error))
}

/// A file that is not read, likewise.
pub(super) fn file(error: &(dyn std::error::Error + 'static), source: &FileError) -> Error {
    match source {
        FileError::Outside | FileError::LeftOut(_) | FileError::NotAFile | FileError::Large { .. } => {
            Error::new(Code::BadRequest, crate::runs::chain(error))
        }
        FileError::Unsteady | FileError::Replaced(_) | FileError::Io(_) => storage(error),
    }
}
