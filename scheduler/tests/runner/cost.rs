//! To come.
pub const TESTS: crate::harness::Tests = &[];
