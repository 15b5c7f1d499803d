//! The pure fold: laws over random histories, and one case for each rule. No storage.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test as the tests themselves do")]

mod cases;
mod laws;
mod wire;
mod world;
