//! The index of words over documents, on disk.
//!
//! Everything that is known of a document is in its record, which one commit writes together with its words, so what a crash
//! leaves is whole. It is derived: what cannot be read is built again from the documents.

pub mod catalog;
pub mod generations;
pub mod record;
pub mod tokens;
pub mod words;
