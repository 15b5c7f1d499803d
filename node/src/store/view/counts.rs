//! How the jobs of a ledger stand, all of them.

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{JobId, RepoId};
use cobs::job::outcome::Outcome;
use cobs::job::state::Status;

use super::{BY_AGE, StoreError, View, code_outcome, code_status, job_id, ledger_bytes};

impl View {
    /// The jobs of a ledger that are not settled, or whose outcome is not known yet.
    pub fn unfinished(&self, ledger: RepoId) -> Result<BTreeSet<JobId>, StoreError> {
        self.by_status(ledger, |jobs: &mut BTreeSet<JobId>, job, status, outcome| {
            if status != Status::Settled || outcome.is_none() {
                jobs.insert(job);
            }
        })
    }

    /// How many jobs of a ledger stand where.
    pub fn counts(&self, ledger: RepoId) -> Result<BTreeMap<Status, u64>, StoreError> {
        self.by_status(ledger, |counts: &mut BTreeMap<Status, u64>, _, status, _| {
            *counts.entry(status).or_default() += 1;
        })
    }

    fn by_status<T: Default>(
        &self,
        ledger: RepoId,
        mut count: impl FnMut(&mut T, JobId, Status, Option<Outcome>),
    ) -> Result<T, StoreError> {
        let ledger = ledger_bytes(ledger);
        let (first, last) = ((ledger, 0, [0; 20]), (ledger, u64::MAX, [0xff; 20]));
        self.handle.read(|txn| {
            let mut counted = T::default();
            for entry in txn.open_table(BY_AGE)?.range(first..=last)? {
                let (key, value) = entry?;
                let (status, outcome, _, _) = value.value();
                count(&mut counted, job_id(key.value().2), code_status(status)?, code_outcome(outcome)?);
            }
            Ok(counted)
        })
    }
}
