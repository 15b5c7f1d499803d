//! Who our peers are and which one connection with each of them counts.
//!
//! Both sides may dial at once. The acceptor decides, and answers before anything is sent: a session that lives
//! stays; the smaller key lets the other's connection wait while its own dial is on its way; and should two have
//! been admitted all the same, both sides keep the one that the smaller key dialled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cobs::id::NodeId;
use cobs::transport_key::TransportKey;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

use super::error::LinkError;
use super::session::{Dialler, Parting, Session};
use super::{Authorize, LinkEvent, PeerAddress, limits};

/// What is being done about a connection with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Dialling,
    Connected,
}

/// What the task that dials a peer watches.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) nudge: Arc<Notify>,
}

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Unknown,
    Duplicate,
}

struct Slot {
    peer: PeerAddress,
    session: Option<Arc<Session>>,
    phase: watch::Sender<Phase>,
    nudge: Arc<Notify>,
    trouble: Option<Arc<LinkError>>,
    _dialler: AbortOnDropHandle<()>,
}

impl Slot {
    fn leave(&mut self, parting: Parting, events: &broadcast::Sender<LinkEvent>) {
        let Some(session) = self.session.take() else { return };
        session.part(parting);
        self.phase.send_replace(Phase::Idle);
        // Without a subscriber nobody is to be told.
        let _ = events.send(LinkEvent::Disconnected { node: session.node, parting: session.parting() });
    }

    fn enter(&mut self, session: &Arc<Session>, events: &broadcast::Sender<LinkEvent>) {
        self.session = Some(session.clone());
        self.trouble = None;
        self.phase.send_replace(Phase::Connected);
        let _ = events.send(LinkEvent::Connected { node: session.node });
    }
}

pub(super) struct Peers {
    local: TransportKey,
    authorize: Authorize,
    slots: Mutex<BTreeMap<NodeId, Slot>>,
    events: broadcast::Sender<LinkEvent>,
    next_session: AtomicU64,
}

impl Peers {
    pub(super) fn new(local: TransportKey, authorize: Authorize) -> Self {
        Self {
            local,
            authorize,
            slots: Mutex::default(),
            events: broadcast::Sender::new(limits::EVENTS_MAX),
            next_session: AtomicU64::new(0),
        }
    }

    pub(super) fn next_session_id(&self) -> u64 {
        self.next_session.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<LinkEvent> {
        self.events.subscribe()
    }

    /// Replaces the set: ends what is in it no longer or under another key, and has the rest dialled by `dial`.
    pub(super) fn set(
        &self,
        peers: BTreeMap<NodeId, PeerAddress>,
        dial: impl Fn(NodeId, PeerAddress, Signals) -> AbortOnDropHandle<()>,
    ) {
        let mut slots = self.lock();
        slots.retain(|node, slot| {
            let stays = peers.get(node).is_some_and(|peer| peer.key == slot.peer.key);
            if !stays {
                slot.leave(Parting::Cut, &self.events);
            }
            stays
        });
        for (node, peer) in peers {
            let session = match slots.remove(&node) {
                Some(slot) if slot.peer == peer => {
                    slots.insert(node, slot);
                    continue;
                }
                // Only its addresses changed: what is connected stays, and the new ones are dialled.
                Some(slot) => slot.session,
                None => None,
            };
            let phase = watch::Sender::new(if session.is_some() { Phase::Connected } else { Phase::Idle });
            let nudge = Arc::new(Notify::new());
            let signals = Signals { phase: phase.subscribe(), nudge: nudge.clone() };
            let _dialler = dial(node, peer.clone(), signals);
            slots.insert(node, Slot { peer, session, phase, nudge, trouble: None, _dialler });
        }
    }

    /// Ends and forgets a peer.
    pub(super) fn cut(&self, node: &NodeId) {
        if let Some(mut slot) = self.lock().remove(node) {
            slot.leave(Parting::Cut, &self.events);
        }
    }

    /// The peer that this key belongs to, if it is in the set under this key and authorised now.
    pub(super) fn node_of(&self, key: &TransportKey) -> Option<NodeId> {
        let node = (self.authorize)(key)?;
        self.lock().get(&node).is_some_and(|slot| slot.peer.key == *key).then_some(node)
    }

    pub(super) fn session(&self, node: &NodeId) -> Option<Arc<Session>> {
        self.lock().get(node)?.session.clone()
    }

    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        self.lock().values().filter_map(|slot| slot.session.clone()).collect()
    }

    pub(super) fn nudge(&self, node: &NodeId) {
        if let Some(slot) = self.lock().get(node) {
            slot.nudge.notify_one();
        }
    }

    pub(super) fn trouble(&self, node: &NodeId) -> Option<Arc<LinkError>> {
        self.lock().get(node)?.trouble.clone()
    }

    pub(super) fn note_trouble(&self, node: &NodeId, error: LinkError) {
        if let Some(slot) = self.lock().get_mut(node) {
            slot.trouble = slot.session.is_none().then(|| Arc::new(error));
        }
    }

    /// Takes a connection that the peer dialled, or says why not.
    pub(super) async fn admit(&self, session: &Arc<Session>) -> Result<(), Refusal> {
        if self.local < session.key {
            self.await_own_dial(&session.node).await;
        }
        let rival = match self.enter_if_free(session)? {
            None => return Ok(()),
            Some(rival) => rival,
        };
        if rival.lives(Duration::from_millis(limits::PROOF_OF_LIFE_MS)).await {
            return Err(Refusal::Duplicate);
        }
        self.leave(&rival, Parting::Replaced);
        match self.enter_if_free(session)? {
            None => Ok(()),
            Some(_) => Err(Refusal::Duplicate),
        }
    }

    /// Takes a connection that we dialled and the peer admitted.
    pub(super) fn keep(&self, session: &Arc<Session>) -> Result<(), Refusal> {
        let mut slots = self.lock();
        let slot = slots.get_mut(&session.node).filter(|slot| slot.peer.key == session.key);
        let slot = slot.ok_or(Refusal::Unknown)?;
        if let Some(rival) = &slot.session {
            if rival.dialler == Dialler::Them && session.key < self.local {
                return Err(Refusal::Duplicate);
            }
            slot.leave(Parting::Replaced, &self.events);
        }
        slot.enter(session, &self.events);
        Ok(())
    }

    /// Forgets `session`, unless another has taken its place already.
    pub(super) fn leave(&self, session: &Session, parting: Parting) {
        session.part(parting);
        if let Some(slot) = self.lock().get_mut(&session.node)
            && slot.session.as_ref().is_some_and(|current| current.id == session.id)
        {
            slot.leave(parting, &self.events);
        }
    }

    /// Marks a dial as begun, if there is anything to dial for.
    pub(super) fn begin_dial(&self, node: &NodeId) -> bool {
        self.shift(node, Phase::Idle, Phase::Dialling)
    }

    /// Marks a dial as over without a session.
    pub(super) fn end_dial(&self, node: &NodeId) {
        self.shift(node, Phase::Dialling, Phase::Idle);
    }

    fn shift(&self, node: &NodeId, from: Phase, to: Phase) -> bool {
        self.lock().get(node).is_some_and(|slot| {
            slot.phase.send_if_modified(|phase| {
                let shifts = *phase == from;
                if shifts {
                    *phase = to;
                }
                shifts
            })
        })
    }

    /// `None` once the session is entered; otherwise the one that is there.
    fn enter_if_free(&self, session: &Arc<Session>) -> Result<Option<Arc<Session>>, Refusal> {
        let mut slots = self.lock();
        let slot = slots.get_mut(&session.node).filter(|slot| slot.peer.key == session.key);
        let slot = slot.ok_or(Refusal::Unknown)?;
        if slot.session.is_none() {
            slot.enter(session, &self.events);
            return Ok(None);
        }
        Ok(slot.session.clone())
    }

    async fn await_own_dial(&self, node: &NodeId) {
        let Some(mut phase) = self.lock().get(node).map(|slot| slot.phase.subscribe()) else { return };
        let settled = phase.wait_for(|phase| *phase != Phase::Dialling);
        // After the wait the other's connection is as good as ours.
        let _ = tokio::time::timeout(Duration::from_millis(limits::TIE_WAIT_MS), settled).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Slot>> {
        self.slots.lock().expect("nothing panics while it holds the lock")
    }
}
