//! A `radicle-node` that runs in the home already, and that we attach to instead of running our own.
//!
//! It is somebody else's: it is never stopped, and reads its configuration when they start it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cobs::adapter::profile::{NodeHome, ProfileError};
use cobs::id::NodeId;
use radicle::node::Command;
use radicle::node::events::Event;

use super::control::{Control, ControlError, Lines};
use super::event::{Outlet, PUMP_IDLE_MS, translate};
use super::runtime::spawn;
use super::{ReplicationError, command};

/// How long a node may have its socket without answering: it may be about to end, or has only just begun.
const ANSWERS_MS: u64 = 10_000;
/// Between two attempts meanwhile.
const AGAIN: Duration = Duration::from_millis(50);
/// How long it may take to accept the subscription.
const SUBSCRIBE: Duration = Duration::from_secs(5);

/// How long a node that has ended may take to come back before ours takes its place: its owner may be starting it again,
/// and `rad node stop` looks once a second whether any still answers.
const RETURN_MS: u64 = 3_000;

/// Tells a control socket from the one that was there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Birth {
    file: u64,
    made: SystemTime,
}

/// A node that we are attached to.
pub(super) struct Attached {
    pub(super) control: Control,
    pub(super) addresses: Vec<SocketAddr>,
    /// Of its socket.
    pub(super) birth: Option<Birth>,
    events: thread::JoinHandle<()>,
    /// Set before we let go of it, so that this is not reported as its end.
    stopping: Arc<AtomicBool>,
}

impl Attached {
    /// Attaches to the node that runs in `home`, if one does, and removes the control socket of one that was killed.
    pub(super) fn find(home: &NodeHome, events: &Outlet) -> Result<Option<Self>, ReplicationError> {
        until_clear(home, |control| Self::start(control.clone(), home.public_key, events.clone()))
    }

    fn start(control: Control, us: NodeId, events: Outlet) -> Result<Self, ReplicationError> {
        let birth = birth(control.socket());
        let addresses = control.ask(&Command::ListenAddrs).map_err(command("tell where it listens"))?;
        let lines = control.open(&Command::Subscribe, SUBSCRIBE).map_err(command("tell its events"))?;
        // what it fetched before was told to nobody
        events.lose();
        let stopping = Arc::new(AtomicBool::new(false));
        let expected = stopping.clone();
        let socket = control.socket().to_owned();
        let thread = spawn("radicle-events", move || {
            let end = pump(lines, &socket, us, &events, &expected);
            if !expected.load(Ordering::SeqCst) {
                tracing::warn!(reason = ?end, "the radicle-node of this home ended its events");
                // the last ones may be lost
                events.lose();
                events.stopped();
            }
        })?;
        tracing::info!(socket = %control.socket().display(), ?addresses, "attached to a radicle-node that runs already");
        Ok(Self { control, addresses, birth, events: thread, stopping })
    }

    /// Whether the node has gone.
    pub(super) fn has_ended(&self) -> bool {
        self.events.is_finished()
    }

    /// Whether the configuration was written after the node made its socket, at its start. Files know the time in steps of
    /// milliseconds, and a node starts slower than that: at the same time is after.
    pub(super) fn is_outdated(&self, home: &NodeHome) -> bool {
        let changed = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let (config, start) = (changed(&home.home.config()), changed(self.control.socket()));
        config.zip(start).is_some_and(|(config, start)| config >= start)
    }

    /// Lets go of the node, which goes on.
    pub(super) fn stop(self) -> Result<(), ReplicationError> {
        self.stopping.store(true, Ordering::SeqCst);
        self.events.join().map_err(|_| ReplicationError::Ended("'s events had panicked".to_owned()))
    }
}

/// Waits a moment for a node of `home` that is not the one of `old`.
pub(super) fn await_return(home: &NodeHome, old: Option<Birth>) {
    let deadline = Instant::now() + Duration::from_millis(RETURN_MS);
    let is_back = || birth(&home.home.socket_default()).is_some_and(|found| Some(found) != old);
    while Instant::now() < deadline && !is_back() {
        thread::sleep(AGAIN);
    }
}

fn birth(socket: &Path) -> Option<Birth> {
    let meta = fs::metadata(socket).ok()?;
    Some(Birth { file: meta.ino(), made: meta.modified().ok()? })
}

/// Whether a node that we can attach to runs in `home`.
pub(super) fn runs_in(home: &NodeHome) -> Result<bool, ReplicationError> {
    until_clear(home, |_| Ok(())).map(|found| found.is_some())
}

/// Does `attach` where a node of this home answers; one that begins or ends is waited for.
fn until_clear<T>(
    home: &NodeHome,
    attach: impl Fn(&Control) -> Result<T, ReplicationError>,
) -> Result<Option<T>, ReplicationError> {
    let deadline = Instant::now() + Duration::from_millis(ANSWERS_MS);
    let control = Control::new(home.home.socket_default());
    loop {
        match home.ensure_alone() {
            Ok(()) => return Ok(None),
            Err(ProfileError::AlreadyRunning(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let id = control.ask(&Command::NodeId).map_err(command("tell its id"));
        let found = match id {
            Ok(id) if id != home.public_key => {
                return Err(ReplicationError::OtherKey { socket: control.socket().to_owned(), id });
            }
            Ok(_) => attach(&control),
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => return Ok(Some(found)),
            Err(error) if Instant::now() >= deadline || control.is_silent() => {
                let socket = control.socket().to_owned();
                return Err(ReplicationError::Unresponsive { socket, source: Box::new(error) });
            }
            Err(_) => thread::sleep(AGAIN),
        }
    }
}

/// Carries its events to the daemon until we or it let go; then says why.
fn pump(mut lines: Lines, socket: &Path, us: NodeId, outlet: &Outlet, stopping: &AtomicBool) -> Option<ControlError> {
    while !stopping.load(Ordering::SeqCst) {
        match lines.next::<Event>(Duration::from_millis(PUMP_IDLE_MS)) {
            Ok(Some(event)) => {
                if let Some(event) = translate(event, us) {
                    outlet.send(event);
                }
            }
            Ok(None) => return None,
            // it removes its socket when it ends; without one it can be told nothing
            Err(ControlError::TimedOut(_)) if !socket.exists() => return None,
            Err(ControlError::TimedOut(_)) => drop(outlet.report_missed()),
            // of a newer node, perhaps: what we wait for, we understand
            Err(ControlError::Garbled(error)) => tracing::debug!(%error, "an event is not understood"),
            Err(error) => return Some(error),
        }
    }
    None
}
