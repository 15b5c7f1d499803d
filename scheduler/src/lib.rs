//! What this machine does next: the claim machine, placement, runners and probes.
//!
//! Invariants. [`machine`] and [`place`] are pure: no clock, randomness, file or process; time is an argument and
//! what they decide is ordered. Runners and probes stand at the edge and never decide whether a job may run.

pub mod capacity;
pub mod fault;
pub mod machine;
pub mod place;
pub mod probe;
pub mod runner;
