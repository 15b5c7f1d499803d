//! Where the jobs of a node in memory are: nowhere else.

use super::{Fake, TS, ledger};
use crate::ops::error::Error;
use crate::ops::types::{JobReplication, PendingChanges};
use crate::ops::{Caller, Scope};

impl Fake {
    pub async fn job_replication(&self, caller: &Caller, id: &str) -> Result<JobReplication, Error> {
        caller.require(Scope::ReadJobs)?;
        Ok(JobReplication { id: self.find(id)?, ledger: ledger(), at: TS.to_owned(), objects: Vec::new() })
    }

    pub async fn pending(&self, caller: &Caller) -> Result<PendingChanges, Error> {
        caller.require(Scope::ReadJobs)?;
        Ok(PendingChanges { at: TS.to_owned(), ledgers: Vec::new() })
    }
}
