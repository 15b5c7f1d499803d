//! Submitting a job: checked, placed, written once for each idempotency key, durable before the answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use cobs::adapter::writer::{Draft, WriteError};
use cobs::digest::Digest;
use cobs::id::{JobId, NodeId, RepoId};
use cobs::job::action::{ARBITERS_MAX, Action, ActionError, Create, GrantKind, NONCE_DIGITS, RootGrant};
use cobs::job::spec::{Privacy, Spec, Work};
use cobs::job::state::Status;
use scheduler::fault;
use scheduler::place::choice::{Wish, choose};
use scheduler::runner::request::stays_below;

use super::candidates::no_worker;
use super::error::{Code, Error};
use super::jobs::storage;
use super::types::{FirstGrant, Submit, Submitted};
use super::{Caller, Scope};
use crate::clock::unix_now;
use crate::config::RootGrant as GrantPolicy;
use crate::node::Node;
use crate::offers::Promise;
use crate::source::{self, Resolved};
use crate::store::idempotency::{IdempotencyKey, Request, Reservation, ScopedKey};
use crate::store::tokens::TokenName;

/// How often a call waits for another with its key.
const IN_FLIGHT_LOOKS_MAX: u32 = 600;
/// Between two looks at a key in flight.
const IN_FLIGHT_LOOK: std::time::Duration = std::time::Duration::from_millis(50);

impl Node {
    /// Submits a job. With an idempotency key the same request gives the same job, however often and whenever.
    ///
    /// # Errors
    /// When the request is wrong, no node can run it, or it cannot be made durable.
    pub async fn submit(
        self: &Arc<Self>,
        caller: &Caller,
        idempotency_key: Option<String>,
        submit: Submit,
    ) -> Result<Submitted, Error> {
        caller.require(Scope::WriteJobs)?;
        if matches!(submit.source, Some(super::types::SubmitSource::Path { .. })) {
            caller.require_owner()?;
        }
        check(&submit)?;
        let Some(given) = idempotency_key else { return self.submit_with(caller, submit, nonce()).await };
        let scoped = scoped_key(caller, &given)?;
        let digest = serde_json::to_vec(&submit).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let request = Request { digest: Digest(Sha256::digest(digest).into()), nonce: nonce() };
        for _ in 0..IN_FLIGHT_LOOKS_MAX {
            let (state, key, wanted) = (Arc::clone(&self.state), scoped.clone(), request.clone());
            let reserved = tokio::task::spawn_blocking(move || state.reserve_key(&key, &wanted, unix_now())).await;
            match reserved.map_err(|error| Error::new(Code::Internal, error.to_string()))?.map_err(|e| storage(&e))? {
                Reservation::New => {
                    fault::pass("key.reserved");
                    return self.submit_under(caller, submit, &scoped, request.nonce).await;
                }
                Reservation::Interrupted { nonce } => {
                    if let Some(job) = self.job_with_nonce(&nonce)? {
                        self.finish(&scoped, job).await?;
                        return self.replayed(job);
                    }
                    return self.submit_under(caller, submit, &scoped, nonce).await;
                }
                Reservation::Done(job) => return self.replayed(job),
                Reservation::Conflict => {
                    let words = format!("the idempotency key '{given}' was used with another request");
                    return Err(Error::new(Code::IdempotencyConflict, words).hint("use a new key for a new request"));
                }
                Reservation::InFlight => tokio::time::sleep(IN_FLIGHT_LOOK).await,
            }
        }
        Err(Error::new(Code::Busy, "another call with this idempotency key is still under way").retry_after_ms(1_000))
    }

    /// Workers have inputs from this node, so it must have them first.
    fn check_inputs(&self, submit: &Submit) -> Result<(), Error> {
        for input in &submit.inputs {
            let size = std::fs::metadata(self.blobs.path(input.digest)).map(|file| file.len());
            if size.as_ref().ok() != Some(&input.size) {
                let words = match size {
                    Ok(size) => format!("the input '{}' has {size} bytes here, not {}", input.path, input.size),
                    Err(_) => format!("the input '{}' is not here: no blob {}", input.path, input.digest),
                };
                return Err(Error::new(Code::BadRequest, words).hint("upload it first, as rhizome run --input does"));
            }
            self.blobs.own(input.digest).map_err(|error| storage(&error))?;
        }
        Ok(())
    }

    async fn submit_under(
        self: &Arc<Self>,
        caller: &Caller,
        submit: Submit,
        key: &ScopedKey,
        nonce: String,
    ) -> Result<Submitted, Error> {
        // a caller that hangs up must not leave the key in flight
        let (node, caller, key) = (Arc::clone(self), caller.clone(), key.clone());
        let task = tokio::spawn(async move {
            match node.submit_with(&caller, submit, nonce).await {
                Ok(submitted) => {
                    fault::pass("key.submitted");
                    node.finish(&key, submitted.id).await?;
                    fault::pass("key.finished");
                    Ok(submitted)
                }
                // the job may turn up yet: the key stays taken, and a restart finds the job by its nonce
                Err(error) if error.code == Code::Unconfirmed => Err(error),
                Err(error) => {
                    let state = Arc::clone(&node.state);
                    let released = tokio::task::spawn_blocking(move || state.release_key(&key)).await;
                    if !matches!(released, Ok(Ok(()))) {
                        tracing::warn!("an idempotency key could not be released; it is free after a restart");
                    }
                    Err(error)
                }
            }
        });
        task.await.map_err(|error| Error::new(Code::Internal, error.to_string()))?
    }

    async fn finish(self: &Arc<Self>, key: &ScopedKey, job: JobId) -> Result<(), Error> {
        let (state, key) = (Arc::clone(&self.state), key.clone());
        let finished = tokio::task::spawn_blocking(move || state.finish_key(&key, job)).await;
        finished.map_err(|error| Error::new(Code::Internal, error.to_string()))?.map_err(|error| storage(&error))
    }

    fn replayed(&self, job: JobId) -> Result<Submitted, Error> {
        let ledger = self.ledger_of(job);
        let known = self.known_job(job);
        let ledger = ledger.ok_or_else(|| Error::new(Code::NotFound, format!("job {job} is not here any more")))?;
        Ok(Submitted {
            id: job,
            ledger,
            source: known.as_ref().and_then(|job| job.create.spec.source),
            granted: known.as_ref().and_then(|job| job.create.grant.map(|grant| grant.node)),
            replayed: true,
        })
    }

    /// A job of this node by the nonce of its root, for a submit that a crash interrupted.
    fn job_with_nonce(&self, nonce: &str) -> Result<Option<JobId>, Error> {
        for ledger in self.ledgers() {
            let mut query = crate::store::view::list::Query::newest(ledger, crate::store::view::list::PAGE_MAX);
            query.author = Some(self.id);
            loop {
                let page = self.view.list(&query).map_err(|error| storage(&error))?;
                let items: Vec<super::types::JobSummary> = serde_json::from_slice(&page.json).unwrap_or_default();
                let of_nonce = |id| self.known_job(id).is_some_and(|job| job.create.nonce == nonce);
                if let Some(found) = items.iter().find(|item| of_nonce(item.id)) {
                    return Ok(Some(found.id));
                }
                query.after = page.next;
                if query.after.is_none() {
                    break;
                }
            }
        }
        Ok(None)
    }

    async fn submit_with(
        self: &Arc<Self>,
        caller: &Caller,
        mut submit: Submit,
        nonce: String,
    ) -> Result<Submitted, Error> {
        let context = self.packed(caller, &mut submit).await?;
        self.check_inputs(&submit)?;
        let ledger = submit.ledger.map_or_else(|| self.default_ledger(), |ledger| self.own_ledger(ledger))?;
        self.admit_one_more(ledger)?;
        let resolved = match submit.source.clone() {
            Some(wanted) => {
                let node = Arc::clone(self);
                let task = tokio::task::spawn_blocking(move || source::resolve(&node, ledger, &wanted));
                Some(task.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??)
            }
            None => None,
        };
        let create = self.create(caller, ledger, submit, nonce, resolved.as_ref(), context).await?;
        let (granted, source) = (create.grant.map(|grant| grant.node), create.spec.source);
        // until the machine has seen it, no other submit may count on the slot
        let promise = granted.filter(|node| *node == self.id).map(|_| Promise::new(&self.promised));
        let action = Action::Create(Box::new(create));
        action.check().map_err(|error| write_error(&WriteError::Invalid(error)))?;
        let Action::Create(create) = action else { return Err(Error::new(Code::Internal, "not a root")) };
        if let Some(resolved) = resolved {
            let node = Arc::clone(self);
            let brought = tokio::task::spawn_blocking(move || source::bring(&node, &resolved)).await;
            brought.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
        }
        let id = self.write(ledger, Draft::Create { ledger, create }).await?;
        drop(promise);
        fault::pass("job.written");
        metrics::counter!("rhizome_jobs_submitted_total").increment(1);
        if let Some(source) = source {
            let node = Arc::clone(self);
            if let Err(error) = tokio::task::spawn_blocking(move || source::keep(&node, id, source)).await {
                tracing::error!(job = %id, %error, "the job's commit is not kept for its workers");
            }
        }
        Ok(Submitted { id, ledger, source, granted, replayed: false })
    }

    /// The content of the root: workers, arbiter and first grant chosen.
    async fn create(
        self: &Arc<Self>,
        caller: &Caller,
        ledger: RepoId,
        submit: Submit,
        nonce: String,
        resolved: Option<&Resolved>,
        context: Option<Digest>,
    ) -> Result<Create, Error> {
        let queue = submit.queue.clone().unwrap_or_else(|| "default".into());
        let arbiter = self.arbiter(submit.arbiter.as_deref())?;
        let (on, mode, first_grant) = (submit.on.clone(), submit.mode, submit.first_grant);
        let standby = submit.standby.clone();
        let spec = Spec { context, ..spec(caller, submit, resolved) };
        let candidates = self.candidates(ledger).await?;
        let readers = resolved.and_then(|resolved| resolved.readers.as_ref());
        let wish = Wish { spec: &spec, queue: &queue, on: on.as_deref(), readers };
        let choice = choose(&wish, &candidates).map_err(|error| no_worker(&error, &spec))?;
        let allowed = first_grant == FirstGrant::Auto && self.config.scheduler.root_grant != GrantPolicy::Never;
        let grant = choice.grant.filter(|_| allowed && arbiter == self.id).map(|(node, kind)| {
            self.granted_to(&node, &nonce);
            let kind = if spec.held_allowed { GrantKind::Held } else { kind };
            RootGrant { node, kind, lease_ms: self.config.scheduler.lease_ms }
        });
        let mut arbiters = vec![arbiter];
        for name in &standby {
            arbiters.push(self.arbiter(Some(name))?);
        }
        let distinct: BTreeSet<NodeId> = arbiters.iter().copied().collect();
        if distinct.len() < arbiters.len() || arbiters.len() > ARBITERS_MAX {
            let words = format!("who decides and who stands by must be 1 to {ARBITERS_MAX} different nodes");
            return Err(Error::new(Code::BadRequest, words));
        }
        Ok(Create { version: cobs::JOB_VERSION, spec, nonce, queue, mode, arbiters, workers: choice.workers, grant })
    }

    /// Whether a job's end is known, and since when: what an idempotency key outlives.
    pub fn ended_at(&self, job: JobId) -> Option<crate::store::UnixMs> {
        let stored = self.view.job(job).ok().flatten()?;
        (stored.row.status == Status::Settled).then_some(stored.row.updated)
    }
}

fn spec(caller: &Caller, submit: Submit, resolved: Option<&Resolved>) -> Spec {
    Spec {
        work: Work::Command {
            command: submit.command,
            environment: submit.environment,
            working_directory: submit.working_directory,
        },
        title: submit.title,
        description: submit.description,
        source: resolved.map(|resolved| resolved.source),
        inputs: submit.inputs,
        artifacts: submit.artifacts,
        limits: submit.limits,
        requirements: submit.requirements,
        attempts: submit.attempts.unwrap_or(1),
        retry: submit.retry,
        held_allowed: submit.held_allowed,
        start_within_ms: submit.start_within_ms,
        supersedes: submit.supersedes,
        context: None,
        llm: None,
        traceparent: submit.traceparent,
        submitted_by: Some(caller.name().to_owned()),
        priority: submit.priority,
        privacy: submit.privacy,
        labels: submit.labels,
    }
}

/// What is wrong with a request whatever the node: paths that leave the work tree, an empty command, odd names.
fn check(submit: &Submit) -> Result<(), Error> {
    if submit.command.first().is_none_or(String::is_empty) {
        return Err(Error::new(Code::BadRequest, "the command is empty").hint("give a program and its arguments"));
    }
    let inputs = submit.inputs.iter().map(|input| ("input", input.path.as_str()));
    let artifacts = submit.artifacts.iter().map(|pattern| ("artifact pattern", pattern.as_str()));
    let directory = submit.working_directory.iter().map(|path| ("working directory", path.as_str()));
    for (what, path) in inputs.chain(artifacts).chain(directory) {
        if !stays_below(path) {
            return Err(Error::new(Code::PathEscapes, format!("the {what} '{path}' leaves the work tree"))
                .hint("give a path below the work tree, without '..' and without a leading '/'"));
        }
    }
    for name in submit.environment.keys() {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::new(Code::BadRequest, format!("'{name}' is no name of an environment variable")));
        }
    }
    if submit.privacy == Privacy::Private
        && (submit.on.is_some() || submit.arbiter.is_some() || !submit.standby.is_empty())
    {
        return Err(Error::new(Code::BadRequest, "a private job runs on its author's node, decided by it")
            .hint("leave out the node, or the privacy"));
    }
    Ok(())
}

fn scoped_key(caller: &Caller, key: &str) -> Result<ScopedKey, Error> {
    let bad = |error: &dyn std::fmt::Display| Error::new(Code::BadRequest, error.to_string());
    let token = match caller {
        Caller::Token { name, .. } => {
            name.parse().map_err(|error: crate::store::tokens::TokenNameError| bad(&error))?
        }
        Caller::Owner | Caller::Anonymous => TokenName::node(),
    };
    let key: IdempotencyKey =
        key.parse().map_err(|error: crate::store::idempotency::IdempotencyKeyError| bad(&error))?;
    Ok(ScopedKey { token, key })
}

/// Random hex digits for a root.
fn nonce() -> String {
    let mut bytes = [0; NONCE_DIGITS / 2];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The writer's refusal, in words.
pub fn write_error(error: &WriteError) -> Error {
    let words = crate::runs::chain(error);
    match error {
        WriteError::Busy => Error::new(Code::Busy, words).retry_after_ms(250),
        WriteError::LedgerFull { retry_after_ms, .. } => Error::new(Code::LedgerFull, words)
            .retry_after_ms(*retry_after_ms)
            .hint("wait for jobs to finish, or use another ledger"),
        WriteError::DiskFull(_) => Error::new(Code::Storage, words).hint("make room on this node's disk and try again"),
        WriteError::Invalid(ActionError::TooLarge { .. }) => {
            Error::new(Code::TooLarge, words).hint("give what is large as a file: --input FILE, or PUT /v1/blobs")
        }
        WriteError::Invalid(_) | WriteError::Record(_) => Error::new(Code::BadRequest, words),
        WriteError::UnknownJob(_) => Error::new(Code::NotFound, words),
        WriteError::Behind(_) => {
            Error::new(Code::RestoredHome, words).hint("take it back from a peer with: rhizome recover")
        }
        WriteError::Ledger { .. } => Error::new(Code::NoLedger, words).hint("see: rhizome status"),
        WriteError::Stopped | WriteError::Unconfirmed(_) => Error::new(Code::Unconfirmed, words),
        WriteError::SequenceExhausted(_)
        | WriteError::Exists(_)
        | WriteError::Contended(_)
        | WriteError::Storage { .. } => Error::new(Code::Storage, words),
    }
}
