//! Which settled jobs leave the live references of this node, and when.
//!
//! Signing and fetching cost as much as there are live references, so what nothing more is expected of is moved into the
//! namespace's archive, where everyone still reads it. By period and by nudge; a look is idempotent, and the next one is
//! its retry. It must not know how an archive is stored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use cobs::adapter::archive::ARCHIVE_JOBS_MAX;
use cobs::adapter::open::OpenLedger;
use cobs::adapter::writer::{Draft, Written};
use cobs::id::{JobId, RepoId};
use cobs::job::state::Status;

use crate::clock::unix_now;
use crate::node::Node;
use crate::store::{StoreError, UnixMs};

/// Live references of this node in one ledger above which settled jobs leave before their time, oldest first.
pub const LIVE_MANY: usize = 300;
/// Most batches of one look at a ledger: each is one signature, and other writers come between two of them.
const BATCHES_MAX: usize = 8;
/// How often it is looked within the time that a settled job stays live.
const LOOKS_PER_AGE: u32 = 24;
/// The shortest and the longest time between two looks.
const PERIOD: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3600)];
/// The least time between two looks that were asked for by changes.
const NUDGES_APART: Duration = Duration::from_secs(5);

/// A job with a live reference here that is settled, with its outcome known and nothing of it left to report.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Settled {
    since: UnixMs,
    job: JobId,
}

/// Looks by period, and when a change finds too many live references. Never ends.
pub async fn run(node: Arc<Node>) {
    let after = Duration::from_millis(node.config.archive_after_ms);
    let period = (after / LOOKS_PER_AGE).clamp(PERIOD[0], PERIOD[1]);
    let mut ticks = tokio::time::interval(period);
    let mut changes = node.changes.subscribe();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = crowded(&node, &mut changes) => {}
        }
        let worker = Arc::clone(&node);
        tokio::task::spawn_blocking(move || look(&worker)).await.ok();
        tokio::time::sleep(NUDGES_APART.min(period)).await;
    }
}

/// Waits for a change of a job while there are too many live references.
async fn crowded(node: &Node, changes: &mut Receiver<JobId>) {
    loop {
        match changes.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
        if node.ledgers().iter().any(|ledger| node.writer.live(ledger).is_some_and(|live| live > LIVE_MANY)) {
            return;
        }
    }
}

/// Moves what is due, a batch at a time. Blocks.
fn look(node: &Arc<Node>) {
    let unreported = unreported(node);
    let mut stay = unreported.clone();
    let mut is_known = true;
    for ledger in node.ledgers() {
        let live = match live(node, ledger) {
            Ok(live) => live,
            Err(reason) => {
                tracing::debug!(%ledger, reason, "not looked for jobs to archive");
                is_known = false;
                continue;
            }
        };
        let settled =
            live.iter().filter(|job| !unreported.contains(job)).filter_map(|job| settled(node, *job)).collect();
        let due = choose(settled, live.len(), unix_now(), node.config.archive_after_ms);
        stay.extend(live);
        for jobs in due.chunks(ARCHIVE_JOBS_MAX).take(BATCHES_MAX) {
            match node.writer.write(Draft::Archive { ledger, jobs: jobs.to_vec() }) {
                Ok(Written::Archived { jobs, .. }) => {
                    metrics::counter!("rhizome_jobs_archived_total").increment(jobs as u64);
                    tracing::info!(%ledger, jobs, "settled jobs archived");
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%ledger, error = %crate::runs::chain(&error), "settled jobs not archived yet");
                    break;
                }
            }
        }
    }
    // what was archived just now is let go of at the next look
    if is_known && let Err(error) = forget_claims(node, &stay) {
        tracing::debug!(%error, "notes of archived jobs not let go yet");
    }
}

/// Forgets what was promised about runs of jobs that are settled and live no more. Blocks.
fn forget_claims(node: &Node, stay: &BTreeSet<JobId>) -> Result<(), StoreError> {
    let mut gone = node.state.claimed_jobs()?;
    gone.retain(|job| !stay.contains(job) && settled(node, *job).is_some());
    if !gone.is_empty() {
        node.state.forget_claims(&gone)?;
        tracing::debug!(jobs = gone.len(), "notes of archived jobs let go");
    }
    Ok(())
}

fn live(node: &Node, ledger: RepoId) -> Result<BTreeSet<JobId>, String> {
    let open = OpenLedger::open(&node.home(), ledger).map_err(|error| error.to_string())?;
    open.live_jobs(&node.id).map_err(|error| error.to_string())
}

fn settled(node: &Node, job: JobId) -> Option<Settled> {
    let row = node.view.job(job).ok()??.row;
    (row.status == Status::Settled && row.outcome.is_some()).then_some(Settled { since: row.updated, job })
}

/// Jobs with a run here whose end the ledger does not hold yet.
fn unreported(node: &Node) -> BTreeSet<JobId> {
    let is_reported = |job: &cobs::job::state::Job, run: &cobs::id::RunId| {
        job.dones.contains_key(&run.token) || job.self_started.contains_key(&(run.token.epoch, run.node))
    };
    let runs = node.runs.active().into_keys();
    runs.filter(|run| !node.known_job(run.job).is_some_and(|job| is_reported(&job, run))).map(|run| run.job).collect()
}

/// What leaves now: what was settled for longer than `after_ms`, and of the rest as many as there are live references
/// above [`LIVE_MANY`], in whole batches, oldest first.
fn choose(mut settled: Vec<Settled>, live: usize, now: UnixMs, after_ms: u64) -> Vec<JobId> {
    settled.sort();
    let too_many = live.saturating_sub(LIVE_MANY).next_multiple_of(ARCHIVE_JOBS_MAX);
    let is_due = |(index, settled): &(usize, Settled)| *index < too_many || settled.since.plus_ms(after_ms) <= now;
    settled.into_iter().enumerate().filter(is_due).map(|(_, settled)| settled.job).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64) -> Settled {
        let job = format!("{number:040x}").parse().unwrap();
        Settled { since: UnixMs(number * 1000), job }
    }

    /// Jobs leave by age; the oldest leave before their time when too many are live, and never more than are settled.
    #[test]
    fn the_oldest_leave_by_age_or_where_too_many_are_live() {
        let jobs = |numbers: std::ops::Range<u64>| numbers.map(|number| job(number).job).collect::<Vec<_>>();
        let settled = || (0..100).rev().map(job).collect::<Vec<_>>();
        for (live, now_ms, after_ms, leave) in [
            (100, 99_000, 100_000, 0),
            (100, 99_000, 90_000, 10),
            (100, 99_000, 0, 100),
            (LIVE_MANY, 99_000, 100_000, 0),
            (LIVE_MANY + 1, 99_000, 100_000, ARCHIVE_JOBS_MAX as u64),
            (LIVE_MANY + ARCHIVE_JOBS_MAX + 1, 99_000, 100_000, 100),
        ] {
            let chosen = choose(settled(), live, UnixMs(now_ms), after_ms);
            assert_eq!(chosen, jobs(0..leave), "{live} live, {after_ms} ms");
        }
    }
}
