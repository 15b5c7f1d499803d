//! Stand-in until the set-up is there.
#![expect(missing_docs, reason = "it is thrown away")]

use crate::cli::args::{InitOptions, JoinOptions};
use crate::config::Environment;
use crate::ops::error::{Code, Error};
use crate::ops::types::Joined;

#[derive(serde::Serialize)]
pub struct InitReport {}

impl std::fmt::Display for InitReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "made")
    }
}

pub fn init(_: &Environment, _: InitOptions) -> Result<InitReport, Error> {
    Err(Error::new(Code::Internal, "not there yet"))
}

pub async fn join_offline(_: &Environment, _: JoinOptions) -> Result<Joined, Error> {
    Err(Error::new(Code::Internal, "not there yet"))
}
