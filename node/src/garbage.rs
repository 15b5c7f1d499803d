//! When the storage of a ledger is collected: by period, and sooner where many objects stand alone.
//!
//! One ledger at a time. It must not know how it is done.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use cobs::id::RepoId;

use crate::node::Node;
use crate::replication::garbage::GarbageError;

/// Loose objects above which it is not waited for the period. A batch of the writer adds about six.
const LOOSE_MANY: usize = 6_000;
/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(600);
/// How long one collection may take.
const TIME_MAX: Duration = Duration::from_secs(1_800);

/// Looks by period. Never ends by itself.
pub async fn run(node: Arc<Node>, stop: CancellationToken) {
    let every = Duration::from_millis(node.config.collect_every_ms);
    let look = every.min(LOOK);
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(look)).await.is_none() {
            return;
        }
        let (worker, stop) = (Arc::clone(&node), stop.clone());
        let work = move || {
            for ledger in worker.ledgers() {
                if is_due(&worker, ledger, every) {
                    collect(&worker, ledger, &stop);
                }
            }
        };
        tokio::task::spawn_blocking(work).await.ok();
    }
}

fn is_due(node: &Node, ledger: RepoId, every: Duration) -> bool {
    let files = node.replication.files(ledger);
    // a time that lies ahead is of a clock that was wrong
    let old = |at: SystemTime| at.elapsed().map_or(true, |age| age >= every);
    files.loose > LOOSE_MANY || (files.loose > 0 && files.collected.is_none_or(old))
}

fn collect(node: &Node, ledger: RepoId, stop: &CancellationToken) {
    let started = std::time::Instant::now();
    match node.replication.collect(ledger, |took| took > TIME_MAX || stop.is_cancelled()) {
        Ok(collected) => {
            let took = started.elapsed();
            tracing::info!(%ledger, before = collected.before, after = collected.after, took_ms = took.as_millis(), "ledger collected");
            metrics::counter!("rhizome_collections_total").increment(1);
            metrics::gauge!("rhizome_collection_seconds").set(took.as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "a figure of bytes need not be exact")]
            metrics::gauge!("rhizome_ledger_disk_bytes", "ledger" => ledger.to_string()).set(collected.after as f64);
        }
        // it is looked again
        Err(GarbageError::Busy) => tracing::debug!(%ledger, "another process collects the ledger"),
        Err(error) => {
            metrics::counter!("rhizome_collections_failed_total").increment(1);
            tracing::warn!(%ledger, error = %crate::runs::chain(&error), "ledger not collected; it is tried again");
        }
    }
}
