//! From documents to the index: what is read, when, and what becomes of it.

pub mod engine;
pub mod read;
pub mod rules;
pub mod shared;
mod target;
pub mod watch;
pub mod worker;
