//! Jobs as people and programs see them: lists, one job, why it waits, its end on request, its artifacts.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio_util::io::ReaderStream;

use cobs::adapter::writer::{Draft, Urgency};
use cobs::digest::Blob;
use cobs::id::{JobId, RepoId, Seq};
use cobs::job::action::{Action, Cancel, REASON_BYTES_MAX};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::{Privacy, Work};
use cobs::job::state::{Job, Report, Status};

use super::error::{Code, Error};
use super::types::{Artifact, Artifacts, CancelRequest, JobQuery, JobSummary, JobView};
use super::{Caller, Scope};
use crate::clock::rfc3339;
use crate::collect::{MANIFEST_BYTES_MAX, Most};
use crate::node::Node;
use crate::store::UnixMs;
use crate::store::view::list::Query;

/// Jobs on a page without a wish.
const PAGE_JOBS: u32 = 100;
/// Most jobs on a page.
const PAGE_JOBS_MAX: u32 = 500;
/// Longest title that is made of a command.
const TITLE_CHARS_MAX: usize = 80;

/// A job's line in a list.
pub fn summary(ledger: RepoId, job: &Job, created: UnixMs, updated: UnixMs) -> JobSummary {
    let Work::Command { command, .. } = &job.create.spec.work;
    let title = job.create.spec.title.clone();
    JobSummary {
        id: job.id,
        ledger,
        title: title.unwrap_or_else(|| command.join(" ").chars().take(TITLE_CHARS_MAX).collect()),
        status: job.status(),
        outcome: job.outcome(),
        queue: job.create.queue.clone(),
        author: job.author,
        node: job.holder().map(|(_, granted)| granted.node),
        created_at: rfc3339(created),
        updated_at: rfc3339(updated),
    }
}

/// The error of a store, in words.
pub fn storage(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Storage, crate::runs::chain(error)).hint("look at the disk of this node; nothing was acknowledged")
}

impl Node {
    /// A page of jobs, newest first: JSON of a `Page<JobSummary>`, spliced from the view.
    ///
    /// # Errors
    /// When the query is wrong or the view cannot be read.
    pub async fn list_jobs(self: &Arc<Self>, caller: &Caller, query: JobQuery) -> Result<Bytes, Error> {
        caller.require(Scope::ReadJobs)?;
        let limit = query.limit.unwrap_or(PAGE_JOBS);
        if !(1..=PAGE_JOBS_MAX).contains(&limit) {
            return Err(Error::new(Code::BadRequest, format!("limit is {limit}; it is 1 to {PAGE_JOBS_MAX}")));
        }
        let after = query.cursor.map(|cursor| cursor.parse()).transpose();
        let after = after
            .map_err(|error: crate::store::view::list::CursorError| Error::new(Code::BadRequest, error.to_string()))?;
        let wished = query.ledger.map(|ledger| self.own_ledger(ledger)).transpose()?;
        let Some(ledger) = wished.or_else(|| self.default_ledger().ok()) else {
            return Ok(Bytes::from_static(br#"{"items":[]}"#));
        };
        let query = Query {
            ledger,
            status: query.status.into_iter().collect(),
            outcome: query.outcome.into_iter().collect(),
            queue: query.queue,
            author: query.author,
            after,
            limit: limit as usize,
        };
        let page = self.view.list(&query).map_err(|error| storage(&error))?;
        let mut json = br#"{"items":"#.to_vec();
        json.extend_from_slice(&page.json);
        if let Some(next) = page.next {
            json.extend_from_slice(format!(r#","next":"{next}""#).as_bytes());
        }
        json.push(b'}');
        Ok(json.into())
    }

    /// One job by its id or a unique prefix.
    ///
    /// # Errors
    /// When there is none, or several.
    pub async fn job(self: &Arc<Self>, caller: &Caller, id: &str) -> Result<JobView, Error> {
        caller.require(Scope::ReadJobs)?;
        let job = self.find(id)?;
        self.view_of(caller, job.id).await
    }

    /// One job by its whole id.
    ///
    /// # Errors
    /// When there is none.
    pub async fn view_of(self: &Arc<Self>, caller: &Caller, id: JobId) -> Result<JobView, Error> {
        caller.require(Scope::ReadJobs)?;
        let stored = self.view.job(id).map_err(|error| storage(&error))?.ok_or_else(|| no_job(&id.to_string()))?;
        let job: Job = serde_json::from_slice(&stored.full)
            .map_err(|error| Error::new(Code::Internal, format!("the view holds no job: {error}")))?;
        let report = effective(&job);
        let running = match job.holder() {
            // once its supervisor is armed: before that a crash leaves nothing that ran
            Some((token, granted)) if granted.node == self.id => {
                self.runs.get(id, token).is_some_and(|active| active.run.is_some() && active.finished.is_none())
            }
            _ => self.claims.machine().is_running(id),
        };
        let log_is_local = job.holder().is_some_and(|(token, granted)| {
            granted.node == self.id || crate::collect::log_copy(self, id, token).exists()
        });
        Ok(JobView {
            summary: summary(stored.row.ledger, &job, stored.row.created, stored.row.updated),
            waits_for: self.waits_for(&job),
            running,
            exit_code: exit_code(&job),
            run_outcome: report.map(|report| report.outcome.clone()),
            reason: report.map(|report| report.reason.clone()).unwrap_or_default(),
            log_is_local,
            state: job,
        })
    }

    /// Why a job stands where it stands.
    pub fn waits_for(&self, job: &Job) -> String {
        // the machine may not have seen yet that it is settled
        if job.status() != Status::Settled
            && let Some(words) = self.claims.machine().waits_for(job.id, crate::clock::boot_now())
        {
            return words;
        }
        match (job.status(), job.settled.map(|settled| settled.outcome)) {
            (Status::Settled, Some(Settlement::Result { .. })) if job.outcome().is_none() => {
                "it is settled; its result is on its way".into()
            }
            (Status::Settled, Some(Settlement::Cancelled)) if job.dones.is_empty() && !job.grants.is_empty() => {
                let holder = job.holder().map(|(_, granted)| self.alias(&granted.node)).unwrap_or_default();
                format!("it is cancelled; it may still run on {holder} until it hears")
            }
            (Status::Settled, _) => "it is settled".into(),
            (Status::Provisional, _) => "it waits for its arbiter to settle the result".into(),
            (Status::Queued | Status::Granted, _) => "it waits for its arbiter".into(),
        }
    }

    /// The one job whose id begins so.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find(&self, prefix: &str) -> Result<Arc<Job>, Error> {
        let id = match prefix.parse::<JobId>() {
            Ok(id) => id,
            Err(_) => {
                let found = self.view.jobs_by_prefix(prefix).map_err(|error| storage(&error))?;
                match found.as_slice() {
                    [] => return Err(no_job(prefix)),
                    [one] => *one,
                    several => {
                        let ids: Vec<String> = several.iter().take(4).map(ToString::to_string).collect();
                        return Err(Error::new(
                            Code::Ambiguous,
                            format!("several jobs begin with '{prefix}': {}", ids.join(", ")),
                        )
                        .hint("give more digits"));
                    }
                }
            }
        };
        self.known_job(id).ok_or_else(|| no_job(prefix))
    }

    /// Asks for the end of a job, as its author or a delegate.
    ///
    /// # Errors
    /// When there is no such job, this node may not end it, or the ledger cannot be written.
    pub async fn cancel(self: &Arc<Self>, caller: &Caller, id: &str, request: CancelRequest) -> Result<JobView, Error> {
        caller.require(Scope::WriteJobs)?;
        let job = self.find(id)?;
        if request.reason.len() > REASON_BYTES_MAX {
            return Err(Error::new(Code::TooLarge, format!("the reason has more than {REASON_BYTES_MAX} bytes")));
        }
        if job.status() != Status::Settled && !job.cancels.contains_key(&self.id) {
            let ledger = self.ledger_of(job.id).ok_or_else(|| no_job(id))?;
            self.may_cancel(ledger, &job)?;
            let action = Action::Cancel(Cancel { job: job.id, seq: Seq(0), reason: request.reason });
            self.write(ledger, Draft::Append { ledger, job: job.id, action, urgency: Urgency::Now }).await?;
        }
        self.view_of(&Caller::Owner, job.id).await
    }

    /// A Cancel of anyone else is an operation that means nothing, and would look like one that does.
    fn may_cancel(&self, ledger: RepoId, job: &Job) -> Result<(), Error> {
        let is_delegate = || {
            let known = cobs::adapter::ledger::get(&self.home(), ledger);
            known.is_ok_and(|known| known.members.delegates.contains(&self.id))
        };
        if job.author == self.id || is_delegate() {
            return Ok(());
        }
        let author = self.alias(&job.author);
        let words = format!("the job is of {author}: its author or a delegate of the ledger can cancel it");
        Err(Error::new(Code::Forbidden, words)
            .hint(format!("ask {author}; a run of it on this machine ends with: rhizome job evict {}", job.id)))
    }

    /// The files that a job left.
    ///
    /// # Errors
    /// When there is no such job, or they are not home yet.
    pub async fn artifacts(self: &Arc<Self>, caller: &Caller, id: &str) -> Result<Artifacts, Error> {
        caller.require(Scope::ReadJobs)?;
        let job = self.find(id)?;
        let Some(report) = effective(&job) else {
            return Err(Error::new(Code::NotFound, "the job has not ended yet"));
        };
        let Some(list) = report.digests.artifacts.or_else(|| self.own_artifacts(&job, report)) else {
            return Ok(Artifacts { files: Vec::new() });
        };
        Most::of(self, &job).allows("list of artifacts", list.size, MANIFEST_BYTES_MAX)?;
        self.bring(&job, report, list).await?;
        let bytes = tokio::fs::read(self.blob_of(&job, list)).await.map_err(|error| storage(&error))?;
        let manifest = crate::collect::parse(&bytes)?;
        let file = |artifact: scheduler::runner::finished::Artifact| Artifact {
            path: artifact.path,
            digest: artifact.blob.digest,
            size: artifact.blob.size,
            executable: artifact.executable,
        };
        Ok(Artifacts { files: manifest.artifacts.into_iter().map(file).collect() })
    }

    /// One file that a job left.
    ///
    /// # Errors
    /// When there is none, or it cannot be had now.
    pub async fn artifact(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        path: &str,
    ) -> Result<(Artifact, BoxStream<'static, std::io::Result<Bytes>>), Error> {
        let files = self.artifacts(caller, id).await?.files;
        let job = self.find(id)?;
        let artifact = files.into_iter().find(|artifact| artifact.path == path);
        let artifact = artifact.ok_or_else(|| {
            Error::new(Code::NotFound, format!("the job left no file '{path}'")).hint("see: rhizome job artifacts ID")
        })?;
        let blob = Blob { digest: artifact.digest, size: artifact.size };
        if let Some(report) = effective(&job) {
            let most = Most::of(self, &job);
            most.allows("artifact", blob.size, most.artifact_bytes)?;
            self.bring(&job, report, blob).await?;
        }
        let file = tokio::fs::File::open(self.blob_of(&job, blob)).await.map_err(|error| storage(&error))?;
        Ok((artifact, ReaderStream::with_capacity(file, 256 << 10).boxed()))
    }

    /// Makes sure that a blob of a report is here.
    async fn bring(self: &Arc<Self>, job: &Job, report: &Report, blob: Blob) -> Result<(), Error> {
        if self.blob_of(job, blob).is_file() {
            return Ok(());
        }
        if job.create.spec.privacy == Privacy::Private || report.node == self.id {
            return Err(Error::new(Code::Gone, "it is not kept any more"));
        }
        crate::peering::fetch(self, report.node, job.id, blob).await
    }

    /// The list of artifacts of a private job, which its report does not name: the run here knows it.
    fn own_artifacts(&self, job: &Job, report: &Report) -> Option<Blob> {
        let (token, _) = job.dones.iter().find(|(_, done)| done.done == report.done)?;
        self.runs.get(job.id, *token)?.finished.as_ref()?.artifacts
    }

    fn blob_of(&self, job: &Job, blob: Blob) -> std::path::PathBuf {
        let in_run = crate::runs::prepare::artifact_path(self, job.id, blob.digest);
        in_run.unwrap_or_else(|| self.blobs.path(blob.digest))
    }

    /// Writes through the one writer and waits until the view has seen it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn write(self: &Arc<Self>, ledger: RepoId, draft: Draft) -> Result<JobId, Error> {
        use crate::follower::Ask;
        use cobs::adapter::writer::Written;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let follower = self.follower.clone();
        let reply = move |result| match result {
            Ok(Written::Operation(operation)) => {
                let job = operation.job;
                let then = Box::new(move || drop(sender.send(Ok(Some(job)))));
                follower.ask(Ask::Written { ledger, job, then });
            }
            Ok(_) => drop(sender.send(Ok(None))),
            Err(error) => drop(sender.send(Err(super::submit::write_error(&error)))),
        };
        self.writer.submit(draft, Box::new(reply));
        let answer = receiver.await.map_err(|_| Error::new(Code::Internal, "the writer is gone"))??;
        answer.ok_or_else(|| Error::new(Code::Internal, "the writer wrote something else"))
    }
}

/// The report that counts: the settled one, or else the newest that ended a run.
pub fn effective(job: &Job) -> Option<&Report> {
    job.settled_report().or_else(|| job.dones.values().rev().find(|report| report.outcome != RunOutcome::Released))
}

/// The exit code of `rhizome run`, once the job is settled and its report is here.
fn exit_code(job: &Job) -> Option<u8> {
    match job.settled?.outcome {
        Settlement::Result { .. } => job.settled_report().map(|report| report.outcome.exit_code()),
        Settlement::Cancelled | Settlement::Lost { .. } | Settlement::Expired | Settlement::Superseded { .. } => {
            Some(125)
        }
    }
}

/// What is odd about a job.
pub(super) fn alarms(job: &Job) -> Vec<String> {
    let mut alarms: Vec<String> = Vec::new();
    for other in &job.other_settles {
        alarms.push(format!("a second settle in epoch {}: {:?}", other.epoch.0, other.outcome));
    }
    let effective = job.settled_report().map(|report| report.done);
    let ran = job.dones.values().filter(|report| report.outcome != RunOutcome::Released);
    for report in ran.filter(|report| effective.is_some_and(|effective| effective != report.done)) {
        alarms.push(format!("a duplicate run on {} reported and does not count", report.node));
    }
    alarms
}

fn no_job(id: &str) -> Error {
    Error::new(Code::NotFound, format!("there is no job '{id}' here")).hint("see: rhizome job list")
}
