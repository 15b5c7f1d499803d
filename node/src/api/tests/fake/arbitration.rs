//! Who decides about the jobs of a node in memory: it alone, whatever is asked.

use super::Fake;
use crate::ops::error::Error;
use crate::ops::types::{HandOver, JobView, TakeOver};
use crate::ops::{Caller, Scope};

impl Fake {
    pub async fn hand_over(&self, caller: &Caller, id: &str, _wish: HandOver) -> Result<JobView, Error> {
        caller.require(Scope::WriteJobs)?;
        self.find(id).map(|id| self.view(id))
    }

    pub async fn take_over(&self, caller: &Caller, id: &str, _wish: TakeOver) -> Result<JobView, Error> {
        caller.require_owner()?;
        self.find(id).map(|id| self.view(id))
    }
}
