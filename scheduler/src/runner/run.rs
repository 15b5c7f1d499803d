//! A run as the daemon holds it: a run directory and what to ask its supervisor. Outlives neither, and a daemon may
//! drop it and take it up again at any time.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cobs::id::RunId;
use cobs::job::outcome::RunOutcome;

use super::clock::{self, BootMs, BootNs};
use super::finished::Finished;
use super::launch::{self, Launch, Record};
use super::log::reader::{LogError, LogReader};
use super::talk::{self, Answer, Ask, Status, StopReason};

/// How long a supervisor that lives may take to be ready, or a dead one to be gone.
pub const ARM_WAIT: Duration = Duration::from_secs(10);
/// How long between two looks at a supervisor that is neither ready nor gone.
const ARM_LOOK: Duration = Duration::from_millis(5);

/// A run with a supervisor of its own.
#[derive(Clone, Debug)]
pub struct Run {
    dir: PathBuf,
    id: RunId,
    spawned: Option<BootNs>,
}

/// What is left of a run after its daemon is.
#[derive(Debug)]
pub enum Adopted {
    /// Its supervisor lives.
    Alive(Run),
    /// It ended, and its supervisor wrote how.
    Ended(Finished),
    /// Its supervisor died, or the machine was restarted. Whatever was left is gone now, and this says so for ever.
    Dead(Finished),
}

/// A run could not be reached or read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file of the run directory, or the socket in it.
    #[error("run directory '{}' cannot be used", dir.display())]
    Io {
        /// The run directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The supervisor will not.
    #[error("{0}")]
    Refused(String),
    /// It has ended, so there is nothing to ask.
    #[error("the run has ended")]
    Ended,
    /// The supervisor neither answers nor goes.
    #[error("the supervisor in '{}' neither answers nor goes", .0.display())]
    Stuck(PathBuf),
}

impl Run {
    pub(super) fn new(dir: PathBuf, id: RunId, spawned: Option<BootNs>) -> Self {
        Self { dir, id, spawned }
    }

    /// Which run.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// When its supervisor was spawned; none for an adopted run.
    pub fn spawned(&self) -> Option<BootNs> {
        self.spawned
    }

    /// Lets it run until `to`, and never less than it may already; gives the deadline that holds now.
    pub fn extend(&self, to: BootMs) -> Result<BootMs, RunError> {
        match self.ask(&Ask::Extend { to })? {
            Answer::Extended { deadline } => Ok(deadline),
            other => Err(self.unexpected(other)),
        }
    }

    /// Ends it: politely now, by force `grace_ms` later or at its deadline, whichever is sooner. Returns at once.
    pub fn stop(&self, reason: StopReason, grace_ms: u64) -> Result<(), RunError> {
        match self.ask(&Ask::Stop { reason, grace_ms })? {
            Answer::Stopping => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    /// Ends it by force.
    pub fn kill(&self, reason: StopReason) -> Result<(), RunError> {
        self.stop(reason, 0)
    }

    /// How it stands.
    pub fn status(&self) -> Result<Status, RunError> {
        match self.ask(&Ask::Status)? {
            Answer::Status(status) => Ok(status),
            other => Err(self.unexpected(other)),
        }
    }

    /// Its log from byte `from`, also after its end.
    pub fn logs(&self, from: u64) -> Result<LogReader, LogError> {
        LogReader::open(&self.dir, from)
    }

    /// Waits for its end, for ever without `wait`; none if it did not end in time. A blocked read: it costs nothing meanwhile.
    pub fn wait(&self, wait: Option<Duration>) -> Result<Option<Finished>, RunError> {
        let until = wait.map(|wait| Instant::now() + wait);
        let io = |source| self.io(source);
        if let Some(finished) = Finished::read(&self.dir).map_err(io)? {
            return Ok(Some(finished));
        }
        let Some(stream) = talk::ask_later(&self.dir, &Ask::Wait).map_err(io)? else { return self.take_up(until) };
        match read_until(&stream, until).map_err(io)? {
            Heard::Answer(Answer::Ended(finished)) => Ok(Some(*finished)),
            Heard::Answer(Answer::Refused { why }) => Err(RunError::Refused(why)),
            Heard::Answer(other) => Err(self.unexpected(other)),
            Heard::Closed => self.take_up(until),
            Heard::Quiet => Ok(None),
        }
    }

    /// The supervisor does not answer: finds out what became of the run.
    fn take_up(&self, until: Option<Instant>) -> Result<Option<Finished>, RunError> {
        match adopt(&self.dir)? {
            Adopted::Ended(finished) | Adopted::Dead(finished) => Ok(Some(finished)),
            Adopted::Alive(run) => run.wait(until.map(|until| until.saturating_duration_since(Instant::now()))),
        }
    }

    fn ask(&self, question: &Ask) -> Result<Answer, RunError> {
        let answer = talk::ask(&self.dir, question).map_err(|source| self.io(source))?;
        answer.map(|(answer, _)| answer).ok_or(RunError::Ended)
    }

    fn unexpected(&self, answer: Answer) -> RunError {
        match answer {
            Answer::Refused { why } => RunError::Refused(why),
            Answer::Ended(_) => RunError::Ended,
            Answer::Extended { .. } | Answer::Stopping | Answer::Status(_) | Answer::Following => {
                self.io(io::Error::new(io::ErrorKind::InvalidData, "the supervisor answered another question"))
            }
        }
    }

    fn io(&self, source: io::Error) -> RunError {
        RunError::Io { dir: self.dir.clone(), source }
    }
}

/// Takes up the run in `run_dir` after a restart of the daemon, or of the machine.
pub(super) fn adopt(run_dir: &Path) -> Result<Adopted, RunError> {
    let io = |source| RunError::Io { dir: run_dir.to_owned(), source };
    let launch = Launch::read(run_dir).map_err(io)?;
    let until = Instant::now() + ARM_WAIT;
    loop {
        if let Some(finished) = Finished::read(run_dir).map_err(io)? {
            return Ok(Adopted::Ended(finished));
        }
        if let Some(_lock) = launch::lock(run_dir).map_err(io)? {
            // Nobody supervises, and while the lock is ours nobody will. It may have ended just before.
            return match Finished::read(run_dir).map_err(io)? {
                Some(finished) => Ok(Adopted::Ended(finished)),
                None => bury(run_dir, &launch).map(Adopted::Dead).map_err(io),
            };
        }
        let lives = Record::read(run_dir).map_err(io)?.is_some_and(|record| record.lives());
        if lives && talk::ask(run_dir, &Ask::Status).is_ok_and(|answer| answer.is_some()) {
            return Ok(Adopted::Alive(Run::new(run_dir.to_owned(), launch.request.run, None)));
        }
        if Instant::now() >= until {
            return Err(RunError::Stuck(run_dir.to_owned()));
        }
        std::thread::sleep(ARM_LOOK);
    }
}

/// Ends and removes whatever a dead supervisor left, and writes that it died.
fn bury(run_dir: &Path, launch: &Launch) -> io::Result<Finished> {
    let same_boot = clock::boot_id()? == launch.boot_id;
    let armed = Record::read(run_dir)?.is_some();
    let group = launch.group();
    if same_boot {
        group.empty();
        // A group that stays is found again by its name; the run's end does not depend on it.
        let _ = group.remove();
    }
    let (outcome, why) = match (same_boot, armed) {
        (false, _) => (RunOutcome::Lost, "the machine was restarted"),
        (true, true) => (RunOutcome::Lost, "its supervisor died"),
        (true, false) => (RunOutcome::CouldNotStart, "its supervisor died before it was ready"),
    };
    let finished = Finished::bare(launch.request.run, outcome, why.to_owned());
    finished.write(run_dir)?;
    Ok(finished)
}

enum Heard {
    Answer(Answer),
    Closed,
    Quiet,
}

fn read_until(stream: &UnixStream, until: Option<Instant>) -> io::Result<Heard> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Ok(Heard::Quiet);
    }
    stream.set_read_timeout(left)?;
    match talk::read_answer(stream) {
        Ok(Some(answer)) => Ok(Heard::Answer(answer)),
        Ok(None) => Ok(Heard::Closed),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(Heard::Quiet),
        Err(error) => Err(error),
    }
}
