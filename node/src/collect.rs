//! Brings home what a job of this node left: its log and its artifacts, as soon as its report is seen, each checked by
//! its digest. What cannot be had now is tried again when the peer is connected.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use cobs::digest::{Blob, Digest};
use cobs::id::{JobId, NodeId, Token};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Privacy;
use cobs::job::state::{Job, Report};
use scheduler::runner::finished::Manifest;

use crate::node::Node;
use crate::ops::Follow;
use crate::ops::error::{Code, Error};
use crate::ops::types::LogPiece;

/// Most bytes of a list of artifacts.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;

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
        node.runtime.clone().spawn(async move {
            if let Err(error) = run(&node, id, token, &report).await {
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

async fn run(node: &Arc<Node>, job: JobId, token: Token, report: &Report) -> Result<(), Error> {
    if let Some(log) = report.digests.log {
        copy_log(node, job, token, report.node, log).await?;
    }
    if let Some(list) = report.digests.artifacts {
        crate::peering::fetch(node, report.node, job, list).await?;
        for artifact in manifest(node, list)?.artifacts {
            crate::peering::fetch(node, report.node, job, artifact.blob).await?;
        }
    }
    tracing::info!(%job, %token, "log and artifacts are home");
    node.changes.send(job).ok();
    Ok(())
}

/// The list of artifacts, from this node's store.
pub fn manifest(node: &Node, list: Blob) -> Result<Manifest, Error> {
    let gone = |error: std::io::Error| Error::new(Code::Gone, format!("the list of artifacts is not here: {error}"));
    let bytes = node.blobs.read(list.digest, MANIFEST_BYTES_MAX).map_err(gone)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::new(Code::Gone, format!("the list of artifacts: {error}")))
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
    std::fs::rename(&temporary, &path).map_err(storage)
}
