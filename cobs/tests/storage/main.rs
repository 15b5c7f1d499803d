//! The adapter on real Radicle storage: temporary homes, several keys in one storage, no network.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test as the tests themselves do")]

mod archiving;
mod caps;
mod commits;
mod crash;
mod forgeries;
mod home;
mod laws;
mod radworks;
mod reading;
mod restored;
#[path = "../script/mod.rs"]
mod script;
mod shown;
mod signed;
mod stage;
mod torn;
mod writing;
