//! What the daemon does for its ledgers and those who share them: fetched, read, subscribed to, announced, and the records
//! by which members know each other. Each of it is idempotent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cobs::adapter::signed;
use cobs::adapter::writer::Draft;
use cobs::id::{NodeId, Oid, RepoId};
use cobs::peer::PeerRecord;
use scheduler::machine::Origin;

use crate::clock;
use crate::follower::Ask;
use crate::node::Node;
use crate::store::peers::{Peer, Standing};

/// How long the first fetch of a ledger may take.
const LEDGER_FETCH: Duration = Duration::from_secs(60);
/// How long a peer may say nothing while what it may not have announced is fetched: until then Radicle fetches the ledger
/// from no other.
const UNANNOUNCED_PAUSE: Duration = Duration::from_secs(5);
/// After a new session, until Radicle has settled which of two connections it keeps.
const HANDED_OVER: Duration = Duration::from_secs(1);
/// How long a peer that was invited is expected to dial before it is dialled.
const DIALS_FIRST: Duration = Duration::from_secs(5);

impl Node {
    /// The ledgers of this node.
    pub fn ledgers(&self) -> BTreeSet<RepoId> {
        let mut ledgers = self.state.settings().unwrap_or_default().ledgers;
        ledgers.extend(self.config.ledger);
        ledgers
    }

    /// Reads what changed in a ledger, and waits for it. Blocks.
    pub fn scan(&self, ledger: RepoId, origin: Origin) {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let then = Box::new(move || {
            // nobody waits any more when the daemon ends
            sender.send(()).ok();
        });
        let stood = self.members_heads(ledger);
        self.follower.ask(Ask::Scan { ledger, origin, then });
        receiver.recv().ok();
        for (namespace, at) in stood {
            self.whereabouts.has_read(ledger, namespace, at);
        }
    }

    /// Where the signed references of each member stand in this node's storage.
    fn members_heads(&self, ledger: RepoId) -> Vec<(NodeId, Oid)> {
        let Ok(repository) = cobs::adapter::repository::open(&self.home(), ledger) else { return Vec::new() };
        let members = cobs::adapter::ledger::members(&repository).unwrap_or_default().all();
        let head = |node: NodeId| Some((node, signed::head(&repository, &node).ok()??));
        members.into_iter().filter_map(head).collect()
    }

    /// Signs what is stored and not signed: a crash may have left it, or another program signed beside us.
    pub fn publish(&self, ledger: RepoId) {
        let reply = move |result: Result<_, cobs::adapter::writer::WriteError>| {
            if let Err(error) = result {
                tracing::debug!(%ledger, %error, "nothing published");
            }
        };
        self.writer.submit(Draft::Publish { ledger }, Box::new(reply));
    }

    /// Takes part in a ledger that was joined: fetches it as soon as a member is connected. Blocks.
    pub fn take_ledger(self: &Arc<Self>, ledger: RepoId) {
        self.replication.watch(ledger);
        for (peer, known) in self.peer_map() {
            for address in &known.radicle_addresses {
                if let Err(error) = self.replication.connect_peer(peer, address) {
                    tracing::warn!(%peer, address, %error, "radicle peer not dialled");
                }
            }
        }
        self.fetch_missing_ledgers();
    }

    /// Tells the peers once more which ledgers this node wants. Where both sides dialled, Radicle gives one connection up
    /// and drops with it what it had to say on the other, its subscription too: the peer would announce nothing to us.
    pub async fn subscribe_again(self: Arc<Self>) {
        tokio::time::sleep(HANDED_OVER).await;
        self.block(|node| {
            for ledger in node.ledgers() {
                if let Err(error) = node.replication.seed(ledger) {
                    tracing::debug!(%ledger, %error, "not subscribed again");
                }
            }
        });
    }

    /// Fetches ledgers that are not here yet. Blocks.
    pub fn fetch_missing_ledgers(self: &Arc<Self>) {
        for ledger in self.ledgers() {
            if cobs::adapter::ledger::get(&self.home(), ledger).is_ok() {
                continue;
            }
            if let Err(error) = self.replication.seed(ledger) {
                tracing::warn!(%ledger, %error, "ledger not seeded");
            }
            for peer in self.replication.connected() {
                match self.replication.fetch(ledger, peer, LEDGER_FETCH) {
                    Ok(_) => {
                        tracing::info!(%ledger, %peer, "ledger fetched");
                        self.sync_storage();
                        self.replication.watch(ledger);
                        self.scan(ledger, Origin::Live);
                        self.publish_record(ledger);
                        self.read_records(ledger);
                        break;
                    }
                    Err(error) => tracing::info!(%ledger, %peer, %error, "ledger not fetched yet"),
                }
            }
        }
    }

    /// Fetches the ledgers from every connected peer, announced or not: of a peer whose clock was set back, Radicle takes
    /// every announcement for an old one. What comes is heard of as an event. Blocks.
    pub fn fetch_unannounced(self: &Arc<Self>) {
        for ledger in self.ledgers() {
            for peer in self.replication.connected() {
                match self.replication.fetch(ledger, peer, UNANNOUNCED_PAUSE) {
                    Ok(fetched) if fetched.refs.is_empty() => {}
                    Ok(fetched) => {
                        tracing::info!(%ledger, %peer, refs = fetched.refs.len(), "fetched what was not announced");
                    }
                    Err(error) => tracing::debug!(%ledger, %peer, %error, "nothing fetched"),
                }
            }
        }
    }

    /// Writes this node's peer record into a ledger when it is another than the one there. Blocks for a moment.
    pub fn publish_record(&self, ledger: RepoId) {
        let Some(link) = self.link() else { return };
        let Ok(repository) = cobs::adapter::repository::open(&self.home(), ledger) else { return };
        let record = PeerRecord {
            protocol: cobs::PROTOCOL_VERSION,
            alias: self.own_alias.clone(),
            link_addresses: self.link_addresses(),
            radicle_addresses: self.radicle_addresses(),
            transport_key: link.local_key(),
            labels: self.config.node.labels.clone(),
            runners: self.capacity().runners.keys().copied().collect(),
        };
        let there = cobs::adapter::peer_record::read_peer_record(&repository, &self.id).ok().flatten();
        if there.as_ref() == Some(&record) {
            return;
        }
        let reply = |result: Result<_, cobs::adapter::writer::WriteError>| {
            if let Err(error) = result {
                tracing::warn!(%error, "peer record not written");
            }
        };
        self.writer.submit(Draft::PeerRecord { ledger, record }, Box::new(reply));
    }

    /// Takes over what peers say of themselves; a member that is new here is pending until someone approves it. Blocks.
    pub fn read_records(self: &Arc<Self>, ledger: RepoId) {
        let Ok(repository) = cobs::adapter::repository::open(&self.home(), ledger) else { return };
        let Ok(members) = cobs::adapter::ledger::members(&repository) else { return };
        let records = cobs::adapter::peer_record::read_peer_records(&repository).unwrap_or_default();
        let known = self.peer_map();
        for (node, record) in records {
            if node == self.id || !members.contains(&node) {
                continue;
            }
            let before = known.get(&node);
            let peer = Peer {
                alias: Some(record.alias),
                transport_key: Some(record.transport_key),
                link_addresses: record.link_addresses,
                radicle_addresses: record.radicle_addresses,
                grants: before.map(|peer| peer.grants.clone()).unwrap_or_default(),
                since: before.map_or_else(clock::unix_now, |peer| peer.since),
                standing: before.map_or(Standing::Pending, |peer| peer.standing),
            };
            if before == Some(&peer) {
                continue;
            }
            tracing::info!(peer = %node, new = before.is_none(), "peer record taken over");
            if let Err(error) = self.state.put_peer(&node, &peer) {
                tracing::error!(%error, "cannot write a peer");
            }
            if peer.standing == Standing::Approved {
                self.expect(node, &peer);
            }
        }
        self.peers_changed();
    }

    /// Has Radicle dial a peer from its next start on: whoever has started anew dials at once, and the other, for which it
    /// was away, a while later.
    fn expect(&self, peer: NodeId, known: &Peer) {
        for address in &known.radicle_addresses {
            if let Err(error) = self.replication.expect_peer(peer, address) {
                tracing::warn!(%peer, address, %error, "radicle peer not expected");
            }
        }
    }

    /// Announces a repository, or leaves it to the node's next start.
    pub fn announce(&self, ledger: RepoId) {
        if let Err(error) = self.replication.announce(ledger) {
            tracing::warn!(%ledger, %error, "not announced");
        }
    }

    /// After a joiner was admitted: Radicle expects it, and the link takes it. The joiner dials, since it has to have the
    /// ledger: were it dialled at the same moment, Radicle would give one connection up and drop with it what each had to
    /// say of itself, and a peer that has never been introduced is not listened to.
    pub fn peers_changed_by_pairing(self: &Arc<Self>) {
        self.peers_changed();
        for (peer, known) in self.peer_map() {
            if known.standing == Standing::Approved
                && known.radicle_addresses.is_empty()
                && let Err(error) = self.replication.admit_peer(peer)
            {
                tracing::warn!(%peer, %error, "limits not raised for the peer");
            }
            self.expect(peer, &known);
        }
        for ledger in self.ledgers() {
            self.announce(ledger);
        }
        self.runtime.spawn(Arc::clone(self).dial_absent());
    }

    /// Dials the approved peers that have not come by themselves.
    async fn dial_absent(self: Arc<Self>) {
        tokio::time::sleep(DIALS_FIRST).await;
        self.block(|node| {
            let connected = node.replication.connected();
            let absent =
                |(peer, known): &(NodeId, Peer)| known.standing == Standing::Approved && !connected.contains(peer);
            for (peer, known) in node.peer_map().into_iter().filter(absent) {
                for address in &known.radicle_addresses {
                    if let Err(error) = node.replication.connect_peer(peer, address) {
                        tracing::warn!(%peer, address, %error, "radicle peer not dialled");
                    }
                }
            }
        });
    }
}
