//! The pure fold: laws over random histories, one case for each rule, and the wire form. No storage.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test as the tests themselves do")]

mod caps;
mod cases;
mod corpus;
mod coverage;
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
mod laws;
mod protocol;
mod radworks;
#[path = "../script/mod.rs"]
mod script;
mod wire;
mod world;
