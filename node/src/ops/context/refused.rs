//! Errors of the vault as those of operations: what was wrong with the request, and what failed here.

use vault::context::ContextError;
use vault::documents::DocumentsError;
use vault::edit::EditError;
use vault::edit::names::NameError;
use vault::pack::PackError;
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
        EditError::Write { .. } => storage(error),
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
        NameError::Write { .. } | NameError::Journal { .. } => storage(error),
    }
}
