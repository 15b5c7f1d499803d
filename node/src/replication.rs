//! The Radicle node: it replicates ledgers and source repositories between peers. It is embedded, unless a `radicle-node`
//! runs in the home already: then we attach to that one, and let it go on when we end.
//!
//! It must not know jobs, the view or the API. Everything here blocks: call it from a thread of its own or from
//! `spawn_blocking`. `radicle_node` is named in this module alone.

mod attached;
mod control;
mod event;
pub mod garbage;
mod git;
mod own;
mod peers;
mod port;
mod pulse;
mod reach;
mod running;
mod runtime;
pub mod source;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cobs::adapter::profile::{NodeHome, ProfileError};
use cobs::adapter::repository::{self, RepositoryFault};
use cobs::id::{NodeId, RepoId};
use thiserror::Error;
use tokio::sync::mpsc;

pub use event::{FetchedRef, ReplicationEvent};
pub use peers::{Dialled, FetchError, Fetched, PeerSession, Reach, SessionStatus};
pub use sync::Synced;

use self::pulse::Pulse;
use self::running::{Handle, Running};

/// Events kept for a slow reader; what does not fit is replaced by one [`ReplicationEvent::Missed`].
pub const EVENTS_MAX: usize = 1024;
/// How often connected peers are told of the watched repositories, also when nothing is new. A peer that restarted is
/// noticed by the second write that fails, and dialled again 3 s later.
pub const HEARTBEAT_MS: u64 = 1_000;

/// How to run the node.
#[derive(Clone, Debug)]
pub struct ReplicationOptions {
    /// Where to listen, instead of what the home's configuration says. A port 0 is chosen once and kept by restarts.
    pub listen: Option<Vec<SocketAddr>>,
    /// The time between heartbeats.
    pub heartbeat: Duration,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self { listen: None, heartbeat: Duration::from_millis(HEARTBEAT_MS) }
    }
}

/// The running node. Clones are handles to the same one; it stops when [`Replication::stop`] is called or the last
/// handle goes.
#[derive(Clone)]
pub struct Replication {
    shared: Arc<Shared>,
    /// Beats while any handle is left.
    pulse: Arc<Pulse>,
}

/// How long an announcement that is not urgent waits for others, in milliseconds.
const SOON_MS: u64 = 150;

/// What the handles and the pulse share.
struct Shared {
    home: Mutex<NodeHome>,
    running: Mutex<Option<Running>>,
    /// Whether it is not to run; changed under the lock of `running`.
    stopped: AtomicBool,
    watched: Mutex<BTreeSet<RepoId>>,
    listen: Mutex<Option<Vec<SocketAddr>>>,
    /// The ports among them that the kernel chose.
    ports: Mutex<Vec<port::Placeholder>>,
    events: event::Outlet,
    /// How often each repository was announced.
    announced: Mutex<BTreeMap<RepoId, u64>>,
}

/// Who runs the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// We do, in this process.
    Embedded,
    /// Somebody else does, and we are attached to it.
    Attached {
        /// Whether it does not answer at the moment.
        is_silent: bool,
        /// Whether the home's configuration is newer than it: some of it takes effect when it is started again.
        is_outdated: bool,
    },
    /// Nobody does.
    Stopped,
}

/// Why the node cannot do what was asked.
#[derive(Debug, Error)]
pub enum ReplicationError {
    /// The home is in use or cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Somebody listens there already.
    #[error("cannot listen on {address}: the address is in use")]
    ListenInUse {
        /// Where.
        address: SocketAddr,
    },
    /// The address is not ours, or the port is privileged.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The home's key is not the one that a node ran with before.
    #[error("the key of this home has changed since its node last ran")]
    KeyChanged,
    /// A node that is not this home's has its control socket.
    #[error("the radicle node that answers at {socket} is {id}, whose key is not the one of this home")]
    OtherKey {
        /// Where.
        socket: PathBuf,
        /// Whose it is.
        id: NodeId,
    },
    /// A node has the home's control socket and does not answer there.
    #[error("a radicle node has {socket} and does not answer there")]
    Unresponsive {
        /// Where.
        socket: PathBuf,
        /// The last attempt.
        #[source]
        source: Box<ReplicationError>,
    },
    /// The runtime cannot start.
    #[error("cannot start the radicle node")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The runtime ended by itself, or did not end in time.
    #[error("the radicle node {0}")]
    Ended(String),
    /// Nothing runs.
    #[error("the radicle node is stopped")]
    Stopped,
    /// The node refused or failed a command.
    #[error("the radicle node cannot {action}")]
    Command {
        /// What was asked.
        action: &'static str,
        /// Its answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A repository failed us.
    #[error(transparent)]
    Repository(#[from] RepositoryFault),
}

impl ReplicationError {
    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Profile(error) => error.hint(),
            Self::ListenInUse { .. } => Some("stop what listens there, or set node.listen to another port"),
            Self::KeyChanged => Some("bring back the key that the node ran with before"),
            Self::Unresponsive { .. } => Some("let it go on, or end the radicle-node of this home"),
            Self::OtherKey { .. } => Some("end that node, or start it with a home and a control socket of its own"),
            Self::Listen { .. }
            | Self::Start(_)
            | Self::Ended(_)
            | Self::Stopped
            | Self::Command { .. }
            | Self::Repository(_) => None,
        }
    }
}

impl Replication {
    /// Starts the node in `home`, with its control socket, or attaches to the one that runs there, and returns its events
    /// with it. Only one of ours may do so: whoever has the home's writer.
    ///
    /// `GIT_COMMITTER_DATE` and `RAD_COMMIT_TIME` must be unset in this process: Radicle reads them.
    pub fn start(
        home: NodeHome,
        options: ReplicationOptions,
    ) -> Result<(Self, mpsc::Receiver<ReplicationEvent>), ReplicationError> {
        let (sender, receiver) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared {
            home: Mutex::new(home),
            running: Mutex::new(None),
            stopped: AtomicBool::new(false),
            watched: Mutex::new(BTreeSet::new()),
            listen: Mutex::new(options.listen),
            ports: Mutex::default(),
            announced: Mutex::default(),
            events: event::Outlet::new(sender),
        });
        shared.launch(&mut lock(&shared.running))?;
        let pulse = Arc::new(Pulse::start(shared.clone(), options.heartbeat));
        Ok((Self { shared, pulse }, receiver))
    }

    /// Whether a node runs in `home` that a start attaches to.
    ///
    /// # Errors
    /// When that node is another's, or does not answer.
    pub fn is_running_in(home: &NodeHome) -> Result<bool, ReplicationError> {
        attached::runs_in(home)
    }

    /// The home as it is configured now.
    pub fn home(&self) -> NodeHome {
        lock(&self.shared.home).clone()
    }

    /// Stops the node; peers see a broken connection. Stopping twice is no error.
    pub fn stop(&self) -> Result<(), ReplicationError> {
        let mut running = lock(&self.shared.running);
        self.shared.stopped.store(true, Ordering::SeqCst);
        match running.take() {
            Some(running) => running.stop(),
            None => Ok(()),
        }
    }

    /// Stops and starts the node, which then uses the home's present configuration. Takes about 0.3 s. One that we are
    /// attached to is only let go; it has a moment to come back before our own takes its place.
    pub fn restart(&self) -> Result<(), ReplicationError> {
        let left = {
            let mut running = lock(&self.shared.running);
            running.take_if(|running| matches!(running, Running::Attached(_)))
        };
        if let Some(Running::Attached(attached)) = left {
            let birth = attached.birth;
            if let Err(error) = attached.stop() {
                tracing::warn!(%error, "the attachment had ended badly");
            }
            // nothing else waits for this: meanwhile none runs
            attached::await_return(&self.home(), birth);
            let mut running = lock(&self.shared.running);
            if running.is_some() || self.shared.stopped.load(Ordering::SeqCst) {
                return Ok(());
            }
            return self.shared.launch(&mut running);
        }
        self.shared.relaunch(&mut lock(&self.shared.running))
    }

    /// Starts the node again where it has ended by itself and could not be restarted at once; whether it did.
    pub fn revive(&self) -> Result<bool, ReplicationError> {
        let mut running = lock(&self.shared.running);
        let is_well = running.as_ref().is_some_and(|running| !running.has_ended());
        if is_well || self.shared.stopped.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.shared.relaunch(&mut running).map(|()| true)
    }

    /// Has the node use the home's changed configuration. Somebody else's reads it when they start it again.
    fn reconfigured(&self) -> Result<(), ReplicationError> {
        let mut running = lock(&self.shared.running);
        if let Some(Running::Attached(_)) = &*running {
            tracing::warn!(
                "the radicle-node of this home was not started by rhizome; what has changed in its configuration takes \
                 effect when it is started again"
            );
            return Ok(());
        }
        self.shared.relaunch(&mut running)
    }

    /// Who runs the node, and how well.
    pub fn mode(&self) -> Mode {
        match &*lock(&self.shared.running) {
            Some(running) if running.has_ended() => Mode::Stopped,
            Some(Running::Embedded(_)) => Mode::Embedded,
            Some(Running::Attached(attached)) => {
                let home = lock(&self.shared.home);
                Mode::Attached { is_silent: attached.control.is_silent(), is_outdated: attached.is_outdated(&home) }
            }
            None => Mode::Stopped,
        }
    }

    /// Whether the node runs. It may end by itself: see [`ReplicationEvent::Stopped`].
    pub fn is_running(&self) -> bool {
        lock(&self.shared.running).as_ref().is_some_and(|running| !running.has_ended())
    }

    /// Where the node listens, with the ports that were chosen.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        lock(&self.shared.running).as_ref().map(|running| running.addresses().to_vec()).unwrap_or_default()
    }

    /// Reports our own writes to `rid` from now on, also those of `rad` and `git push`, and beats on it. Where they
    /// stand is reported once at first.
    pub fn watch(&self, rid: RepoId) {
        lock(&self.shared.watched).insert(rid);
    }

    /// Neither reports nor beats on `rid` any more.
    pub fn unwatch(&self, rid: RepoId) {
        lock(&self.shared.watched).remove(&rid);
    }

    /// Tells the connected peers who may fetch `rid` where our references stand. Costs 1 to 3 ms.
    pub fn announce(&self, rid: RepoId) -> Result<(), ReplicationError> {
        let us = lock(&self.shared.home).public_key;
        *lock(&self.shared.announced).entry(rid).or_default() += 1;
        self.shared.announce(rid, us)
    }

    /// As [`Replication::announce`], together with what is announced within the next moment.
    pub fn announce_soon(&self, rid: RepoId, runtime: &tokio::runtime::Handle) {
        let before = lock(&self.shared.announced).get(&rid).copied();
        let replication = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(SOON_MS)).await;
            // any announcement since then told of this too
            if lock(&replication.shared.announced).get(&rid).copied() != before {
                return;
            }
            let announced = tokio::task::spawn_blocking(move || replication.announce(rid)).await;
            if let Ok(Err(error)) = announced {
                tracing::debug!(%rid, %error, "not announced; peers learn of it by the next announcement");
            }
        });
    }

    /// Takes part in the replication of `rid` with scope `all`, and tells connected peers that we are interested.
    pub fn seed(&self, rid: RepoId) -> Result<(), ReplicationError> {
        match self.shared.handle() {
            Ok(mut handle) => handle.seed(rid),
            Err(ReplicationError::Stopped) => Ok(repository::seed(&self.home(), rid)?),
            Err(error) => Err(error),
        }
    }
}

impl Shared {
    fn relaunch(&self, running: &mut Option<Running>) -> Result<(), ReplicationError> {
        if let Some(old) = running.take()
            && let Err(error) = old.stop()
        {
            // What crashed is what a restart is for.
            tracing::warn!(%error, "the node had ended badly");
        }
        self.launch(running)
    }

    fn launch(&self, running: &mut Option<Running>) -> Result<(), ReplicationError> {
        self.stopped.store(false, Ordering::SeqCst);
        let home = lock(&self.home).clone();
        let configured = home.config.node.listen.clone();
        *running = Some(Running::start(home, || self.choose_addresses(configured), &self.events)?);
        Ok(())
    }

    fn choose_addresses(&self, configured: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ReplicationError> {
        let mut listen = lock(&self.listen);
        let Some(listen) = &mut *listen else { return Ok(configured) };
        lock(&self.ports).extend(port::choose(listen)?);
        Ok(listen.clone())
    }

    fn handle(&self) -> Result<Handle, ReplicationError> {
        lock(&self.running).as_ref().map(Running::handle).ok_or(ReplicationError::Stopped)
    }

    fn announce(&self, rid: RepoId, namespace: NodeId) -> Result<(), ReplicationError> {
        self.handle()?.announce(rid, namespace)
    }
}

/// A panic elsewhere leaves these values whole: each is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn command<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl Fn(E) -> ReplicationError {
    move |source| ReplicationError::Command { action, source: Box::new(source) }
}
