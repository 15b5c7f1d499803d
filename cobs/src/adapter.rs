//! Everything that touches Radicle's storage: homes, keys, ledgers and their identity documents.
//!
//! It must not know jobs' meaning, the network or the daemon.

pub mod identity;
pub mod ledger;
pub mod profile;
pub mod repository;
