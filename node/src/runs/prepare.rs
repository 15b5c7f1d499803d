//! What a run needs before it may start: its work tree at the commit, its inputs, its named directories, its limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cobs::id::{JobId, NodeId, RunId};
use cobs::job::spec::{Input, Limit, Limits, Source, Work};
use cobs::job::state::Job;
use scheduler::runner::request::{Deadline, Directory, InputFile, ResolvedLimits, RunRequest};

use crate::config::Config;
use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::replication::source::{SourceError, export_tree, tree_fits};

/// The work tree within a run's directory.
pub const TREE: &str = "tree";
/// How long one fetch of a source repository may take.
const SOURCE_FETCH: Duration = Duration::from_secs(300);
/// How long a commit is waited for that its author has not announced yet, or an author who is away.
const SOURCE_PATIENCE: Duration = Duration::from_secs(20);
/// From a fetch that brought nothing to the next, at first.
const SOURCE_RETRY: Duration = Duration::from_millis(50);

/// Why a run cannot be prepared, in words for the people who will read the job's reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unprepared {
    /// It may be had later, or elsewhere.
    Now(String),
    /// It will not be had here.
    Never(String),
}

impl From<String> for Unprepared {
    fn from(reason: String) -> Self {
        Self::Never(reason)
    }
}

/// Prepares a run in its directory. Blocks.
///
/// # Errors
/// With what is missing.
pub fn prepare(node: &Arc<Node>, run: RunId, job: &Job) -> Result<RunRequest, Unprepared> {
    let directory = node.runs.directory(run);
    std::fs::create_dir_all(&directory).map_err(|error| format!("cannot make the run's directory: {error}"))?;
    let spec = &job.create.spec;
    let limits = limits(&spec.limits, &node.config);
    let room = room_beside(&spec.inputs, limits.disk_bytes.value).ok_or_else(|| too_large(limits.disk_bytes.value))?;
    let tree = match &spec.source {
        Some(source) => Some(work_tree(node, job.author, source, &directory, room)?),
        None => None,
    };
    let mut inputs = Vec::new();
    for input in &spec.inputs {
        let wanted = cobs::digest::Blob { digest: input.digest, size: input.size };
        crate::peering::obtain(node, job.author, job.id, wanted).map_err(|error| no_input(&input.path, &error))?;
        inputs.push(InputFile { host: node.blobs.path(input.digest), path: input.path.clone() });
    }
    let mut directories = Vec::new();
    for name in &spec.requirements.directories {
        let named = node.config.directories.get(name).ok_or_else(|| format!("there is no directory '{name}' here"))?;
        directories.push(Directory {
            name: name.clone(),
            host: named.path.clone(),
            mount: named.at.clone(),
            bin: named.bin.clone(),
            environment: named.environment.clone(),
        });
    }
    let Work::Command { .. } = &spec.work;
    let request = RunRequest {
        run,
        work: spec.work.clone(),
        limits,
        tree,
        inputs,
        artifacts: spec.artifacts.clone(),
        directories,
        deadline: Deadline::Held,
    };
    request.check().map_err(|error| super::chain(&error))?;
    Ok(request)
}

/// The work tree of the job's commit; the repository is fetched from the author when the commit is not here.
fn work_tree(node: &Node, author: NodeId, source: &Source, directory: &Path, room: u64) -> Result<PathBuf, Unprepared> {
    let Source { repo, commit } = *source;
    if author != node.id {
        fetch_source(node, author, source)?;
    }
    let tree = directory.join(TREE);
    match tree_fits(&node.home(), repo, commit, room) {
        Ok(true) => export_tree(&node.home(), repo, commit, &tree).map(|()| tree).map_err(|error| never(&error)),
        Ok(false) => Err(too_large(room)),
        Err(error) => Err(never(&error)),
    }
}

/// Fetches until the commit is here or patience ends: the author signs the job first, and announces its commit after.
fn fetch_source(node: &Node, author: NodeId, source: &Source) -> Result<(), Unprepared> {
    let begun = Instant::now();
    let mut pause = SOURCE_RETRY;
    loop {
        let error = match node.replication.obtain_commit(source.repo, source.commit, author, SOURCE_FETCH) {
            Ok(()) => return Ok(()),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(never(&error)),
        };
        if begun.elapsed() >= SOURCE_PATIENCE {
            return Err(Unprepared::Now(words(&error)));
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2);
    }
}

/// What the inputs leave of the disk limit; none when they alone are too much. Their sizes are the author's word.
fn room_beside(inputs: &[Input], disk_bytes: u64) -> Option<u64> {
    inputs.iter().try_fold(disk_bytes, |room, input| room.checked_sub(input.size))
}

/// A peer that is away may come back; what it says of a content, or sends instead of it, stays as it is.
fn no_input(path: &str, error: &Error) -> Unprepared {
    let words = format!("the input '{path}' cannot be had: {error}");
    match error.code {
        Code::PeerUnreachable | Code::Busy | Code::RateLimited => Unprepared::Now(words),
        _ => Unprepared::Never(words),
    }
}

fn never(error: &SourceError) -> Unprepared {
    Unprepared::Never(words(error))
}

fn words(error: &SourceError) -> String {
    match error.hint() {
        Some(hint) => format!("{}; {hint}", super::chain(error)),
        None => super::chain(error),
    }
}

fn too_large(room: u64) -> Unprepared {
    Unprepared::Never(format!("the work tree and inputs do not fit within the disk limit: {room} bytes are left"))
}

/// Every limit, the spec's or else the node's default as best effort.
fn limits(limits: &Limits, config: &Config) -> ResolvedLimits {
    let or = |limit: Option<Limit>, value: u64| limit.unwrap_or(Limit { value, strict: false });
    let defaults = &config.limits;
    ResolvedLimits {
        cpu_milli: or(limits.cpu_milli, defaults.cpu_milli),
        memory_bytes: or(limits.memory_bytes, defaults.memory_bytes),
        processes: or(limits.processes, defaults.processes),
        disk_bytes: or(limits.disk_bytes, defaults.disk_bytes),
        wall_ms: or(limits.wall_ms, defaults.wall_ms),
        log_bytes: or(limits.log_bytes, defaults.log_bytes),
    }
}

/// The directory of a run that holds a blob of its job, if one does: its artifacts are kept there by digest.
pub fn artifact_path(node: &Node, job: JobId, digest: cobs::digest::Digest) -> Option<PathBuf> {
    let runs = node.runs.active();
    let of_job = runs.keys().filter(|run| run.job == job);
    of_job.map(|run| node.runs.directory(*run).join("artifacts").join(digest.to_string())).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_overflow_leave_no_room() {
        let input = |size| Input { path: "in".into(), digest: cobs::digest::Digest([0; 32]), size };
        assert_eq!(room_beside(&[input(3), input(4)], 10), Some(3));
        assert_eq!(room_beside(&[input(8), input(4)], 10), None);
        assert_eq!(room_beside(&[input(u64::MAX), input(2)], 10), None);
    }
}
