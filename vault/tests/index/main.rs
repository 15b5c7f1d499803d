//! A vault on disk, the index of it, and what is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod code;
mod context;
mod crash;
mod edits;
mod filters;
mod kept;
mod meaning;
mod search;
mod support;
mod transfer;
mod watched;
