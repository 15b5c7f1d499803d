//! The live stream of one job: its log byte by byte, each change of its status, and its result.
//!
//! `seq` is made of the run's term and the byte of its log that comes next, so it needs no memory: any node can resume
//! after any `seq`, also after a restart, and no byte is lost or told twice. A status is told again on resuming.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};

use cobs::id::{JobId, Token};
use cobs::job::state::{Job, Status};

use super::error::{Code, Error};
use super::logs::{self, Pieces};
use super::types::{LogPiece, StreamKind, StreamMessage, StreamStatus};
use super::{Caller, Follow, Scope};
use crate::clock::{rfc3339, unix_now};
use crate::node::Node;

/// Bits of `seq` for the byte of a log: one tebibyte. What is left of 53 is for the term.
const OFFSET_BITS: u32 = 40;
/// Messages that wait for a listener.
const MESSAGES_MAX: usize = 64;
/// Between two tries to reach a log.
const RETRY: Duration = Duration::from_millis(500);
/// How long a settled job's report, or the rest of its log, is waited for.
const REPORT_WAIT: Duration = Duration::from_secs(15);

impl Node {
    /// The stream of a job, resumed after `since`.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn stream(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        since: Option<u64>,
    ) -> Result<BoxStream<'static, StreamMessage>, Error> {
        caller.require(Scope::ReadJobs)?;
        let job = self.find(id)?;
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let since = since.unwrap_or_default();
        let follower = Follower {
            node: Arc::clone(self),
            caller: caller.clone(),
            id: job.id,
            sender,
            term: u32::try_from(since >> OFFSET_BITS).unwrap_or(0),
            offset: since & ((1 << OFFSET_BITS) - 1),
            last: None,
        };
        tokio::spawn(follower.run());
        let messages = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|message| (message, receiver))
        });
        Ok(messages.boxed())
    }
}

/// Follows one job for one listener.
struct Follower {
    node: Arc<Node>,
    caller: Caller,
    id: JobId,
    sender: mpsc::Sender<StreamMessage>,
    term: u32,
    offset: u64,
    last: Option<StreamStatus>,
}

/// The listener is gone.
struct Gone;

impl Follower {
    async fn run(mut self) {
        let mut changes = self.node.changes.subscribe();
        if self.follow(&mut changes).await.is_err() {
            tracing::debug!(job = %self.id, "listener gone");
        }
    }

    async fn follow(&mut self, changes: &mut broadcast::Receiver<JobId>) -> Result<(), Gone> {
        loop {
            let Some(job) = self.node.known_job(self.id) else {
                return self.error(&Error::new(Code::NotFound, "the job is not here any more")).await;
            };
            self.status(&job, None).await?;
            if let Some((token, granted)) = job.holder() {
                self.at_term(token);
                let reported = job.dones.contains_key(&token);
                let follow = if reported { Follow::No } else { Follow::Yes };
                let pieces = tokio::select! {
                    pieces = logs::of_run(&self.node, self.id, token, granted.node, self.offset, follow) => pieces,
                    () = self.changed_from(&job, changes) => continue,
                };
                match pieces {
                    Ok(pieces) => {
                        if !reported {
                            self.status(&job, Some("running")).await?;
                        }
                        self.log(&job, token, pieces, changes).await?;
                    }
                    Err(error) => tracing::debug!(job = %self.id, error = %error.detail, "log not reached"),
                }
            }
            if self.end(&job, changes).await? {
                return Ok(());
            }
        }
    }

    /// Passes pieces on until the log ends, breaks off, or a higher token makes it another run's turn.
    async fn log(
        &mut self,
        job: &Arc<Job>,
        token: Token,
        mut pieces: Pieces,
        changes: &mut broadcast::Receiver<JobId>,
    ) -> Result<(), Gone> {
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece,
                () = self.replaced(job, token, changes) => return Ok(()),
                () = self.sender.closed() => return Err(Gone),
            };
            match piece {
                Some(Ok(piece)) => self.piece(piece).await?,
                Some(Err(_)) | None => return Ok(()),
            }
        }
    }

    async fn piece(&mut self, piece: LogPiece) -> Result<(), Gone> {
        self.offset = piece.offset + crate::collect::bytes_of(&piece).len() as u64;
        let mut payload = serde_json::to_value(&piece).unwrap_or_default();
        payload["seq"] = json!(self.seq());
        self.send(StreamKind::Log, payload).await
    }

    /// Settled and all told: the result. Else waits for the next change.
    async fn end(&mut self, job: &Arc<Job>, changes: &mut broadcast::Receiver<JobId>) -> Result<bool, Gone> {
        if job.status() != Status::Settled {
            let ends_soon = job.holder().is_some() && job.status() != Status::Queued;
            let wait = if ends_soon { RETRY } else { Duration::from_secs(60) };
            tokio::select! {
                () = self.changed_from(job, changes) => {}
                () = tokio::time::sleep(wait) => {}
                () = self.sender.closed() => return Err(Gone),
            }
            return Ok(false);
        }
        if job.outcome().is_none() || !self.log_is_whole(job) {
            let waited = tokio::time::timeout(REPORT_WAIT, self.changed_from(job, changes)).await;
            if waited.is_ok() {
                return Ok(false);
            }
        }
        match self.node.view_of(&self.caller, self.id).await {
            Ok(view) => {
                let mut payload = serde_json::to_value(&view).unwrap_or_default();
                payload["seq"] = json!(self.seq());
                self.send(StreamKind::Result, payload).await?;
            }
            Err(error) => self.error(&error).await?,
        }
        Ok(true)
    }

    /// Whether all bytes that the report counts were told.
    fn log_is_whole(&self, job: &Job) -> bool {
        let log = job.settled_report().and_then(|report| report.digests.log);
        log.is_none_or(|log| self.offset >= log.size)
    }

    fn at_term(&mut self, token: Token) {
        if self.term != token.term.0 {
            self.term = token.term.0;
            self.offset = 0;
        }
    }

    /// Returns when the job is another than the given one.
    async fn changed_from(&self, job: &Arc<Job>, changes: &mut broadcast::Receiver<JobId>) {
        loop {
            if self.node.known_job(self.id).is_none_or(|now| *now != **job) {
                return;
            }
            match changes.recv().await {
                Ok(id) if id == self.id => {}
                Ok(_) => continue,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Returns when another token is the highest.
    async fn replaced(&self, job: &Arc<Job>, token: Token, changes: &mut broadcast::Receiver<JobId>) {
        loop {
            let now = self.node.known_job(self.id).unwrap_or_else(|| Arc::clone(job));
            if now.holder().is_some_and(|(newest, _)| newest != token) {
                return;
            }
            if changes.recv().await == Err(broadcast::error::RecvError::Closed) {
                return;
            }
        }
    }

    /// Tells the status when it is another than the last one told.
    async fn status(&mut self, job: &Job, running: Option<&str>) -> Result<(), Gone> {
        let word = serde_json::to_value(job.status()).ok().and_then(|word| word.as_str().map(str::to_owned));
        let was_running = self.last.as_ref().is_some_and(|last| last.status == "running");
        let granted = job.status() == Status::Granted;
        let holder = job.holder().filter(|_| job.status() != Status::Queued);
        let same_token = self.last.as_ref().is_some_and(|last| last.token == holder.map(|(token, _)| token));
        let status = match running {
            Some(word) => word.to_owned(),
            // the history knows no `running`: what was told of this token stands, and a log shows that it ran
            None if granted && (was_running && same_token || self.offset > 0) => "running".to_owned(),
            None => word.unwrap_or_default(),
        };
        let status = StreamStatus {
            seq: self.seq(),
            status,
            node: holder.map(|(_, granted)| granted.node),
            alias: holder.map(|(_, granted)| self.node.alias(&granted.node)),
            token: holder.map(|(token, _)| token),
            waits_for: self.node.waits_for(job),
        };
        let same = self.last.as_ref().is_some_and(|last| {
            last.status == status.status
                && last.token == status.token
                && (status.status != "queued" || last.waits_for == status.waits_for)
        });
        if same {
            return Ok(());
        }
        self.last = Some(status.clone());
        self.send(StreamKind::Status, serde_json::to_value(status).unwrap_or_default()).await
    }

    async fn error(&mut self, error: &Error) -> Result<(), Gone> {
        let mut payload = serde_json::to_value(error).unwrap_or_default();
        payload["seq"] = json!(self.seq());
        self.send(StreamKind::Error, payload).await
    }

    async fn send(&self, kind: StreamKind, payload: Value) -> Result<(), Gone> {
        let message = StreamMessage { kind, ts: rfc3339(unix_now()), payload };
        self.sender.send(message).await.map_err(|_| Gone)
    }

    fn seq(&self) -> u64 {
        (u64::from(self.term) << OFFSET_BITS) | self.offset
    }
}
