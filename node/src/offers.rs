//! What this node and its peers offer at this moment, and what was promised of it since.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cobs::id::NodeId;
use cobs::job::state::Job;
use scheduler::capacity::Capacity;

use crate::node::Node;

/// A peer's capacity older than this is unknown.
pub const CAPACITY_FRESH: Duration = Duration::from_secs(15);
/// A root grant younger than this may not have reached the peer when it told its capacity.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// How long a look at the machine is good for: a burst of submits must not look once for each.
const LOOK_FRESH: Duration = Duration::from_millis(200);

/// What is known of a peer in this life of the daemon.
#[derive(Clone, Debug)]
pub struct PeerNow {
    /// What it offers.
    pub capacity: Capacity,
    /// Whether it takes our jobs.
    pub admits: bool,
    /// When it said so.
    pub at: Instant,
    /// Jobs granted to it in root operations that it may not have counted, by the nonces of the roots.
    granted: BTreeMap<String, Instant>,
}

impl PeerNow {
    /// What it offers, less what it was granted since.
    pub fn left(self) -> Capacity {
        let granted = u32::try_from(self.granted.len()).unwrap_or(u32::MAX);
        let slots_used = self.capacity.slots_used.saturating_add(granted);
        Capacity { slots_used, ..self.capacity }
    }
}

/// What peers offer, by node.
pub type Offers = Mutex<BTreeMap<NodeId, PeerNow>>;

/// A slot of this node that a root operation takes which is still on its way into the ledger.
pub struct Promise(Arc<AtomicU32>);

impl Promise {
    /// Takes it until this is dropped.
    pub fn new(promised: &Arc<AtomicU32>) -> Self {
        promised.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(promised))
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    /// What this node offers now. Blocks for a moment.
    pub fn capacity(&self) -> Capacity {
        let slots_used = self.claims.machine().slots_used();
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        let (probe, last) = &mut *probe;
        match last {
            Some((at, capacity)) if at.elapsed() < LOOK_FRESH => Capacity { slots_used, ..capacity.clone() },
            Some(_) | None => {
                let capacity = probe.sample(slots_used, self.runs.root());
                *last = Some((Instant::now(), capacity.clone()));
                capacity
            }
        }
    }

    /// What a peer said of itself lately.
    pub fn peer_now(&self, node: &NodeId) -> Option<PeerNow> {
        self.last_offer(node).filter(|now| now.at.elapsed() < CAPACITY_FRESH)
    }

    /// What a peer said of itself last, however long ago.
    pub fn last_offer(&self, node: &NodeId) -> Option<PeerNow> {
        self.offers().get(node).cloned()
    }

    /// A peer says what it offers.
    pub fn peer_offers(&self, node: NodeId, capacity: Capacity, admits: bool) {
        let mut peers = self.offers();
        let mut granted = peers.remove(&node).map(|now| now.granted).unwrap_or_default();
        granted.retain(|_, at| at.elapsed() < ON_ITS_WAY);
        peers.insert(node, PeerNow { capacity, admits, at: Instant::now(), granted });
    }

    /// Counts a grant against a peer's last known capacity, until the job has ended or the peer counts it itself.
    pub fn granted_to(&self, node: &NodeId, nonce: &str) {
        if let Some(now) = self.offers().get_mut(node) {
            now.granted.insert(nonce.to_owned(), Instant::now());
        }
    }

    /// A job was read: when its run has ended it takes no slot any more.
    pub fn no_longer_granted(&self, job: &Job) {
        let Some(grant) = &job.create.grant else { return };
        let ended = job.settled.is_some() || !job.dones.is_empty();
        if grant.node == self.id || !ended {
            return;
        }
        if let Some(now) = self.offers().get_mut(&grant.node) {
            now.granted.remove(&job.create.nonce);
        }
    }

    fn offers(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, PeerNow>> {
        self.peers_now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
