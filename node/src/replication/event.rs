//! What the node tells the daemon, and how it gets there without ever holding the node up.
//!
//! It must not know what references mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use cobs::id::{NodeId, Oid, RepoId};
use radicle::node::events::{Event, Events};
use radicle::storage::RefUpdate;
use tokio::sync::mpsc;

use super::ReplicationError;
use super::runtime::spawn;

/// How soon the pump notices that its runtime was stopped, and repeats a report that did not fit.
pub(super) const PUMP_IDLE_MS: u64 = 200;

/// One reference that a fetch changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedRef {
    /// Whose.
    pub namespace: NodeId,
    /// Its name within the namespace, such as `refs/cobs/io.rhizome.job/…`.
    pub name: String,
    /// Where it points now; none if it was deleted.
    pub new: Option<Oid>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicationEvent {
    /// A fetch changed references; unchanged ones are not listed.
    RefsFetched {
        /// The repository.
        rid: RepoId,
        /// The peer fetched from, which need not be the author.
        from: NodeId,
        /// What changed.
        refs: Vec<FetchedRef>,
    },
    /// A peer has fetched our references as of `at`, our signed references' commit.
    Synced {
        /// The repository.
        rid: RepoId,
        /// The peer.
        by: NodeId,
        /// What it has.
        at: Oid,
    },
    /// Our signed references were announced as of `at`; told of each heartbeat too.
    Announced {
        /// The repository.
        rid: RepoId,
        /// Our signed references' commit.
        at: Oid,
        /// When, in milliseconds since 1970.
        when_ms: u64,
    },
    /// Our own signed references moved: by us, by `rad` or by `git push`.
    LocalRefsChanged {
        /// The repository.
        rid: RepoId,
        /// Our signed references' commit.
        at: Oid,
    },
    /// A peer is connected.
    PeerConnected {
        /// Which.
        peer: NodeId,
    },
    /// A peer is no longer connected.
    PeerDisconnected {
        /// Which.
        peer: NodeId,
        /// Radicle's words for why.
        reason: String,
    },
    /// Some events did not fit: look at everything again.
    Missed,
    /// The node ended without being asked to by us (`rad node stop`, or a fault), ours or the one that we were attached
    /// to: restart it or give up.
    Stopped,
}

/// The sending side: never blocks, and never loses the fact that something was lost.
#[derive(Clone)]
pub(super) struct Outlet {
    sender: mpsc::Sender<ReplicationEvent>,
    missed: Arc<AtomicBool>,
}

impl Outlet {
    pub(super) fn new(sender: mpsc::Sender<ReplicationEvent>) -> Self {
        Self { sender, missed: Arc::new(AtomicBool::new(false)) }
    }

    pub(super) fn send(&self, event: ReplicationEvent) {
        if !self.report_missed() || self.sender.try_send(event).is_err() {
            self.missed.store(true, Ordering::SeqCst);
        }
    }

    /// Whether there is room again, the loss being reported if there was one.
    pub(super) fn report_missed(&self) -> bool {
        if !self.missed.load(Ordering::SeqCst) {
            return true;
        }
        let reported = self.sender.try_send(ReplicationEvent::Missed).is_ok();
        if reported {
            self.missed.store(false, Ordering::SeqCst);
        }
        reported
    }

    /// Events were lost before they came here; told with the next one, or by the next idle pump.
    pub(super) fn lose(&self) {
        self.missed.store(true, Ordering::SeqCst);
    }

    /// The runtime ended by itself.
    pub(super) fn stopped(&self) {
        self.send(ReplicationEvent::Stopped);
    }
}

/// Carries the runtime's events to the daemon until the runtime is stopped.
pub(super) fn pump(
    events: Events,
    us: NodeId,
    outlet: Outlet,
    stopping: Arc<AtomicBool>,
) -> Result<(), ReplicationError> {
    spawn("radicle-events", move || {
        loop {
            match events.recv_timeout(Duration::from_millis(PUMP_IDLE_MS)) {
                Ok(event) => {
                    if let Some(event) = translate(event, us) {
                        outlet.send(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    outlet.report_missed();
                    // Radicle's control thread keeps its end of the channel for ever.
                    if stopping.load(Ordering::SeqCst) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    })?;
    Ok(())
}

pub(super) fn translate(event: Event, us: NodeId) -> Option<ReplicationEvent> {
    match event {
        Event::RefsFetched { remote, rid, updated } => {
            let refs = changed(&updated);
            (!refs.is_empty()).then_some(ReplicationEvent::RefsFetched { rid, from: remote, refs })
        }
        Event::RefsSynced { remote, rid, at } => Some(ReplicationEvent::Synced { rid, by: remote, at }),
        Event::LocalRefsAnnounced { rid, refs, timestamp } if refs.remote == us => {
            Some(ReplicationEvent::Announced { rid, at: refs.at, when_ms: *timestamp })
        }
        Event::PeerConnected { nid } => Some(ReplicationEvent::PeerConnected { peer: nid }),
        Event::PeerDisconnected { nid, reason } => Some(ReplicationEvent::PeerDisconnected { peer: nid, reason }),
        // Radicle's enum is open: what it may tell tomorrow is nothing that we wait for.
        _ => None,
    }
}

/// The references that a fetch changed, of all that it lists.
pub(super) fn changed(updated: &[RefUpdate]) -> Vec<FetchedRef> {
    let mut refs = Vec::new();
    for update in updated.iter().filter(|update| !update.is_skipped()) {
        // References outside the namespaces are Radicle's own canonical ones.
        if let Ok((namespace, name)) = radicle::git::parse_ref_namespaced::<NodeId>(update.name().as_str()) {
            refs.push(FetchedRef { namespace, name: name.to_string(), new: update.new() });
        }
    }
    refs
}
