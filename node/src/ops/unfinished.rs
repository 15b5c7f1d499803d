//! How many unfinished jobs this node may have in one ledger: many are told of, too many are refused.
//!
//! Each is a live reference, and signing, fetching and listing cost as much as there are of them, here and at every peer.

use cobs::id::RepoId;

use super::error::{Code, Error};
use crate::node::Node;

/// The name of what `/health` shows.
const PROBLEM: &str = "unfinished jobs";

/// How many are how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From here on people are told.
    pub alarm: usize,
    /// From here on no job more is taken.
    pub most: usize,
    /// When to try again, in milliseconds.
    pub retry_after_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { alarm: 500, most: 2_000, retry_after_ms: 60_000 }
    }
}

impl Limits {
    /// Whether one job more is taken where there are so many.
    fn admit(&self, ledger: RepoId, unfinished: usize) -> Result<(), Error> {
        if unfinished < self.most {
            return Ok(());
        }
        let words = format!("this node has {unfinished} unfinished jobs in {ledger}, {} are the most", self.most);
        Err(Error::new(Code::LedgerFull, words)
            .retry_after_ms(self.retry_after_ms)
            .hint("wait for some to finish, or end them: rhizome job list --status queued, rhizome job cancel ID"))
    }

    /// What people are told of so many.
    fn alarm(&self, ledger: RepoId, unfinished: usize) -> Option<String> {
        let Self { alarm, most, .. } = self;
        (unfinished >= *alarm).then(|| {
            format!("{unfinished} of this node in {ledger}, which slows every peer down; from {most} on none is taken")
        })
    }
}

impl Node {
    /// Unfinished jobs of this node in a ledger, as last read.
    pub fn unfinished(&self, ledger: RepoId) -> usize {
        let jobs = self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        jobs.values().filter(|(of, job)| *of == ledger && job.author == self.id && job.settled.is_none()).count()
    }

    /// Refuses one job more in a ledger that has too many of this node.
    pub(super) fn admit_one_more(&self, ledger: RepoId) -> Result<(), Error> {
        self.limits.admit(ledger, self.unfinished(ledger))
    }

    /// Counts them, and tells people where there are many. By period; what it tells is logged once.
    pub fn count_unfinished(&self) {
        let mut told = Vec::new();
        for ledger in self.ledgers() {
            let unfinished = self.unfinished(ledger);
            let figure = u32::try_from(unfinished).map_or(f64::MAX, f64::from);
            metrics::gauge!("rhizome_unfinished_jobs", "ledger" => ledger.to_string()).set(figure);
            if let Some(live) = self.writer.live(&ledger) {
                let figure = u32::try_from(live).map_or(f64::MAX, f64::from);
                metrics::gauge!("rhizome_live_references", "ledger" => ledger.to_string()).set(figure);
            }
            told.extend(self.limits.alarm(ledger, unfinished));
        }
        let told = (!told.is_empty()).then(|| told.join("; "));
        if let Some(words) = told.as_ref().filter(|_| !self.has_problem(PROBLEM)) {
            tracing::warn!(words, "many unfinished jobs");
        }
        self.problem(PROBLEM, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Below the alarm nothing is said, from it on people are told, and from the limit on a job is refused with a time.
    #[test]
    fn many_are_told_of_and_too_many_are_refused() {
        let ledger: RepoId = "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5".parse().unwrap();
        let limits = Limits { alarm: 3, most: 5, retry_after_ms: 7 };
        for (unfinished, told, refused) in
            [(0, false, false), (2, false, false), (3, true, false), (4, true, false), (5, true, true), (9, true, true)]
        {
            assert_eq!(limits.alarm(ledger, unfinished).is_some(), told, "{unfinished}");
            let error = limits.admit(ledger, unfinished).err();
            assert_eq!(
                error.as_ref().map(|error| (error.code, error.retry_after_ms)),
                refused.then_some((Code::LedgerFull, Some(7)))
            );
        }
    }
}
