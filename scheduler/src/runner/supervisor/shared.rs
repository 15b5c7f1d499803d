//! What the supervisor's threads share: the life of the run behind one lock, the means to end it, and who waits.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cobs::job::spec::Limit;
use rustix::event::EventfdFlags;
use rustix::net::SendFlags;
use rustix::process::Signal;

use super::super::clock::BootMs;
use super::super::finished::Finished;
use super::super::group::Group;
use super::super::inside::TERMINATE;
use super::super::life::{Cause, Life};
use super::super::talk::{Answer, write_line};

/// Most connections that wait for the end or follow the log.
const WATCHERS_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Shared {
    life: Mutex<Life>,
    group: Group,
    sandbox: Mutex<Option<Sandbox>>,
    watchers: Mutex<Watchers>,
    wake: OwnedFd,
    log_cap: Limit,
}

/// How the sandbox is reached.
#[derive(Debug)]
struct Sandbox {
    pidfd: OwnedFd,
    orders: UnixStream,
}

#[derive(Debug, Default)]
struct Watchers {
    waiting: Vec<UnixStream>,
    following: Vec<UnixStream>,
    finished: Option<Finished>,
}

impl Shared {
    pub fn new(life: Life, group: Group, log_cap: Limit) -> io::Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (sandbox, watchers) = (Mutex::new(None), Mutex::new(Watchers::default()));
        Ok(Self { life: Mutex::new(life), group, sandbox, watchers, wake, log_cap })
    }

    /// The life of the run. A panic anywhere aborts the process, so the lock is never poisoned.
    pub fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.life)
    }

    pub fn log_cap(&self) -> Limit {
        self.log_cap
    }

    /// What wakes the guard.
    pub fn wake_fd(&self) -> &OwnedFd {
        &self.wake
    }

    /// Tells the guard that the life has changed.
    pub fn wake_guard(&self) {
        // A counter that is full wakes the guard as well.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Ends the run now, by force.
    pub fn fail(&self, cause: Cause) {
        self.life().end(cause, BootMs::now());
        self.wake_guard();
    }

    pub fn sandbox_started(&self, pidfd: OwnedFd, orders: UnixStream) {
        *lock(&self.sandbox) = Some(Sandbox { pidfd, orders });
        // The end may have begun before there was anything to end.
        self.wake_guard();
    }

    /// Asks the command to end.
    pub fn terminate(&self) {
        if let Some(sandbox) = &*lock(&self.sandbox) {
            // Never blocks: whoever does not listen is killed soon enough.
            let _ = rustix::net::send(&sandbox.orders, &[TERMINATE], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Kills everything of the run that is alive now.
    pub fn kill(&self) {
        self.group.kill();
        if let Some(sandbox) = &*lock(&self.sandbox) {
            let _ = rustix::process::pidfd_send_signal(&sandbox.pidfd, Signal::KILL);
        }
    }

    /// Answers `stream` when the run has ended.
    pub fn add_waiting(&self, mut stream: UnixStream) {
        let mut watchers = lock(&self.watchers);
        if watchers.admit(&mut stream) {
            watchers.waiting.push(stream);
        }
    }

    /// Sends `stream` a byte per append from now on.
    pub fn add_following(&self, mut stream: UnixStream) {
        let mut watchers = lock(&self.watchers);
        let told = |stream: &mut UnixStream| write_line(stream, &Answer::Following).is_ok();
        if watchers.admit(&mut stream) && told(&mut stream) && stream.set_nonblocking(true).is_ok() {
            watchers.following.push(stream);
        }
    }

    /// Tells every follower that the log grew.
    pub fn nudge_followers(&self) {
        lock(&self.watchers).following.retain_mut(|stream| match stream.write(b"\n") {
            Ok(_) => true,
            // Full: bytes that were not read yet wake the follower as well.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
    }

    /// The outcome, once it is on disk.
    pub fn finished(&self) -> Option<Finished> {
        lock(&self.watchers).finished.clone()
    }

    /// Tells everyone that it is over; the outcome is on disk.
    pub fn finish(&self, finished: Finished) {
        let mut watchers = lock(&self.watchers);
        let ended = Answer::Ended(Box::new(finished.clone()));
        for mut stream in std::mem::take(&mut watchers.waiting) {
            // Who does not hear it reads the outcome's file.
            let _ = write_line(&mut stream, &ended);
        }
        watchers.following.clear();
        watchers.finished = Some(finished);
    }
}

impl Watchers {
    /// Whether `stream` may wait; otherwise it was told why not.
    fn admit(&mut self, stream: &mut UnixStream) -> bool {
        let room = self.make_room();
        let answer = match &self.finished {
            Some(finished) => Answer::Ended(Box::new(finished.clone())),
            None if room => return true,
            None => Answer::Refused { why: format!("{WATCHERS_MAX} others wait already") },
        };
        // Who is gone needs no answer.
        let _ = write_line(stream, &answer);
        false
    }

    /// Whether one more fits, without those who went away.
    fn make_room(&mut self) -> bool {
        if self.waiting.len() + self.following.len() < WATCHERS_MAX {
            return true;
        }
        self.waiting.retain_mut(is_open);
        self.following.retain_mut(is_open);
        self.waiting.len() + self.following.len() < WATCHERS_MAX
    }
}

/// Watchers send nothing, so whatever can be read of one is its end.
fn is_open(stream: &mut UnixStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
