//! How the jobs of a ledger stand, all of them.

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{JobId, RepoId};
use cobs::job::state::Status;
use redb::{ReadableTable, Table, TableDefinition};

use super::index::{INDEX, Place, Value, range};
use super::{JobRow, StoreError, View, code_status, job_id, ledger_bytes, outcome_code, status_code};

/// Ledger and status to the number of jobs.
pub(super) const COUNTS: TableDefinition<([u8; 20], u8), u64> = TableDefinition::new("view-counts-v1");

impl View {
    /// The jobs of a ledger that are not settled, or whose outcome is not known yet.
    pub fn unfinished(&self, ledger: RepoId) -> Result<BTreeSet<JobId>, StoreError> {
        let ledger = ledger_bytes(ledger);
        let unsettled = [Status::Queued, Status::Granted, Status::Provisional];
        let values = unsettled.map(|status| Value::Status(status_code(status)));
        self.handle.read(|txn| {
            let index = txn.open_table(INDEX)?;
            let mut jobs = BTreeSet::new();
            for value in values.into_iter().chain([Value::Outcome(outcome_code(None))]) {
                for entry in index.range::<(&[u8], u64, [u8; 20])>(range(&value.key(ledger), Place::FIRST))? {
                    jobs.insert(job_id(entry?.0.value().2));
                }
            }
            Ok(jobs)
        })
    }

    /// How many jobs of a ledger stand where.
    pub fn counts(&self, ledger: RepoId) -> Result<BTreeMap<Status, u64>, StoreError> {
        let ledger = ledger_bytes(ledger);
        self.handle.read(|txn| {
            let mut counts = BTreeMap::new();
            for entry in txn.open_table(COUNTS)?.range((ledger, 0)..=(ledger, u8::MAX))? {
                let (key, count) = entry?;
                if count.value() > 0 {
                    counts.insert(code_status(key.value().1)?, count.value());
                }
            }
            Ok(counts)
        })
    }
}

/// Counts a job, or no longer.
pub(super) fn change(counts: &mut Table<'_, ([u8; 20], u8), u64>, row: &JobRow, add: bool) -> Result<(), StoreError> {
    let key = (ledger_bytes(row.ledger), status_code(row.status));
    let before = counts.get(key)?.map_or(0, |count| count.value());
    counts.insert(key, if add { before.saturating_add(1) } else { before.saturating_sub(1) })?;
    Ok(())
}
