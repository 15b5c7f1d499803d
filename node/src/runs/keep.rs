//! How long ended runs and the inputs of others' jobs are kept here: a number of days and bytes, the oldest settled
//! first. A fetch deletes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cobs::id::JobId;
use cobs::job::state::Status;

use crate::node::Node;

/// Between two looks.
pub const PERIOD: Duration = Duration::from_secs(600);

/// Removes ended runs that are too old or too many, oldest settled first. Blocks.
pub fn sweep(node: &Arc<Node>) {
    let keep = Duration::from_secs(u64::from(node.config.artifacts.keep_days) * 24 * 3600);
    let mut settled = Vec::new();
    for (run, active) in node.runs.active() {
        let ended = active.finished.is_some();
        let is_settled = node.known_job(run.job).is_none_or(|job| job.status() == Status::Settled);
        if ended && is_settled {
            let directory = node.runs.directory(run);
            let age = std::fs::metadata(&directory).and_then(|meta| meta.modified());
            settled.push((age.unwrap_or(SystemTime::UNIX_EPOCH), bytes(&directory), run));
        }
    }
    settled.sort();
    let mut total: u64 = settled.iter().map(|(_, size, _)| size).sum();
    for (modified, size, run) in settled {
        let old = modified.elapsed().is_ok_and(|age| age > keep);
        if !old && total <= node.config.artifacts.keep_bytes {
            continue;
        }
        total = total.saturating_sub(size);
        if std::fs::remove_dir_all(node.runs.directory(run)).is_ok() {
            node.runs.forget(run);
            tracing::info!(%run, bytes = size, "ended run removed");
            let_inputs_go(node, run.job);
        }
    }
}

/// Removes the inputs of another node's job that no unsettled job needs as well; its author has them.
fn let_inputs_go(node: &Node, job: JobId) {
    let Some(job) = node.known_job(job).filter(|job| job.author != node.id) else { return };
    for input in &job.create.spec.inputs {
        if !node.is_input_of_unsettled(input.digest)
            && let Err(error) = node.blobs.give_back(input.digest)
        {
            tracing::debug!(digest = %input.digest, %error, "input not removed");
        }
    }
}

fn bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
