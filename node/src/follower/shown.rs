//! Hand-overs that peers have shown over their links and replication has not brought yet: what a job means with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cobs::adapter::open::OpenLedger;
use cobs::adapter::shown::Shown;
use cobs::id::JobId;
use cobs::job::state::Job;

/// Most jobs whose shown hand-overs are kept; further ones are learned of by replication alone.
const JOBS_MAX: usize = 1024;

/// The hand-overs that count, by job; clones are of one store. They are lost at a restart, and shown again.
#[derive(Clone, Default)]
pub struct HandOvers(Arc<Mutex<BTreeMap<JobId, BTreeSet<Shown>>>>);

impl HandOvers {
    /// Those of a job.
    pub fn of(&self, job: JobId) -> BTreeSet<Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned().unwrap_or_default()
    }

    fn set(&self, job: JobId, shown: BTreeSet<Shown>) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_empty() {
            jobs.remove(&job);
        } else if jobs.contains_key(&job) || jobs.len() < JOBS_MAX {
            jobs.insert(job, shown);
        }
    }

    /// What a job as read means with what was shown of it, now or before; none when replication has all of that.
    pub(super) fn evaluate(&self, open: &OpenLedger, job: &Job, offered: Option<BTreeSet<Shown>>) -> Option<Job> {
        let mut shown = self.of(job.id);
        shown.extend(offered.unwrap_or_default());
        if shown.is_empty() {
            return None;
        }
        let read = open.read_shown(job, &shown).unwrap_or_else(|error| {
            tracing::error!(job = %job.id, %error, "cannot read a job with a hand-over that was shown");
            None
        });
        if read.is_some() && self.of(job.id).is_empty() {
            tracing::info!(job = %job.id, "a hand-over counts that a peer has shown");
        }
        let (read, used) = read.unzip();
        self.set(job.id, used.unwrap_or_default());
        read
    }
}
