//! What tests of real processes share: homes, ports, processes that end with their test, and waiting with a limit.
//!
//! It knows how to start programs and nothing of what they mean, but for [`node`], which knows what a node is asked.

pub mod cli;
pub mod disk;
pub mod fault;
pub mod forge;
pub mod home;
pub mod http;
pub mod net;
pub mod node;
pub mod port;
pub mod process;
pub mod remains;
pub mod repository;
pub mod server;
pub mod skip;
pub mod tools;
pub mod wait;
pub mod witness;

/// Whether everything is wanted, also what takes long: `tests/run.sh --full` says so.
pub fn full() -> bool {
    std::env::var_os("RHIZOME_TESTS_FULL").is_some()
}
