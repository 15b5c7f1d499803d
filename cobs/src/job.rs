//! The job object `io.rhizome.job`: its eight actions, its spec, and what a set of them means.

pub mod action;
mod check;
pub mod fold;
pub mod history;
pub mod outcome;
pub mod spec;
mod spelling;
pub mod state;

/// The type name of the job object, and with it part of the name of its references.
pub const TYPE_NAME: &str = "io.rhizome.job";
