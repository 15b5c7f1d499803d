//! Homes, ledgers, jobs and peer records in Radicle's storage: the one place that names its crates.
//!
//! Reading is from any thread, writing operations from the one thread of [`writer`]. It knows no network, clock or
//! policy; what operations mean is in [`crate::job`].

pub mod archive;
mod commit;
pub mod identity;
pub mod ledger;
pub mod open;
pub mod peer_record;
pub mod profile;
pub mod radworks;
pub mod reader;
pub mod refs;
pub mod repair;
pub mod repository;
pub mod restored;
pub mod shown;
pub mod signed;
pub mod signing;
pub mod statement;
mod synced;
pub mod writer;
