//! What the daemon does by period and by nudge. Each look is idempotent: the next one is its retry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use cobs::adapter::refs;
use cobs::adapter::signed::SIGNED;
use cobs::id::{JobId, NodeId, RepoId};
use scheduler::machine::{Event, Origin};

use crate::follower::Ask;
use crate::link::LinkEvent;
use crate::node::Node;
use crate::ops::error::Error;
use crate::ops::jobs::storage;
use crate::replication::{FetchedRef, ReplicationEvent};
use crate::store::UnixMs;
use crate::whereabouts::{Away, Way};
use crate::{clock, peering, runs};

/// Between two looks at what is missing or stale.
const LOOK: Duration = Duration::from_secs(30);
/// Between a fetch and its sync, so that many fetches have one.
const SYNCS_APART: Duration = Duration::from_millis(200);
/// Looks between two fetches of what may never be announced: a minute.
const LOOKS_PER_FETCH: u32 = 2;
/// A ledger whose own references moved is read again at most this often.
const OWN_SCAN: Duration = Duration::from_secs(1);

/// Starts the periodic work.
pub fn spawn(node: &Arc<Node>, stop: &CancellationToken) {
    tokio::spawn(stop.clone().run_until_cancelled_owned(link_events(Arc::clone(node))));
    tokio::spawn(stop.clone().run_until_cancelled_owned(capacity(Arc::clone(node))));
    tokio::spawn(stop.clone().run_until_cancelled_owned(sweeps(Arc::clone(node))));
    tokio::spawn(stop.clone().run_until_cancelled_owned(crate::archive::run(Arc::clone(node))));
    tokio::spawn(stop.clone().run_until_cancelled_owned(crate::context::runs::run(Arc::clone(node))));
    tokio::spawn(stop.clone().run_until_cancelled_owned(crate::radworks::run(Arc::clone(node))));
    tokio::spawn(crate::garbage::run(Arc::clone(node), stop.clone()));
}

async fn link_up(node: &Arc<Node>, peer: NodeId) {
    tracing::info!(%peer, "link up");
    node.whereabouts.came(Way::Link, peer);
    peering::restored::check(node, peer).await;
    let teller = Arc::clone(node);
    tokio::task::spawn_blocking(move || teller.claims.send(Event::PeerUp { node: peer })).await.ok();
    peering::tell_capacity(node, Some(peer)).await;
    peering::redial::ask(node, peer).await;
    crate::collect::retry(node, peer);
}

async fn capacity(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(peering::CAPACITY_PERIOD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // so that peers grant what has become free, and not what is taken
            () = node.capacity_changed.notified() => tokio::time::sleep(peering::CAPACITY_PAUSE).await,
        }
        peering::tell_capacity(&node, None).await;
    }
}

async fn sweeps(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(LOOK);
    let mut since_keep = runs::keep::PERIOD;
    let mut looks = 0_u32;
    loop {
        ticks.tick().await;
        looks = looks.wrapping_add(1);
        since_keep += LOOK;
        let keep = since_keep >= runs::keep::PERIOD;
        if keep {
            since_keep = Duration::ZERO;
        }
        let worker = Arc::clone(&node);
        let work = move || {
            worker.context.release_idle();
            worker.revive_replication();
            worker.fetch_missing_ledgers();
            if looks.is_multiple_of(LOOKS_PER_FETCH) {
                worker.fetch_unannounced();
            }
            worker.release_sources();
            worker.count_unfinished();
            // what failed at the very moment at which its peer came back
            for session in worker.link().map(crate::link::Link::sessions).into_iter().flatten() {
                crate::collect::retry(&worker, session.node);
                let asker = Arc::clone(&worker);
                worker.runtime.spawn(async move { peering::redial::ask(&asker, session.node).await });
            }
            if keep {
                runs::keep::sweep(&worker);
                let now = clock::unix_now();
                let ended = |job| worker.ended_at(job);
                if let Err(error) = worker.state.sweep_keys(now, ended) {
                    tracing::warn!(%error, "idempotency keys not swept");
                }
                if let Err(error) = worker.state.sweep_invitations(now) {
                    tracing::warn!(%error, "invitations not swept");
                }
            }
            if let Err(error) = worker.view.flush() {
                tracing::warn!(%error, "view not flushed");
            }
            worker.keep_whereabouts();
        };
        tokio::task::spawn_blocking(work).await.ok();
    }
}

async fn link_events(node: Arc<Node>) {
    let Some(link) = node.link().cloned() else { return };
    let mut events = link.subscribe();
    let mut heard_all = false;
    loop {
        if !heard_all {
            // those that came while the daemon started, or while this lagged behind
            for session in link.sessions() {
                link_up(&node, session.node).await;
            }
            heard_all = true;
        }
        match events.recv().await {
            Ok(LinkEvent::Connected { node: peer }) => link_up(&node, peer).await,
            Ok(LinkEvent::Disconnected { node: peer, parting }) => {
                tracing::info!(%peer, ?parting, "link down");
                node.replication.doubt();
                let teller = Arc::clone(&node);
                tokio::task::spawn_blocking(move || teller.claims.send(Event::PeerDown { node: peer })).await.ok();
                let away = Away { since: clock::unix_now(), reason: parting.to_string() };
                node.whereabouts.left(Way::Link, peer, away);
                node.block(|node| node.keep_whereabouts());
            }
            Err(broadcast::error::RecvError::Lagged(_)) => heard_all = false,
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Turns what was replicated into reads.
pub async fn replication(node: Arc<Node>, mut events: mpsc::Receiver<ReplicationEvent>) {
    let mut own: BTreeSet<RepoId> = BTreeSet::new();
    loop {
        let event = if own.is_empty() {
            events.recv().await
        } else {
            // own writes come in bursts, and the writer's own are read one by one already
            match tokio::time::timeout(OWN_SCAN, events.recv()).await {
                Ok(event) => event,
                Err(_) => {
                    for ledger in std::mem::take(&mut own) {
                        node.block(move |node| {
                            node.publish(ledger);
                            node.scan(ledger, Origin::Live);
                        });
                    }
                    continue;
                }
            }
        };
        let Some(event) = event else { return };
        match event {
            ReplicationEvent::RefsFetched { rid, from, refs } => {
                let worker = Arc::clone(&node);
                tokio::task::spawn_blocking(move || worker.fetched(rid, from, &refs)).await.ok();
            }
            ReplicationEvent::LocalRefsChanged { rid, .. } => drop(own.insert(rid)),
            ReplicationEvent::PeerConnected { peer } => {
                tracing::info!(%peer, "radicle session up");
                node.whereabouts.came(Way::Radicle, peer);
                if let Some(link) = node.link() {
                    link.nudge(&peer);
                }
                node.block(move |node| node.fetch_missing_ledgers());
                tokio::spawn(Arc::clone(&node).subscribe_again());
            }
            ReplicationEvent::PeerDisconnected { peer, reason } => {
                tracing::info!(%peer, reason, "radicle session down");
                node.whereabouts.left(Way::Radicle, peer, Away { since: clock::unix_now(), reason });
                let asker = Arc::clone(&node);
                tokio::spawn(async move { peering::redial::ask(&asker, peer).await });
            }
            ReplicationEvent::Missed => {
                for ledger in node.ledgers() {
                    node.block(move |node| node.scan(ledger, Origin::Live));
                }
            }
            ReplicationEvent::Stopped => {
                tracing::warn!("the radicle node ended by itself; it is started again");
                node.block(|node| {
                    let restarted = node.replication.restart();
                    node.problem("radicle", restarted.err().map(|error| runs::chain(&error)));
                });
            }
            ReplicationEvent::Announced { rid, at, when_ms } => {
                node.whereabouts.announced(rid, at, UnixMs(when_ms));
            }
            ReplicationEvent::Synced { .. } => {}
        }
    }
}

impl Node {
    /// What the last daemon left and what was written since: runs first, then every ledger. Blocks.
    ///
    /// # Errors
    /// When the runs cannot be read.
    pub fn take_up(self: &Arc<Self>) -> Result<(), Error> {
        // what `init`, `join` or `rad` stored before this start
        self.sync_storage();
        self.tell_admitted();
        let capacity = self.capacity();
        self.claims.send(Event::Capacity(Box::new(capacity)));
        self.runs.adopt(&self.claims).map_err(|error| storage(&error))?;
        for ledger in self.ledgers() {
            self.replication.watch(ledger);
            self.publish(ledger);
            self.scan(ledger, Origin::Start);
        }
        if self.state.lacks_notes().map_err(|error| storage(&error))? {
            self.state.has_notes().map_err(|error| storage(&error))?;
        }
        self.view.complete().map_err(|error| storage(&error))?;
        self.peers_changed();
        for ledger in self.ledgers() {
            self.publish_record(ledger);
        }
        self.make_up();
        Ok(())
    }

    /// A node that could not be started when the last one ended. Blocks.
    fn revive_replication(&self) {
        match self.replication.revive() {
            Ok(false) => {}
            Ok(true) => self.problem("radicle", None),
            Err(error) => self.problem("radicle", Some(runs::chain(&error))),
        }
    }

    /// References of a ledger came from a peer. Blocks for a moment.
    fn fetched(self: &Arc<Self>, rid: RepoId, from: NodeId, fetched: &[FetchedRef]) {
        if !self.ledgers().contains(&rid) {
            return;
        }
        tracing::debug!(%rid, %from, refs = fetched.len(), "fetched");
        self.sync_soon();
        let signed = fetched.iter().filter(|fetched| fetched.name == SIGNED);
        let signed: Vec<_> = signed.filter_map(|fetched| Some((fetched.namespace, fetched.new?))).collect();
        let reader = Arc::clone(self);
        let has_read = move || signed.iter().for_each(|(of, at)| reader.whereabouts.has_read(rid, *of, *at));
        let mut jobs: Vec<JobId> = fetched.iter().filter_map(|fetched| refs::job_of(&fetched.name)).collect();
        match jobs.pop() {
            None => has_read(),
            Some(last) => {
                jobs.into_iter().for_each(|job| self.follower.ask(Ask::Changed { ledger: rid, job }));
                // whatever was asked before it has been read by then
                self.follower.ask(Ask::Written { ledger: rid, job: last, then: Box::new(has_read) });
            }
        }
        if fetched.iter().any(|fetched| refs::is_archive(&fetched.name)) {
            // it may hold what was never live here
            self.scan(rid, Origin::Live);
        }
        if fetched.iter().any(|fetched| refs::is_peer_record(&fetched.name)) {
            self.read_records(rid);
        }
    }

    /// What was fetched is on the disk in a moment. Nothing waits for it: what this node writes on account of it is synced
    /// together with it, and what a power cut tears before that is removed at the next boot and fetched again.
    fn sync_soon(self: &Arc<Self>) {
        if self.syncing.swap(true, Ordering::Relaxed) {
            return;
        }
        let node = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(SYNCS_APART).await;
            node.syncing.store(false, Ordering::Relaxed);
            node.block(|node| node.sync_storage());
        });
    }

    /// What git stored is on the disk after this, or the failure is told. Blocks for a moment.
    pub fn sync_storage(&self) {
        match self.home().sync() {
            Ok(()) => self.problem("storage", None),
            Err(error) => {
                tracing::error!(%error, "cannot sync the storage");
                self.problem("storage", Some(error.to_string()));
            }
        }
    }

    /// Lets go of commits that were kept for jobs that are settled now. Blocks.
    pub fn release_sources(&self) {
        let kept = std::mem::take(&mut *self.settled_sources.lock().unwrap_or_else(PoisonError::into_inner));
        let mut by_repository: BTreeMap<RepoId, Vec<JobId>> = BTreeMap::new();
        for (repo, job) in kept {
            by_repository.entry(repo).or_default().push(job);
        }
        for (repo, jobs) in by_repository {
            if let Err(error) = self.replication.drop_commits(repo, &jobs) {
                tracing::debug!(%repo, %error, "kept commits not dropped");
            }
        }
    }

    /// Own jobs may lack what this node was to do for them when it ended: those that wait their commit at hand, those that
    /// settled meanwhile what they left. Blocks for a moment.
    fn make_up(self: &Arc<Self>) {
        const LOOK_BACK_JOBS: usize = 500;
        let mut waiting = Vec::new();
        for ledger in self.ledgers() {
            let mut query = crate::store::view::list::Query::newest(ledger, LOOK_BACK_JOBS);
            query.author = Some(self.id);
            let Ok(page) = self.view.list(&query) else { continue };
            let items: Vec<crate::ops::types::JobSummary> = serde_json::from_slice(&page.json).unwrap_or_default();
            for job in items.into_iter().filter_map(|item| self.known_job(item.id)) {
                crate::collect::after(self, &job);
                let source = job.create.spec.source.filter(|_| job.settled.is_none());
                waiting.extend(source.map(|source| (job.id, source)));
            }
        }
        let node = Arc::clone(self);
        self.runtime.spawn_blocking(move || {
            waiting.into_iter().for_each(|(job, source)| crate::source::keep(&node, job, source));
        });
    }

    fn keep_whereabouts(&self) {
        if let Err(error) = self.whereabouts.save(&self.files.whereabouts()) {
            tracing::debug!(%error, "what peers said is not written down");
        }
    }

    /// Ends what must end with the daemon. Runs go on. Blocks.
    pub fn wind_up(&self) {
        self.context.stop();
        self.claims.stop();
        self.follower.ask(Ask::Stop);
        self.writer.stop();
        if let Err(error) = self.replication.stop() {
            tracing::warn!(%error, "the radicle node ended badly");
        }
        if let Err(error) = self.view.flush() {
            tracing::warn!(%error, "view not flushed");
        }
        self.keep_whereabouts();
    }
}
