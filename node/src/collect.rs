//! Brings home what a job of this node left: its log and its artifacts, as soon as its report is seen, each checked by
//! its digest. What cannot be had now is tried again when the peer is connected.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use cobs::digest::{Blob, Digest};
use cobs::id::{JobId, NodeId, Token};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Privacy;
use cobs::job::state::{Job, Report};
use scheduler::fault;
use scheduler::runner::finished::Manifest;
use scheduler::runner::request::stays_below;
use scheduler::runner::{ARTIFACT_PATH_BYTES_MAX, ARTIFACTS_MAX};

use crate::node::Node;
use crate::ops::Follow;
use crate::ops::error::{Code, Error};
use crate::ops::types::LogPiece;

/// Most bytes of a list of artifacts.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// What a run's supervisor may add to a log.
const LOG_NOTES_BYTES: u64 = 64 << 10;
/// What a byte of a log may take in its copy: a piece of one byte, escaped, with its offset, stream and time.
const LOG_COPY_FACTOR: u64 = 160;

/// Where the copy of a run's log is.
pub fn log_copy(node: &Node, job: JobId, token: Token) -> PathBuf {
    node.files.logs().join(format!("{job}-{token}.ndjson"))
}

/// The bytes of a piece of a log.
pub fn bytes_of(piece: &LogPiece) -> Vec<u8> {
    match (&piece.text, &piece.base64) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(encoded)) => base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

/// Begins to bring home the reports of a job of this node that ran elsewhere.
pub fn after(node: &Arc<Node>, job: &Arc<Job>) {
    if job.author != node.id || job.create.spec.privacy == Privacy::Private {
        return;
    }
    for (token, report) in &job.dones {
        let nothing = report.digests.log.is_none() && report.digests.artifacts.is_none();
        if report.outcome == RunOutcome::Released || nothing || report.node == node.id {
            continue;
        }
        if !node.collecting.lock().unwrap_or_else(PoisonError::into_inner).insert((job.id, *token)) {
            continue;
        }
        let (node, id, token, report) = (Arc::clone(node), job.id, *token, report.clone());
        let most = Most::of(&node, job);
        node.runtime.clone().spawn(async move {
            if let Err(error) = run(&node, id, token, &report, most).await {
                tracing::info!(job = %id, %token, error = %error.detail, "not brought home yet");
                node.collecting.lock().unwrap_or_else(PoisonError::into_inner).remove(&(id, token));
                let mut later = node.to_collect.lock().unwrap_or_else(PoisonError::into_inner);
                later.entry(report.node).or_default().insert(id);
            }
        });
    }
}

/// A peer is connected: tries again what was missing from it.
pub fn retry(node: &Arc<Node>, peer: NodeId) {
    let jobs = node.to_collect.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    for id in jobs.into_iter().flatten() {
        if let Some(job) = node.known_job(id) {
            after(node, &job);
        }
    }
}

async fn run(node: &Arc<Node>, job: JobId, token: Token, report: &Report, most: Most) -> Result<(), Error> {
    if let Some(log) = report.digests.log {
        most.allows("log", log.size, most.log_bytes)?;
        copy_log(node, job, token, report.node, log).await?;
    }
    if let Some(list) = report.digests.artifacts {
        most.allows("list of artifacts", list.size, MANIFEST_BYTES_MAX)?;
        crate::peering::fetch(node, report.node, job, list).await?;
        let artifacts = manifest(node, list)?.artifacts;
        let all = artifacts.iter().fold(0_u64, |all, artifact| all.saturating_add(artifact.blob.size));
        most.allows("artifacts", all, most.artifact_bytes)?;
        for artifact in artifacts {
            crate::peering::fetch(node, report.node, job, artifact.blob).await?;
        }
    }
    tracing::info!(%job, %token, "log and artifacts are home");
    node.changes.send(job).ok();
    Ok(())
}

/// What a job may bring home: a peer's report must not fill this disk.
#[derive(Clone, Copy)]
pub struct Most {
    log_bytes: u64,
    /// Of all artifacts together.
    pub artifact_bytes: u64,
}

impl Most {
    /// The limits of the job, or else of this node. A run's own words may go beyond its log's limit.
    pub fn of(node: &Node, job: &Job) -> Self {
        let (limits, defaults) = (&job.create.spec.limits, &node.config.limits);
        let log_bytes = limits.log_bytes.map_or(defaults.log_bytes, |limit| limit.value);
        let artifact_bytes = limits.disk_bytes.map_or(defaults.disk_bytes, |limit| limit.value);
        Self { log_bytes: log_bytes.saturating_add(LOG_NOTES_BYTES), artifact_bytes }
    }

    /// Refuses what is more.
    ///
    /// # Errors
    /// When it is.
    pub fn allows(self, what: &str, bytes: u64, most: u64) -> Result<(), Error> {
        if bytes <= most {
            return Ok(());
        }
        let words = format!("the peer says that the {what} have {bytes} bytes; this job may leave {most}");
        Err(Error::new(Code::TooLarge, words).hint("give the job a higher limit, of its disk or of its log"))
    }
}

/// The list of artifacts, from this node's store.
pub fn manifest(node: &Node, list: Blob) -> Result<Manifest, Error> {
    let gone = |error: std::io::Error| Error::new(Code::Gone, format!("the list of artifacts is not here: {error}"));
    parse(&node.blobs.read(list.digest, MANIFEST_BYTES_MAX).map_err(gone)?)
}

/// A list of artifacts as a run here or a peer wrote it.
pub fn parse(list: &[u8]) -> Result<Manifest, Error> {
    let unusable = |why: String| Error::new(Code::Gone, format!("the list of artifacts cannot be used: {why}"));
    let manifest: Manifest = serde_json::from_slice(list).map_err(|error| unusable(error.to_string()))?;
    let count = manifest.artifacts.len();
    if count > ARTIFACTS_MAX {
        return Err(unusable(format!("it names {count} files; {ARTIFACTS_MAX} are allowed")));
    }
    match manifest.artifacts.iter().find(|artifact| !is_inside(&artifact.path)) {
        Some(artifact) => Err(unusable(format!("'{}' leaves the work tree", artifact.path.escape_debug()))),
        None => Ok(manifest),
    }
}

/// Whether a path that another machine named stays below the directory that it is relative to.
pub fn is_inside(path: &str) -> bool {
    stays_below(path) && Path::new(path).file_name().is_some() && path.len() <= ARTIFACT_PATH_BYTES_MAX
}

/// Whether a blob is among what the job's reports name.
pub fn belongs(node: &Node, job: &Job, digest: Digest) -> bool {
    job.dones.values().filter_map(|report| report.digests.artifacts).any(|list| {
        list.digest == digest
            || manifest(node, list)
                .is_ok_and(|list| list.artifacts.iter().any(|artifact| artifact.blob.digest == digest))
    })
}

async fn copy_log(node: &Arc<Node>, job: JobId, token: Token, from: NodeId, log: Blob) -> Result<(), Error> {
    let path = log_copy(node, job, token);
    if path.exists() {
        return Ok(());
    }
    let storage = |error: std::io::Error| Error::new(Code::Storage, format!("cannot keep the log: {error}"));
    let mut pieces = crate::ops::logs::remote(node, job, token, from, 0, Follow::No).await?;
    let temporary = path.with_extension("part");
    let mut file = std::io::BufWriter::new(File::create(&temporary).map_err(storage)?);
    let mut hash = Sha256::new();
    // neither a log without an end nor one of pieces that hold nothing may fill this disk
    let (mut left_bytes, mut left_written) = (log.size, log.size.saturating_mul(LOG_COPY_FACTOR));
    while let Some(piece) = crate::peering::before(pieces.next()).await? {
        let piece = piece?;
        let bytes = bytes_of(&piece);
        let mut line = serde_json::to_vec(&piece).map_err(|error| storage(error.into()))?;
        line.push(b'\n');
        let left = left_bytes.checked_sub(bytes.len() as u64).zip(left_written.checked_sub(line.len() as u64));
        let Some(left) = left else {
            drop(file);
            std::fs::remove_file(&temporary).ok();
            return Err(Error::new(Code::PeerUnreachable, format!("the log has more than its {} bytes", log.size)));
        };
        (left_bytes, left_written) = left;
        hash.update(bytes);
        file.write_all(&line).map_err(storage)?;
    }
    let found = Digest(hash.finalize().into());
    if found != log.digest {
        std::fs::remove_file(&temporary).ok();
        return Err(Error::new(Code::PeerUnreachable, format!("the log has digest {found}, expected {}", log.digest)));
    }
    let file = file.into_inner().map_err(|error| storage(error.into_error()))?;
    file.sync_all().map_err(storage)?;
    fault::pass("log.copied");
    std::fs::rename(&temporary, &path).map_err(storage)?;
    fault::pass("log.home");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[&str]) -> Vec<u8> {
        let digest = "0".repeat(64);
        let file = |path: &&str| serde_json::json!({ "path": path, "digest": digest, "size": 1, "executable": false });
        serde_json::to_vec(&serde_json::json!({ "artifacts": paths.iter().map(file).collect::<Vec<_>>() })).unwrap()
    }

    #[test]
    fn a_list_of_artifacts_names_files_below_the_work_tree_and_not_too_many() {
        assert_eq!(parse(&list(&["out/a", "b"])).unwrap().artifacts.len(), 2);
        for path in ["../x", "/etc/passwd", "a/../../b", "", ".", &"a/".repeat(1000)] {
            assert_eq!(parse(&list(&["fine", path])).unwrap_err().code, Code::Gone, "{path}");
        }
        assert!(parse(&list(&vec!["a"; ARTIFACTS_MAX])).is_ok());
        assert!(parse(&list(&vec!["a"; ARTIFACTS_MAX + 1])).is_err());
        assert!(parse(b"{}").is_err());
    }
}
