//! An Obsidian vault, understood: notes with the byte range of every element, and links resolved as Obsidian does.
//!
//! Invariants. A note is never lost to a fault in it: what cannot be read is text, with a warning. A range counts bytes of
//! the file as it is on disk. What takes a note apart, compares and chooses is pure; only the stores of the index touch a disk
//! or a network. Nothing names a job.

pub mod canvas;
pub mod chunk;
pub mod code;
pub mod context;
mod derived;
pub mod documents;
pub mod edit;
pub mod embed;
pub mod fuse;
mod handle;
pub mod index;
pub mod ingest;
pub mod links;
pub mod meaning;
pub mod measure;
mod memory;
pub mod note;
pub mod pack;
pub mod parse;
pub mod patch;
pub mod path;
pub mod query;
pub mod rename;
pub mod root;
pub mod search;
pub mod source;
pub mod transfer;
pub mod vectors;
