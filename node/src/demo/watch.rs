//! A job that is watched: each thing that happens to it is told as it comes, with its time.

use std::path::Path;
use std::time::{Duration, Instant};

use cobs::digest::Digest;
use cobs::id::JobId;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::tell::{Teller, Who};
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::follow::{self, Status, Stream};
use crate::cli::jobs;
use crate::cli::quantity::{show_bytes, show_ms};
use crate::ops::error::{Code, Error};
use crate::ops::types::{Artifact, Artifacts, JobView, LogPiece, StreamKind, StreamMessage, StreamStatus, Submitted};

/// Messages on their way from the stream.
const MESSAGES_MAX: usize = 256;
/// Longest part of a line that is kept back until its end comes.
const LINE_BYTES_MAX: usize = 4096;
/// How long the artifacts may take to be there once the job has ended.
const HOME_WAIT: Duration = Duration::from_secs(20);
/// Between two looks for them.
const HOME_LOOK: Duration = Duration::from_millis(10);

/// What happens to a job, in the order in which it mostly does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Alice has it, durably.
    Acknowledged,
    /// Bob may run it.
    Granted,
    /// It runs.
    Running,
    /// Alice has the first of its log.
    FirstLogLine,
    /// Alice has bob's signed report of its end.
    Ended,
    /// Its artifacts are with alice, and are what bob signed.
    ArtifactHome,
    /// Its result stands.
    Settled,
}

impl Step {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Acknowledged => "submit acknowledged",
            Self::Granted => "granted",
            Self::Running => "running",
            Self::FirstLogLine => "first log line",
            Self::Ended => "ended",
            Self::ArtifactHome => "artifact home",
            Self::Settled => "settled",
        }
    }
}

/// When a step came. Wire form of `--json`.
#[derive(Clone, Copy, Serialize)]
pub struct Mark {
    /// Which.
    pub step: Step,
    /// Milliseconds since the submit was sent.
    pub ms: u64,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The result.
    Result,
    /// And the job's artifacts.
    ArtifactsToo,
}

/// What was seen of the job.
pub struct Watched {
    began: Instant,
    /// Each step once, by time.
    pub marks: Vec<Mark>,
    /// What came home.
    pub artifacts: Vec<Artifact>,
    /// The part of a line whose end is still to come.
    rest: Vec<u8>,
}

type Message = (Instant, Result<StreamMessage, Failure>);
type Fetching = JoinHandle<Result<(Instant, Vec<Artifact>), Failure>>;

impl Watched {
    /// The submit is sent now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), marks: Vec::new(), artifacts: Vec::new(), rest: Vec::new() }
    }

    /// The answer to the submit.
    pub fn acknowledged(&mut self, teller: &Teller, submitted: &Submitted) -> Result<(), Failure> {
        self.mark(Step::Acknowledged, Instant::now());
        let source = submitted.source.map(|source| format!(", source {}", source.repo)).unwrap_or_default();
        teller.say(Who::Alice, &format!("has signed and written job {}{source}", submitted.id))
    }

    /// Tells all until the result is there, and the artifacts, kept below `home`.
    pub async fn follow(
        &mut self,
        teller: &Teller,
        client: &Client,
        id: JobId,
        wants: Wants,
        home: &Path,
    ) -> Result<JobView, Failure> {
        let mut messages = listen(client, id);
        let mut fetching: Option<Fetching> = None;
        let mut wanted = wants == Wants::ArtifactsToo;
        let mut view: Option<Box<JobView>> = None;
        loop {
            tokio::select! {
                Some((at, message)) = messages.recv(), if view.is_none() => {
                    view = self.message(teller, at, message?)?;
                    if wanted && self.seen(Step::Ended) {
                        wanted = false;
                        fetching = Some(tokio::spawn(fetch(client.clone(), id, home.to_owned())));
                    }
                }
                fetched = joined(&mut fetching), if fetching.is_some() => {
                    let (at, artifacts) = fetched?;
                    self.home(teller, at, artifacts)?;
                    fetching = None;
                }
                else => break,
            }
            if view.is_some() && fetching.is_none() {
                break;
            }
        }
        let lost = || Error::new(Code::Internal, "the stream of the job ended without a result");
        Ok(*view.ok_or_else(lost)?)
    }

    fn message(
        &mut self,
        teller: &Teller,
        at: Instant,
        message: StreamMessage,
    ) -> Result<Option<Box<JobView>>, Failure> {
        let StreamMessage { kind, payload, .. } = message;
        let odd = |error| Error::new(Code::Internal, format!("a message of the stream cannot be read: {error}"));
        match kind {
            StreamKind::Heartbeat => {}
            StreamKind::Log => {
                let piece: LogPiece = serde_json::from_value(payload).map_err(odd)?;
                self.mark(Step::FirstLogLine, at);
                self.log(teller, &follow::bytes(&piece)?)?;
            }
            StreamKind::Status => {
                let change: StreamStatus = serde_json::from_value(payload).map_err(odd)?;
                self.status(teller, at, &change)?;
            }
            StreamKind::Result => {
                let view: JobView = serde_json::from_value(payload).map_err(odd)?;
                self.result(teller, at, &view)?;
                return Ok(Some(Box::new(view)));
            }
            StreamKind::Error => {
                let error: Error = serde_json::from_value(payload).map_err(odd)?;
                return Err(error.into());
            }
        }
        Ok(None)
    }

    fn status(&mut self, teller: &Teller, at: Instant, change: &StreamStatus) -> Result<(), Failure> {
        let token = change.token.map(|token| format!(" with token {token}")).unwrap_or_default();
        let who = change.alias.clone().unwrap_or_else(|| String::from("nobody"));
        match change.status.as_str() {
            "granted" => {
                self.mark(Step::Granted, at);
                teller.say(Who::Alice, &format!("grants it to {who} alone{token}"))
            }
            "running" => {
                self.mark(Step::Running, at);
                teller.say(Who::Bob, "runs it in his sandbox; his log, live:")
            }
            "provisional" => {
                self.mark(Step::Ended, at);
                Ok(())
            }
            "settled" => {
                self.mark(Step::Ended, at);
                self.mark(Step::Settled, at);
                Ok(())
            }
            _ => teller.say(Who::Alice, &format!("{}: {}", change.status, change.waits_for)),
        }
    }

    /// Whole lines, as they come.
    fn log(&mut self, teller: &Teller, bytes: &[u8]) -> Result<(), Failure> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let behind = self.rest.split_off(end + 1);
            let line = std::mem::replace(&mut self.rest, behind);
            teller.say(Who::Job, String::from_utf8_lossy(&line).trim_end())?;
        }
        if self.rest.len() > LINE_BYTES_MAX { self.flush(teller) } else { Ok(()) }
    }

    fn flush(&mut self, teller: &Teller) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { teller.say(Who::Job, &String::from_utf8_lossy(&rest)) }
    }

    fn result(&mut self, teller: &Teller, at: Instant, view: &JobView) -> Result<(), Failure> {
        self.flush(teller)?;
        self.mark(Step::Ended, at);
        self.mark(Step::Settled, at);
        if let Some(report) = view.state.settled_report() {
            let log = report.digests.log.map(|log| format!(" with {} of log", show_bytes(log.size)));
            let span = show_ms(report.duration_ms);
            teller.say(Who::Bob, &format!("signed its end after {span}{}", log.unwrap_or_default()))?;
        }
        let code = view.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        teller.say(Who::Alice, &format!("settles it, once and for all: {}{code}", follow::ended(view)))
    }

    fn home(&mut self, teller: &Teller, at: Instant, artifacts: Vec<Artifact>) -> Result<(), Failure> {
        if artifacts.is_empty() {
            return teller.say(Who::Alice, "has nothing to fetch: the job left no artifact");
        }
        self.mark(Step::ArtifactHome, at);
        for Artifact { path, size, digest, .. } in &artifacts {
            let size = show_bytes(*size);
            teller.say(Who::Alice, &format!("has {path} at home, {size}, and its digest is right: sha256 {digest}"))?;
        }
        self.artifacts = artifacts;
        Ok(())
    }

    fn seen(&self, step: Step) -> bool {
        self.marks.iter().any(|mark| mark.step == step)
    }

    /// Notes a step at its first time.
    fn mark(&mut self, step: Step, at: Instant) {
        if !self.seen(step) {
            let ms = u64::try_from(at.duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
            self.marks.push(Mark { step, ms });
            self.marks.sort_by_key(|mark| mark.ms);
        }
    }
}

/// The job's messages with the time of each, read while others are told.
fn listen(client: &Client, id: JobId) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
    let mut stream = Stream::new(client.clone(), id, Status::Quiet);
    tokio::spawn(async move {
        loop {
            let message = stream.next().await;
            let last =
                message.as_ref().map_or(true, |message| matches!(message.kind, StreamKind::Result | StreamKind::Error));
            if sender.send((Instant::now(), message)).await.is_err() || last {
                return;
            }
        }
    });
    receiver
}

async fn joined(fetching: &mut Option<Fetching>) -> Result<(Instant, Vec<Artifact>), Failure> {
    match fetching {
        Some(task) => task.await.map_err(|error| Error::new(Code::Internal, format!("the fetch ended: {error}")))?,
        None => std::future::pending().await,
    }
}

/// Fetches what the job left, and looks at the files that came: each must be what its digest says.
async fn fetch(client: Client, id: JobId, home: std::path::PathBuf) -> Result<(Instant, Vec<Artifact>), Failure> {
    let until = Instant::now() + HOME_WAIT;
    let list: Artifacts = loop {
        match client.get(&format!("/v1/jobs/{id}/artifacts")).await {
            Ok(list) => break list,
            // the report is on its way through alice's view
            Err(failure) if Instant::now() > until => return Err(failure),
            Err(_) => sleep(HOME_LOOK).await,
        }
    };
    for artifact in &list.files {
        let file = home.join(jobs::inside(&artifact.path)?);
        jobs::fetch(&client, &id.to_string(), artifact, &file).await?;
        let unread = |error| Error::new(Code::Storage, format!("{} cannot be read: {error}", file.display()));
        let found = Digest(Sha256::digest(std::fs::read(&file).map_err(unread)?).into());
        if found != artifact.digest {
            let words = format!("the artifact {} has the digest {found}, not {}", artifact.path, artifact.digest);
            return Err(Error::new(Code::Storage, words).into());
        }
    }
    Ok((Instant::now(), list.files))
}
