//! When a run ends and what its end is called: pure, the time is an argument.
//!
//! Causes compete and the first one wins; the deadline is kept whatever else goes on. It ends with the command: from
//! then on nothing of the job is alive, and storing what it made has a limit of its own.

use cobs::job::outcome::RunOutcome;

use super::clock::{BootMs, BootNs};
use super::request::Deadline;
use super::talk::{Phase, Status, StopReason};

/// How long before its deadline a run is asked to end.
pub const POLITE_LEAD_MS: u64 = 500;
/// How long a run that passed its wall limit has between being asked and being killed.
pub const WALL_GRACE_MS: u64 = 1_000;
/// Longest grace of a stop.
pub const STOP_GRACE_MS_MAX: u64 = 600_000;
/// How long the sandbox may take to be made and filled.
pub const PREPARE_MS_MAX: u64 = 600_000;
/// How long artifacts may take to be stored.
pub const COLLECT_MS_MAX: u64 = 600_000;
/// How long a sandbox that is being made has to tell that the command runs after all, before it is killed.
const PREPARING_GRACE_MS: u64 = 500;
/// How soon a kill is repeated while something is still alive.
const KILL_AGAIN_MS: u64 = 50;

/// How a passed log limit reads: as the kernel's own signal for a file that grew beyond its limit.
const LOG_LIMIT_SIGNAL: u8 = 25;

/// Why a run is ended from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// Its lease.
    Deadline,
    /// Its wall limit.
    Wall,
    /// Somebody asked.
    Stop(StopReason),
    /// Its log passed a strict limit of so many bytes.
    LogLimit(u64),
    /// The host cannot go on: what failed.
    HostFailed(String),
    /// The sandbox broke the rules of its own protocol, or kept more than it may: how.
    Broken(String),
    /// It was not filled, or its artifacts not stored, in time.
    TooLong(Phase),
}

/// How the command itself ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CommandEnd {
    Exited(u8),
    Signalled(u8),
}

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Nothing,
    Terminate,
    Kill,
}

/// The life of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Life {
    phase: Phase,
    deadline: Deadline,
    wall_ms: u64,
    wall_end: Option<BootMs>,
    phase_end: BootMs,
    ending: Option<Ending>,
    pub first_instruction: Option<BootNs>,
    pub command_end: Option<(CommandEnd, BootNs)>,
    /// What the inside said when the command could not be started.
    pub could_not_start: Option<String>,
    /// Worth telling about an end that is otherwise plain.
    pub remark: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Ending {
    cause: Cause,
    kill_at: BootMs,
    asked: Option<BootMs>,
    killed_at: Option<BootMs>,
}

impl Life {
    pub fn new(deadline: Deadline, wall_ms: u64, now: BootMs) -> Self {
        Self {
            phase: Phase::Preparing,
            deadline,
            wall_ms,
            wall_end: None,
            phase_end: now.plus(PREPARE_MS_MAX),
            ending: None,
            first_instruction: None,
            command_end: None,
            could_not_start: None,
            remark: None,
        }
    }

    pub fn started(&mut self, at: BootNs) {
        self.phase = Phase::Running;
        self.first_instruction = Some(at);
        self.wall_end = Some(BootMs(at.0 / 1_000_000).plus(self.wall_ms));
    }

    pub fn command_ended(&mut self, end: CommandEnd, at: BootNs, now: BootMs) {
        self.phase = Phase::Collecting;
        self.command_end = Some((end, at));
        self.phase_end = now.plus(COLLECT_MS_MAX);
        if let Some(ending) = &mut self.ending {
            // Asked to end, it has: what it made is stored without hurry.
            *ending =
                Ending { cause: ending.cause.clone(), kill_at: self.phase_end, asked: Some(now), killed_at: None };
        }
    }

    /// Lets it run until `to`, never less than it may already.
    pub fn extend(&mut self, to: BootMs) -> Result<BootMs, &'static str> {
        let Deadline::At(current) = self.deadline else { return Err("a held run has no deadline") };
        if self.ending.as_ref().is_some_and(|ending| ending.cause == Cause::Deadline) {
            return Err("the run is being ended at its deadline");
        }
        let deadline = current.max(to);
        self.deadline = Deadline::At(deadline);
        Ok(deadline)
    }

    /// Begins the end; the first cause stays. After the command's own end only a failure to keep its results counts.
    pub fn end(&mut self, cause: Cause, kill_at: BootMs) {
        let too_late =
            self.phase == Phase::Collecting && matches!(cause, Cause::Deadline | Cause::Wall | Cause::Stop(_));
        if too_late {
            return;
        }
        match &mut self.ending {
            Some(ending) => ending.kill_at = ending.kill_at.min(kill_at),
            None => self.ending = Some(Ending { cause, kill_at, asked: None, killed_at: None }),
        }
    }

    /// What is to be done at `now`; telling it counts as having done it.
    pub fn due(&mut self, now: BootMs) -> Due {
        self.look(now);
        let kill_at = self.kill_at();
        let Some(ending) = &mut self.ending else { return Due::Nothing };
        if kill_at.is_some_and(|at| now >= at) {
            ending.killed_at = Some(now);
            return Due::Kill;
        }
        if ending.asked.is_none() {
            ending.asked = Some(now);
            return Due::Terminate;
        }
        Due::Nothing
    }

    /// When [`Life::due`] is to be asked next, at the latest.
    pub fn next(&self) -> BootMs {
        let Some(ending) = &self.ending else {
            let wall = self.wall_end.filter(|_| self.phase == Phase::Running);
            let polite = self.hard_deadline().map(|deadline| deadline.minus(POLITE_LEAD_MS));
            return [wall, polite, Some(self.phase_limit())].into_iter().flatten().min().expect("one is always there");
        };
        match ending.killed_at {
            Some(killed) => killed.plus(KILL_AGAIN_MS),
            None if ending.asked.is_none() => BootMs(0),
            None => self.kill_at().unwrap_or(ending.kill_at),
        }
    }

    pub fn status(&self) -> Status {
        let ending = self.ending.as_ref().map(|ending| ending.cause.reason());
        Status { phase: self.phase, deadline: self.deadline, first_instruction: self.first_instruction, ending }
    }

    /// How the run ended and why, once nothing of it is alive. `last_words` is what the sandbox said last.
    pub fn verdict(&self, oom_kills: u64, last_words: &str) -> (RunOutcome, Option<String>) {
        if let Some(ending) = &self.ending {
            return (ending.cause.outcome(self.first_instruction), Some(ending.cause.reason()));
        }
        let out_of_memory = || (RunOutcome::OutOfMemory, Some("the memory limit was reached".to_owned()));
        match (self.command_end, &self.could_not_start) {
            (Some((CommandEnd::Exited(0), _)), _) => (RunOutcome::Exited { code: 0 }, self.remark.clone()),
            _ if oom_kills > 0 => out_of_memory(),
            (Some((CommandEnd::Exited(code), _)), _) => (RunOutcome::Exited { code }, self.remark.clone()),
            (Some((CommandEnd::Signalled(signal), _)), _) => (RunOutcome::Signalled { signal }, self.remark.clone()),
            (None, Some(why)) => (RunOutcome::CouldNotStart, Some(why.clone())),
            (None, None) if self.first_instruction.is_none() => {
                (RunOutcome::CouldNotStart, Some(format!("the sandbox could not be made: {last_words}")))
            }
            (None, None) => (RunOutcome::Lost, Some("the sandbox died".to_owned())),
        }
    }

    /// Begins an end whose time has come.
    fn look(&mut self, now: BootMs) {
        if let Some(deadline) = self.hard_deadline()
            && now >= deadline.minus(POLITE_LEAD_MS)
        {
            self.end(Cause::Deadline, deadline);
        }
        if let Some(wall_end) = self.wall_end
            && now >= wall_end
        {
            self.end(Cause::Wall, wall_end.plus(WALL_GRACE_MS));
        }
        if now >= self.phase_limit() {
            self.end(Cause::TooLong(self.phase), now);
        }
    }

    /// When what is being ended is killed.
    fn kill_at(&self) -> Option<BootMs> {
        let ending = self.ending.as_ref()?;
        let preparing = self.phase == Phase::Preparing;
        // It may be that the command runs and this was not heard yet.
        let unheard = ending.asked.filter(|_| preparing).map(|asked| asked.plus(PREPARING_GRACE_MS));
        [Some(ending.kill_at), self.hard_deadline(), unheard].into_iter().flatten().min()
    }

    /// The deadline while something of the job may be alive.
    fn hard_deadline(&self) -> Option<BootMs> {
        match self.deadline {
            Deadline::At(at) if self.phase != Phase::Collecting => Some(at),
            Deadline::At(_) | Deadline::Held => None,
        }
    }

    fn phase_limit(&self) -> BootMs {
        if self.phase == Phase::Running { BootMs(u64::MAX) } else { self.phase_end }
    }
}

impl Cause {
    fn outcome(&self, first_instruction: Option<BootNs>) -> RunOutcome {
        match self {
            Self::Deadline | Self::Stop(StopReason::Fenced) => RunOutcome::Lost,
            Self::Wall => RunOutcome::TimedOut,
            Self::Stop(StopReason::Cancelled) => RunOutcome::Cancelled,
            Self::Stop(StopReason::Released) => RunOutcome::Released,
            Self::LogLimit(_) => RunOutcome::Signalled { signal: LOG_LIMIT_SIGNAL },
            Self::HostFailed(_) | Self::Broken(_) | Self::TooLong(_) => match first_instruction {
                Some(_) => RunOutcome::Lost,
                None => RunOutcome::CouldNotStart,
            },
        }
    }

    fn reason(&self) -> String {
        match self {
            Self::Deadline => "its lease passed".to_owned(),
            Self::Wall => "the wall-clock limit was reached".to_owned(),
            Self::Stop(StopReason::Cancelled) => "it was cancelled".to_owned(),
            Self::Stop(StopReason::Released) => "this node gave it back".to_owned(),
            Self::Stop(StopReason::Fenced) => "another run of the job took over".to_owned(),
            Self::LogLimit(bytes) => format!("the log limit of {bytes} bytes was reached"),
            Self::HostFailed(why) | Self::Broken(why) => why.clone(),
            Self::TooLong(Phase::Preparing) => "the sandbox was not ready in time".to_owned(),
            Self::TooLong(Phase::Running | Phase::Collecting) => "its artifacts were not stored in time".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
