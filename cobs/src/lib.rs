//! What a history of signed operations means: the job object, the peer record, what Radicle's own
//! tools show of a job, and their Radicle adapter.
//!
//! Invariants. The pure part knows no storage, clock, randomness or network, and builds with
//! `--no-default-features`. Evaluating a history never fails and never depends on the order, number or timing
//! of arrivals. Radicle's storage crates are named in [`adapter`] alone.

#[cfg(feature = "radicle")]
pub mod adapter;
mod canonical;
pub mod digest;
pub mod id;
pub mod job;
pub mod peer;
pub mod radworks;
pub mod transport_key;

/// Version of the job object that this build writes and understands.
pub const JOB_VERSION: u32 = 1;
/// Version of the protocol between daemons, published in the peer record.
pub const PROTOCOL_VERSION: u32 = 1;
