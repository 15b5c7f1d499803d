//! The supervisor of one run: a process of its own, armed before the job's first instruction.
//!
//! Four threads and the main one, each with one duty, so that none can hold up another: the [`guard`] keeps the
//! deadline and touches no disk; the [`desk`] answers the daemon; the [`feeder`] sends the work tree in; [`events`]
//! hears and stores what comes out; the main thread starts the sandbox, pumps the log and writes the outcome, when
//! nothing of the run is alive. It never asks whether the job may run: that was decided.

mod desk;
mod events;
mod feeder;
mod guard;
mod shared;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use cobs::digest::Blob;
use cobs::job::outcome::RunOutcome;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{PidfdFlags, WaitOptions};

use self::shared::Shared;
use super::bubblewrap;
use super::chain;
use super::clock::{BootMs, BootNs};
use super::finished::{Finished, cut, reserve};
use super::group::Group;
use super::launch::{self, Launch, Record};
use super::life::{Cause, Life};
use super::log::{FRAME_BYTES_MAX, Kept, LogWriter, Stream};
use super::talk;
use crate::fault;

/// What the supervisor prints once it is armed.
pub(super) const ARMED: &str = "armed";
/// How often and at what distance an outcome that cannot be written is tried again.
const OUTCOME_TRIES_MAX: u32 = 60;
const OUTCOME_RETRY: Duration = Duration::from_secs(1);

/// Supervises the run that was asked for in `run_dir`, to its end; `init` are the arguments that make this very
/// binary call [`super::sandbox_init`]. The body of a hidden verb: call it first in `main`, before any thread.
pub fn supervise(run_dir: &Path, init: &[String]) -> ExitCode {
    // A thread that died alone could leave a job without its deadline; a dead supervisor takes the job with it.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("supervisor: {panic}");
        std::process::abort();
    }));
    match run(run_dir, init) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(run_dir: &Path, init: &[String]) -> io::Result<()> {
    let supervised = BootNs::now();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Held until this process is gone, however it goes.
    let Some(_lock) = launch::lock(run_dir)? else { return Err(io::Error::other("the run has a supervisor")) };
    if Finished::read(run_dir)?.is_some() {
        return Err(io::Error::other("the run has ended"));
    }
    let launch = Launch::read(run_dir)?;
    let group = launch.group();
    let ended = match Armed::new(run_dir, &launch, &group) {
        Ok(armed) => armed.carry_out(run_dir, &launch, &group, init),
        Err(why) => Ended { verdict: (RunOutcome::CouldNotStart, Some(why)), log: None, artifacts: None, shared: None },
    };
    fault::pass("supervisor.over");
    group.empty();
    if let Err(error) = group.remove() {
        eprintln!("supervisor: {}", chain(&error));
    }
    let (outcome, reason) = ended.verdict;
    let life = ended.shared.as_ref().map(|shared| shared.life().clone());
    let finished = Finished {
        run: launch.request.run,
        outcome,
        reason: reason.map(cut),
        supervised: Some(supervised),
        first_instruction: life.as_ref().and_then(|life| life.first_instruction),
        ended: life.as_ref().and_then(|life| life.command_end).map(|(_, at)| at),
        log: ended.log,
        artifacts: ended.artifacts,
    };
    fault::pass("outcome.asked");
    write_outcome(&finished, run_dir)?;
    fault::pass("outcome.written");
    if let Some(shared) = ended.shared {
        shared.finish(finished);
    }
    Ok(())
}

/// A supervisor that is ready: everything but the sandbox itself.
struct Armed {
    shared: Arc<Shared>,
    log: LogWriter,
}

/// How it went.
struct Ended {
    verdict: (RunOutcome, Option<String>),
    log: Option<super::log::LogEnd>,
    artifacts: Option<Blob>,
    shared: Option<Arc<Shared>>,
}

impl Armed {
    fn new(run_dir: &Path, launch: &Launch, group: &Group) -> Result<Self, String> {
        let told = |error: io::Error| format!("the run could not be prepared: {error}");
        if let Some(why) = bubblewrap::missing(launch) {
            return Err(why);
        }
        let limits = &launch.request.limits;
        group.create(limits).map_err(|error| chain(&error))?;
        let groups = launch.groups.clone();
        // Once more than the daemon, since its effect lasts only some milliseconds.
        std::thread::Builder::new().name("warm-up".into()).spawn(move || groups.warm_up()).map_err(told)?;
        reserve(run_dir).map_err(told)?;
        let log = LogWriter::create(run_dir, limits.log_bytes).map_err(told)?;
        // What the sandbox leaves without a parent becomes ours, so that no child left means nothing left.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| told(error.into()))?;
        let life = Life::new(launch.request.deadline, limits.wall_ms.value, BootMs::now());
        let shared = Arc::new(Shared::new(life, group.clone(), limits.log_bytes).map_err(told)?);
        let listener = talk::listen(run_dir).map_err(told)?;
        guard::spawn(Arc::clone(&shared)).map_err(told)?;
        desk::spawn(Arc::clone(&shared), listener).map_err(told)?;
        fault::pass("supervisor.ready");
        Record::write(run_dir).map_err(told)?;
        fault::pass("supervisor.armed");
        let mut out = io::stdout().lock();
        // Nobody listens any more if the daemon died meanwhile; the run goes on for the next one.
        let _ = writeln!(out, "{ARMED}").and_then(|()| out.flush());
        Ok(Self { shared, log })
    }

    fn carry_out(mut self, run_dir: &Path, launch: &Launch, group: &Group, init: &[String]) -> Ended {
        let shared = Arc::clone(&self.shared);
        let artifacts = match bubblewrap::start(launch, group, init) {
            Ok(started) => self.attend(run_dir, launch, started),
            Err(error) => {
                shared.life().could_not_start = Some(format!("the sandbox could not be started: {error}"));
                None
            }
        };
        // Whatever is left now was left by accident.
        group.empty();
        let oom_kills = group.oom_kills();
        let last_words = self.log.last_line();
        let log = self.log.finish().unwrap_or_else(|error| {
            shared.fail(Cause::HostFailed(format!("the log could not be stored: {error}")));
            self.log.end()
        });
        let verdict = shared.life().verdict(oom_kills, &last_words);
        Ended { verdict, log: Some(log), artifacts, shared: Some(shared) }
    }

    /// Sees the sandbox through until nothing of it is alive.
    fn attend(&mut self, run_dir: &Path, launch: &Launch, started: bubblewrap::Started) -> Option<Blob> {
        let bubblewrap::Started { mut child, control } = started;
        match pidfd(&child).and_then(|pidfd| Ok((pidfd, control.try_clone()?))) {
            Ok((pidfd, orders)) => self.shared.sandbox_started(pidfd, orders),
            Err(error) => self.shared.fail(Cause::HostFailed(format!("the sandbox could not be watched: {error}"))),
        }
        let (tree, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feeder = feeder::spawn(Arc::clone(&self.shared), launch.request.clone(), tree.expect("it was piped"));
        let events = events::spawn(Arc::clone(&self.shared), run_dir, &launch.request, control);
        let out = File::from(OwnedFd::from(out.expect("it was piped")));
        let err = File::from(OwnedFd::from(err.expect("it was piped")));
        if let Err(error) = self.pump([(Stream::Out, out), (Stream::Err, err)]) {
            self.shared.fail(Cause::HostFailed(format!("the log could not be read: {error}")));
        }
        let artifacts = events.join().ok().flatten();
        // Blocked on a pipe nobody reads is the most it can be, and that ended with the sandbox.
        let _ = feeder.join();
        reap_all();
        artifacts
    }

    /// Moves the job's output into the log until nobody can write any more.
    fn pump(&mut self, sources: [(Stream, File); 2]) -> io::Result<()> {
        let mut sources = Vec::from(sources);
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        while !sources.is_empty() {
            let ready = wait_readable(&sources)?;
            // From the last, since what has ended is taken out.
            for at in ready.into_iter().rev() {
                let (stream, source) = &mut sources[at];
                match source.read(&mut buffer) {
                    Ok(0) => drop(sources.remove(at)),
                    Ok(read) => self.keep(*stream, &buffer[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        let cap = self.shared.log_cap();
        match self.log.append(stream, bytes) {
            Ok(Kept::UpToCap) if cap.strict => self.shared.fail(Cause::LogLimit(cap.value)),
            Ok(Kept::All | Kept::UpToCap) => {}
            Err(error) => self.shared.fail(Cause::HostFailed(format!("the log could not be stored: {error}"))),
        }
        self.shared.nudge_followers();
    }
}

/// The places of the sources that have something to read, or have ended.
fn wait_readable(sources: &[(Stream, File)]) -> io::Result<Vec<usize>> {
    let mut polled: Vec<_> = sources.iter().map(|(_, source)| PollFd::new(source, PollFlags::IN)).collect();
    match rustix::event::poll(&mut polled, None) {
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        done => done?,
    };
    Ok(polled.iter().enumerate().filter(|(_, polled)| !polled.revents().is_empty()).map(|(at, _)| at).collect())
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_child(child);
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits for bubblewrap and for whatever of the sandbox became ours.
fn reap_all() {
    while !matches!(rustix::process::wait(WaitOptions::empty()), Err(rustix::io::Errno::CHILD)) {}
}

/// The room was kept from the start, so this fails only with the disk itself; the daemon then hears it from the lock.
fn write_outcome(finished: &Finished, run_dir: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        match finished.write(run_dir) {
            Err(error) if tries < OUTCOME_TRIES_MAX => {
                eprintln!("supervisor: the outcome could not be written: {error}");
                tries += 1;
                std::thread::sleep(OUTCOME_RETRY);
            }
            done => return done,
        }
    }
}
