//! The embedded Radicle node: it replicates ledgers and source repositories between peers.
//!
//! It must not know jobs, the view or the API. Everything here blocks: call it from a thread of its own or from
//! `spawn_blocking`. `radicle_node` is named in this module alone.

mod event;
pub mod garbage;
mod git;
mod own;
mod peers;
mod port;
mod pulse;
mod reach;
mod runtime;
pub mod source;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cobs::adapter::profile::{NodeHome, ProfileError};
use cobs::adapter::repository::{self, RepositoryFault};
use cobs::id::{NodeId, RepoId};
use radicle::node::Handle as _;
use radicle::node::policy::Scope;
use thiserror::Error;
use tokio::sync::mpsc;

pub use event::{FetchedRef, ReplicationEvent};
pub use peers::{Dialled, FetchError, Fetched, PeerSession, Reach, SessionStatus};
pub use sync::Synced;

use self::pulse::Pulse;
use self::runtime::Running;

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
    _pulse: Arc<Pulse>,
}

/// What the handles and the pulse share.
/// How long an announcement that is not urgent waits for others, in milliseconds.
const SOON_MS: u64 = 150;

struct Shared {
    home: Mutex<NodeHome>,
    running: Mutex<Option<Running>>,
    watched: Mutex<BTreeSet<RepoId>>,
    listen: Mutex<Option<Vec<SocketAddr>>>,
    /// The ports among them that the kernel chose.
    ports: Mutex<Vec<port::Placeholder>>,
    events: event::Outlet,
    /// How often each repository was announced.
    announced: Mutex<BTreeMap<RepoId, u64>>,
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
    /// Starts the node in `home`, with its control socket, and returns its events with it.
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
            watched: Mutex::new(BTreeSet::new()),
            listen: Mutex::new(options.listen),
            ports: Mutex::default(),
            announced: Mutex::default(),
            events: event::Outlet::new(sender),
        });
        shared.launch(&mut lock(&shared.running))?;
        let pulse = Arc::new(Pulse::start(shared.clone(), options.heartbeat));
        Ok((Self { shared, _pulse: pulse }, receiver))
    }

    /// The home as it is configured now.
    pub fn home(&self) -> NodeHome {
        lock(&self.shared.home).clone()
    }

    /// Stops the node; peers see a broken connection. Stopping twice is no error.
    pub fn stop(&self) -> Result<(), ReplicationError> {
        match lock(&self.shared.running).take() {
            Some(running) => running.stop(),
            None => Ok(()),
        }
    }

    /// Stops and starts the node, which then uses the home's present configuration. Takes about 0.3 s.
    pub fn restart(&self) -> Result<(), ReplicationError> {
        let mut running = lock(&self.shared.running);
        if let Some(old) = running.take()
            && let Err(error) = old.stop()
        {
            // What crashed is what a restart is for.
            tracing::warn!(%error, "the node had ended badly");
        }
        self.shared.launch(&mut running)
    }

    /// Whether the node runs. It may end by itself: see [`ReplicationEvent::Stopped`].
    pub fn is_running(&self) -> bool {
        lock(&self.shared.running).as_ref().is_some_and(|running| !running.has_ended())
    }

    /// Where the node listens, with the ports that were chosen.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        lock(&self.shared.running).as_ref().map(|running| running.addresses.clone()).unwrap_or_default()
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
            Ok(mut handle) => {
                handle.seed(rid, Scope::All).map_err(command("seed a repository"))?;
                Ok(())
            }
            Err(ReplicationError::Stopped) => Ok(repository::seed(&self.home(), rid)?),
            Err(error) => Err(error),
        }
    }
}

impl Shared {
    fn launch(&self, running: &mut Option<Running>) -> Result<(), ReplicationError> {
        let home = lock(&self.home).clone();
        let mut listen = lock(&self.listen);
        if let Some(listen) = &mut *listen {
            lock(&self.ports).extend(port::choose(listen)?);
        }
        let wanted = listen.clone().unwrap_or_else(|| home.config.node.listen.clone());
        *running = Some(Running::start(home, wanted, self.events.clone())?);
        Ok(())
    }

    fn handle(&self) -> Result<runtime::Handle, ReplicationError> {
        lock(&self.running).as_ref().map(|running| running.handle.clone()).ok_or(ReplicationError::Stopped)
    }

    fn announce(&self, rid: RepoId, namespace: NodeId) -> Result<(), ReplicationError> {
        self.handle()?.announce_refs_for(rid, [namespace]).map_err(command("announce references"))?;
        Ok(())
    }
}

/// A panic elsewhere leaves these values whole: each is replaced in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn command<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl Fn(E) -> ReplicationError {
    move |source| ReplicationError::Command { action, source: Box::new(source) }
}
