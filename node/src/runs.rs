//! The runs of this node: prepared, started, kept, ended. Carries out what the claim machine decided, without a choice.

pub mod keep;
pub mod prepare;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cobs::id::{JobId, RunId, Token};
use cobs::job::action::Digests;
use cobs::job::outcome::RunOutcome;
use scheduler::fault;
use scheduler::machine::{Event, Millis, RunReport, StopReason};
use scheduler::runner::clock::BootMs;
use scheduler::runner::finished::Finished;
use scheduler::runner::request::{Deadline, RunRequest};
use scheduler::runner::run::{Adopted, Run};
use scheduler::runner::sandbox::Sandbox;
use scheduler::runner::{self, REQUEST_FILE, Runner as _};

use crate::claims::Claims;
use crate::clock::unix_now;
use crate::store::UnixMs;
use crate::store::claims::Start;
use crate::store::state::State;

/// What is known of one run.
#[derive(Clone, Debug)]
pub struct Active {
    /// What it will be, or was, started with; its deadline is set at the start.
    pub request: Option<Arc<RunRequest>>,
    /// Its supervisor; none before the start.
    pub run: Option<Run>,
    /// When it was started.
    pub started: Option<UnixMs>,
    /// Its last deadline; none when held.
    pub deadline: Option<Millis>,
    /// An end that was asked for before there was a supervisor to tell.
    pub stopping: Option<(StopReason, Millis)>,
    /// How it ended.
    pub finished: Option<Arc<Finished>>,
}

/// All runs of this node.
pub struct Runs {
    directory: PathBuf,
    sandbox: Sandbox,
    state: Arc<State>,
    active: Mutex<BTreeMap<RunId, Active>>,
}

impl Runs {
    /// The runs below `directory`.
    pub fn new(directory: PathBuf, sandbox: Sandbox, state: Arc<State>) -> Self {
        Self { directory, sandbox, state, active: Mutex::new(BTreeMap::new()) }
    }

    /// Where everything of a run is kept.
    pub fn directory(&self, run: RunId) -> PathBuf {
        self.directory.join(format!("{}-{}", run.job, run.token))
    }

    /// Where all runs are kept.
    pub fn root(&self) -> &Path {
        &self.directory
    }

    /// What is known of each run.
    pub fn active(&self) -> BTreeMap<RunId, Active> {
        self.lock().clone()
    }

    /// The newest run of a job that was started here.
    pub fn newest(&self, job: JobId) -> Option<(RunId, Active)> {
        let active = self.lock();
        let mut of_job = active.iter().filter(|(run, active)| run.job == job && active.run.is_some());
        of_job.next_back().map(|(run, active)| (*run, active.clone()))
    }

    /// One run.
    pub fn get(&self, job: JobId, token: Token) -> Option<Active> {
        self.lock().iter().find(|(run, _)| run.job == job && run.token == token).map(|(_, active)| active.clone())
    }

    /// Takes up the runs of the last daemon: those alive are watched again, those that ended are told. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be read or made.
    pub fn adopt(self: &Arc<Self>, claims: &Claims) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let mut known = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if !path.join(REQUEST_FILE).exists() {
                tracing::info!(path = %path.display(), "a run that was never started is removed");
                std::fs::remove_dir_all(&path).ok();
                continue;
            }
            match self.sandbox.adopt(&path) {
                Ok(Adopted::Alive(run)) => {
                    let id = run.id();
                    tracing::info!(run = %id, "adopted a run");
                    known.push(run.clone());
                    self.note(id, |active| active.run = Some(run.clone()));
                    claims.send(Event::Adopted { run: id });
                    self.watch(run, claims.clone());
                }
                Ok(Adopted::Ended(finished) | Adopted::Dead(finished)) => {
                    let id = finished.run;
                    self.ended(&finished, &path);
                    claims.send(Event::Ended { run: id, report: report(&finished) });
                }
                Err(error) => tracing::error!(path = %path.display(), %error, "a run cannot be adopted"),
            }
        }
        for name in self.sandbox.reap_others(&known) {
            tracing::warn!(group = %name, "reaped what was left of a run without a directory");
        }
        Ok(())
    }

    /// Starts nothing in a home that was restored from a copy: it cannot know whether the token was started before.
    pub fn refuse(&self, run: RunId, claims: &Claims) {
        let reason = "this home was restored from a copy, and may have started it before".to_owned();
        let report = match self.state.record_start(run.job, run.token, unix_now()) {
            Ok(_) => without_run(RunOutcome::Lost, reason),
            Err(error) => {
                without_run(RunOutcome::CouldNotStart, format!("{reason}; and that cannot be noted: {error}"))
            }
        };
        tracing::warn!(%run, reason = %report.reason, "run not started");
        claims.send(Event::Ended { run, report });
    }

    /// Starts a prepared run after a durable record that its token was started. Blocks.
    pub fn start(self: &Arc<Self>, run: RunId, deadline: Option<Millis>, claims: &Claims) {
        let request = self.lock().get(&run).and_then(|active| active.request.clone());
        let report = match self.state.record_start(run.job, run.token, unix_now()) {
            Ok(Start::First) => match request {
                Some(request) => match self.launch(run, &request, deadline) {
                    Ok(handle) => return self.watch(handle, claims.clone()),
                    Err(reason) => without_run(RunOutcome::CouldNotStart, reason),
                },
                None => without_run(RunOutcome::CouldNotStart, "it was not prepared".into()),
            },
            Ok(Start::Again(_)) => {
                without_run(RunOutcome::Lost, "it was started before, and nothing of it is left".into())
            }
            Err(error) => without_run(RunOutcome::CouldNotStart, format!("its start cannot be recorded: {error}")),
        };
        tracing::warn!(%run, reason = %report.reason, "run not started");
        self.remove_prepared(run);
        claims.send(Event::Ended { run, report });
    }

    fn launch(&self, run: RunId, request: &RunRequest, deadline: Option<Millis>) -> Result<Run, String> {
        let mut request = request.clone();
        request.deadline = deadline.map_or(Deadline::Held, |at| Deadline::At(BootMs(at.0)));
        let handle = self.sandbox.start(&self.directory(run), &request).map_err(|error| chain(&error))?;
        fault::pass("run.armed");
        tracing::info!(%run, "run started");
        metrics::counter!("rhizome_runs_started_total").increment(1);
        self.note(run, |active| {
            active.run = Some(handle.clone());
            active.started = Some(unix_now());
            active.deadline = deadline;
        });
        let asked = self.lock().get_mut(&run).and_then(|active| active.stopping.take());
        if let Some((reason, grace)) = asked {
            end(&handle, reason, grace);
        }
        Ok(handle)
    }

    /// Waits for a run's end on a thread of its own: a blocked read.
    fn watch(self: &Arc<Self>, run: Run, claims: Claims) {
        let runs = Arc::clone(self);
        let id = run.id();
        let waiter = move || {
            let report = match run.wait(None) {
                Ok(Some(finished)) => {
                    runs.ended(&finished, run.dir());
                    report(&finished)
                }
                Ok(None) => without_run(RunOutcome::Lost, "its supervisor went quiet".into()),
                Err(error) => match runs.sandbox.reap(run.dir()) {
                    Ok(finished) => {
                        runs.ended(&finished, run.dir());
                        report(&finished)
                    }
                    Err(_) => without_run(RunOutcome::Lost, chain(&error)),
                },
            };
            fault::pass("run.ended");
            tracing::info!(run = %id, outcome = ?report.outcome, reason = %report.reason, "run ended");
            claims.send(Event::Ended { run: id, report });
        };
        if let Err(error) = std::thread::Builder::new().name("run".into()).spawn(waiter) {
            tracing::error!(run = %id, %error, "no thread to wait for a run; it is taken up at the next start");
        }
    }

    fn ended(&self, finished: &Finished, directory: &Path) {
        // the work tree was copied into the sandbox; what is kept is the log, the artifacts and the outcome
        std::fs::remove_dir_all(directory.join(prepare::TREE)).ok();
        metrics::counter!("rhizome_runs_ended_total").increment(1);
        self.note(finished.run, |active| {
            active.finished = Some(Arc::new(finished.clone()));
        });
    }

    /// Lets a run live longer. Blocks for a moment.
    pub fn extend(&self, run: RunId, deadline: Millis) {
        let Some(handle) = self.lock().get(&run).and_then(|active| active.run.clone()) else { return };
        match handle.extend(BootMs(deadline.0)) {
            Ok(at) => self.note(run, |active| active.deadline = Some(Millis(at.0))),
            Err(error) => tracing::debug!(%run, %error, "lease not extended"),
        }
    }

    /// Ends a run: the polite signal now, the kill after the grace. Blocks for a moment.
    pub fn stop(&self, run: RunId, reason: StopReason, grace: Millis) {
        let handle = match self.lock().get_mut(&run) {
            Some(Active { run: Some(handle), .. }) => handle.clone(),
            // it is being started at this moment, and ends as soon as it is
            Some(active) => return active.stopping = Some((reason, grace)),
            None => return,
        };
        end(&handle, reason, grace);
    }

    /// Forgets what was prepared for a run that will not start. Blocks.
    pub fn discard(&self, run: RunId) {
        let started = self.lock().get(&run).is_some_and(|active| active.run.is_some());
        if !started {
            self.lock().remove(&run);
            self.remove_prepared(run);
        }
    }

    /// Removes the directory of a run that no supervisor was asked for.
    fn remove_prepared(&self, run: RunId) {
        let directory = self.directory(run);
        if !directory.join(REQUEST_FILE).exists() {
            // it may not be there at all
            std::fs::remove_dir_all(directory).ok();
        }
    }

    /// Changes what is known of a run.
    pub fn note(&self, run: RunId, change: impl FnOnce(&mut Active)) {
        let mut active = self.lock();
        let blank =
            || Active { request: None, run: None, started: None, deadline: None, stopping: None, finished: None };
        change(active.entry(run).or_insert_with(blank));
    }

    /// Forgets a run whose directory is gone.
    pub fn forget(&self, run: RunId) {
        self.lock().remove(&run);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a supervisor for the end of its run.
fn end(handle: &Run, reason: StopReason, grace: Millis) {
    let reason = match reason {
        StopReason::Cancelled => runner::StopReason::Cancelled,
        StopReason::Replaced => runner::StopReason::Fenced,
        StopReason::Evicted => runner::StopReason::Released,
    };
    if let Err(error) = handle.stop(reason, grace.0) {
        tracing::debug!(run = %handle.id(), %error, "run not stopped");
    }
}

/// What the machine is told of a run's end.
fn report(finished: &Finished) -> RunReport {
    let duration_ns = match (finished.first_instruction, finished.ended) {
        (Some(first), Some(last)) => last.0.saturating_sub(first.0),
        _ => 0,
    };
    RunReport {
        outcome: finished.outcome.clone(),
        digests: Digests { log: finished.log.as_ref().map(|log| log.blob), artifacts: finished.artifacts },
        tail: finished.log.as_ref().map(|log| log.tail.clone()).unwrap_or_default(),
        reason: finished.reason.clone().unwrap_or_default(),
        duration_ms: duration_ns / 1_000_000,
    }
}

fn without_run(outcome: RunOutcome, reason: String) -> RunReport {
    RunReport { outcome, digests: Digests::default(), tail: String::new(), reason, duration_ms: 0 }
}

/// An error with all that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
