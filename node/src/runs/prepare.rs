//! What a run needs before it may start: its work tree at the commit, its inputs, its named directories, its limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cobs::id::{JobId, NodeId, RunId};
use cobs::job::spec::{Limit, Limits, Source, Work};
use cobs::job::state::Job;
use scheduler::runner::request::{Deadline, Directory, InputFile, ResolvedLimits, RunRequest};

use crate::config::Config;
use crate::node::Node;
use crate::replication::source::{export_tree, has_commit};

/// The work tree within a run's directory.
pub const TREE: &str = "tree";
/// How long the fetch of a source repository may take.
const SOURCE_FETCH: Duration = Duration::from_secs(300);

/// Prepares a run in its directory. Blocks.
///
/// # Errors
/// In words for the people who will read the job's reason.
pub fn prepare(node: &Arc<Node>, run: RunId, job: &Job) -> Result<RunRequest, String> {
    let directory = node.runs.directory(run);
    std::fs::create_dir_all(&directory).map_err(|error| format!("cannot make the run's directory: {error}"))?;
    let spec = &job.create.spec;
    let tree = match &spec.source {
        Some(source) => Some(work_tree(node, job.author, source, &directory)?),
        None => None,
    };
    let mut inputs = Vec::new();
    for input in &spec.inputs {
        let wanted = cobs::digest::Blob { digest: input.digest, size: input.size };
        crate::peering::obtain(node, job.author, job.id, wanted)
            .map_err(|error| format!("the input '{}' cannot be had: {error}", input.path))?;
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
        limits: limits(&spec.limits, &node.config),
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
fn work_tree(node: &Node, author: NodeId, source: &Source, directory: &Path) -> Result<PathBuf, String> {
    let tree = directory.join(TREE);
    let had = if author == node.id {
        has_commit(&node.home(), source.repo, source.commit).map(drop)
    } else {
        node.replication.obtain_commit(source.repo, source.commit, author, SOURCE_FETCH)
    };
    had.and_then(|()| export_tree(&node.home(), source.repo, source.commit, &tree)).map_err(|error| {
        match error.hint() {
            Some(hint) => format!("{}; {hint}", super::chain(&error)),
            None => super::chain(&error),
        }
    })?;
    Ok(tree)
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
