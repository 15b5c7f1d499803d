//! Models that others run, asked over HTTP: so far those that turn text into vectors.
//!
//! Nothing is sent anywhere but to the address that was given: no proxy is asked and no redirect followed, so that what is
//! meant for this machine stays on it. A key is never shown, nor is the text that was sent.

mod address;
pub mod breaker;
pub mod budget;
pub mod chat;
pub mod failure;
pub mod frames;
mod http;
pub mod ollama;
pub mod openai;
pub mod policy;
pub mod price;
pub mod queue;
#[cfg(test)]
mod tests;
mod vectors;
pub mod whole;
pub mod wire;

use std::time::Duration;

pub use address::{Address, AddressError};

/// How long a connection may take to come about.
pub const CONNECT_MS: u64 = 5_000;
/// How long one request may take in all: a batch of long texts, by a model that is loaded first, on a slow processor.
pub const CALL_MS: u64 = 120_000;

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To connect.
    pub connect: Duration,
    /// One request, from the first byte to the last of its answer. Texts of several batches take as often as long.
    pub call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_millis(CONNECT_MS), call: Duration::from_millis(CALL_MS) }
    }
}
