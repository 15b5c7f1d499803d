//! Every vector store, held to one contract: those in process, and those of other products as the real servers keep it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod killed;
mod local;
mod model;
mod points;
mod remote;
mod servers;
