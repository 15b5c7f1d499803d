//! The node: what its threads and tasks share, and how the claim machine's effects are carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, broadcast};

use cobs::adapter::profile::NodeHome;
use cobs::adapter::writer::{Draft, Urgency, WriteError, WriterHandle, Written};
use cobs::digest::Digest;
use cobs::id::{JobId, NodeId, RepoId, RunId};
use cobs::job::action::Action;
use cobs::job::outcome::RunOutcome;
use cobs::job::state::Job;
use scheduler::capacity::Capacity;
use scheduler::machine::{Asked, Effect, Event};
use scheduler::probe::Probe;

use crate::blobs::Blobs;
use crate::claims::Claims;
use crate::config::Config;
use crate::follower::{Ask, Follower, Seen};
use crate::link::Link;
use crate::offers::Offers;
use crate::replication::Replication;
use crate::runs::Runs;
use crate::runs::prepare::{self, Unprepared};
use crate::store::peers::{Grant, Peer, Standing};
use crate::store::state::State;
use crate::store::view::View;
use crate::whereabouts::Whereabouts;

/// Changes of jobs that a slow listener may lag behind before it reads the view anew.
pub const CHANGES_MAX: usize = 4096;

/// Runs of one author that are prepared at once: a slow source of one must hold up neither the others nor the pool.
const PREPARED_AT_ONCE: usize = 4;
/// The node. Everything that acts holds it by `Arc`.
pub struct Node {
    /// Its key.
    pub id: NodeId,
    /// What people call it.
    pub own_alias: String,
    /// Where its files are.
    pub files: crate::config::home::Home,
    /// What it was started with.
    pub config: Config,
    /// Each value of the configuration with where it came from.
    pub settings: Vec<crate::config::Setting>,
    /// Tokens, peers, promises.
    pub state: Arc<State>,
    /// The jobs.
    pub view: Arc<View>,
    /// Inputs, and copies of what its jobs left.
    pub blobs: Blobs,
    /// The vault.
    pub context: crate::context::Context,
    /// The one writer.
    pub writer: WriterHandle,
    /// The one reader of ledgers.
    pub follower: Follower,
    /// The claim machine.
    pub claims: Claims,
    /// Its runs.
    pub runs: Arc<Runs>,
    /// The embedded Radicle node.
    pub replication: Replication,
    /// The capacity probe, and what it said last.
    pub probe: Mutex<(Probe, Option<(Instant, Capacity)>)>,
    /// Jobs as they change.
    pub changes: broadcast::Sender<JobId>,
    /// When the daemon started.
    pub started: Instant,
    /// Where tasks run.
    pub runtime: Handle,
    /// How many unfinished jobs it may have.
    pub limits: crate::ops::unfinished::Limits,
    /// What went wrong and stands; shown by `/health`.
    pub problems: Mutex<BTreeMap<&'static str, String>>,
    pub(crate) link: OnceLock<Link>,
    pub(crate) link_identity: OnceLock<Arc<crate::link::LinkIdentity>>,
    pub(crate) api_addresses: OnceLock<Vec<String>>,
    /// Who may come over the link, by key.
    pub(crate) authorized: Arc<std::sync::RwLock<BTreeMap<cobs::transport_key::TransportKey, NodeId>>>,
    /// Commits kept for jobs that are settled now.
    pub(crate) settled_sources: Mutex<BTreeSet<(RepoId, JobId)>>,
    /// Slots of this node that root operations take which are still on their way into the ledger.
    pub(crate) promised: Arc<AtomicU32>,
    /// Which peer lacks what it would need to answer for a job.
    pub(crate) lacking: crate::peering::shown::Lacking,
    /// A sync of what was fetched is on its way.
    pub(crate) syncing: AtomicBool,
    pub(crate) peers_now: Offers,
    pub(crate) whereabouts: Whereabouts,
    /// Jobs to be shown in their source repositories.
    pub(crate) radworks: crate::radworks::Waiting,
    /// Wakes who tells peers what this node offers.
    pub(crate) capacity_changed: Notify,
    /// Places to prepare runs in, by author.
    pub(crate) preparing: Mutex<BTreeMap<NodeId, Arc<Semaphore>>>,
    /// Reports that are being brought home, or are here.
    pub(crate) collecting: Mutex<BTreeSet<(JobId, cobs::id::Token)>>,
    /// Jobs whose logs or artifacts are still on a peer.
    pub(crate) to_collect: Mutex<BTreeMap<NodeId, BTreeSet<JobId>>>,
    /// Unsettled jobs as last read, and those that settled lately.
    pub(crate) jobs: Mutex<BTreeMap<JobId, (RepoId, Arc<Job>)>>,
}

impl Node {
    /// The opened Radicle home.
    pub fn home(&self) -> NodeHome {
        self.replication.home()
    }

    /// The direct link; there from the moment the daemon serves.
    pub fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// A job as last read.
    pub fn known_job(&self, id: JobId) -> Option<Arc<Job>> {
        if let Some((_, job)) = self.lock_jobs().get(&id) {
            return Some(Arc::clone(job));
        }
        let stored = self.view.job(id).ok().flatten()?;
        serde_json::from_slice(&stored.full).ok().map(Arc::new)
    }

    /// Whether a job that is not settled has an input of this content.
    pub fn is_input_of_unsettled(&self, digest: Digest) -> bool {
        let needs =
            |job: &Job| job.settled.is_none() && job.create.spec.inputs.iter().any(|input| input.digest == digest);
        self.lock_jobs().values().any(|(_, job)| needs(job))
    }

    /// The ledger of a job.
    pub fn ledger_of(&self, id: JobId) -> Option<RepoId> {
        if let Some((ledger, _)) = self.lock_jobs().get(&id) {
            return Some(*ledger);
        }
        self.view.job(id).ok().flatten().map(|stored| stored.row.ledger)
    }

    /// What a peer may do here; nothing when it is not approved.
    pub fn grants(&self, node: &NodeId) -> BTreeSet<Grant> {
        let peer = self.state.peer(node).ok().flatten();
        peer.filter(|peer| peer.standing == Standing::Approved).map(|peer| peer.grants).unwrap_or_default()
    }

    /// All peers in the state; empty when it cannot be read, which is logged.
    pub fn peer_map(&self) -> BTreeMap<NodeId, Peer> {
        self.state.peers().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the peers");
            BTreeMap::new()
        })
    }

    /// What people call a node.
    pub fn alias(&self, node: &NodeId) -> String {
        if *node == self.id {
            return self.own_alias.clone();
        }
        let alias = self.state.peer(node).ok().flatten().and_then(|peer| peer.alias);
        alias.unwrap_or_else(|| node.to_string().chars().take(12).collect())
    }

    /// Notes or clears what is wrong.
    pub fn problem(&self, what: &'static str, detail: Option<String>) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        match detail {
            Some(detail) => problems.insert(what, detail),
            None => problems.remove(what),
        };
    }

    /// Whether something of this name is wrong.
    pub fn has_problem(&self, what: &'static str) -> bool {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).contains_key(what)
    }

    /// A job was read: the machine is told, and whoever watches it.
    pub fn saw(self: &Arc<Self>, seen: Seen) {
        let id = seen.job.id;
        let token = seen.job.holder().map(|(token, _)| token.to_string());
        tracing::debug!(job = %id, status = ?seen.job.status(), token, reports = seen.job.dones.len(), "job seen");
        let (notes, unknown) = self.notes_of(&seen.job);
        self.lock_jobs().insert(id, (seen.ledger, Arc::clone(&seen.job)));
        let event = scheduler::machine::JobSeen {
            job: Arc::clone(&seen.job),
            created_ms: seen.created.0,
            origin: seen.origin,
            notes,
            unknown,
            shown: seen.shown,
        };
        self.claims.send(Event::Job(Box::new(event)));
        self.no_longer_granted(&seen.job);
        if seen.job.holder().is_some_and(|(token, own)| own.node == self.id && seen.job.dones.contains_key(&token)) {
            self.capacity_changed.notify_one();
        }
        crate::collect::after(self, &seen.job);
        self.radworks.add(&seen.job);
        if let Some(source) =
            seen.job.create.spec.source.filter(|_| seen.job.author == self.id && seen.job.settled.is_some())
        {
            self.settled_sources.lock().unwrap_or_else(PoisonError::into_inner).insert((source.repo, id));
        }
        // nobody may be listening
        self.changes.send(id).ok();
        self.forget_settled();
    }

    /// Keeps the map of jobs small: settled ones are in the view.
    fn forget_settled(&self) {
        const JOBS_MAX: usize = 4096;
        let mut jobs = self.lock_jobs();
        if jobs.len() > JOBS_MAX {
            jobs.retain(|_, (_, job)| job.settled.is_none());
        }
    }

    /// Carries out an effect of the machine without blocking its thread. What comes back is the next event.
    pub fn execute(self: &Arc<Self>, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Sign { job, kind, action, why } => {
                tracing::debug!(%job, action = action.name(), why, "signs");
                let Some(ledger) = self.ledger_of(job) else { return Some(Event::NotSigned { job, kind }) };
                let node = Arc::clone(self);
                let reply = move |result: Result<Written, WriteError>| node.signed(ledger, job, kind, result);
                let draft = Draft::Append { ledger, job, urgency: self.urgency(job, &action), action };
                self.writer.submit(draft, Box::new(reply));
                None
            }
            Effect::Note { job, token, note } => {
                self.runtime.spawn(Arc::clone(self).note_term(job, token, note));
                None
            }
            Effect::Send { to, message } => {
                crate::peering::send(self, to, message);
                None
            }
            Effect::Prepare { run } => {
                self.runtime.spawn(Arc::clone(self).prepare(run));
                None
            }
            Effect::Start { run, deadline } => {
                tracing::debug!(%run, "starts");
                self.block(move |node| {
                    if node.may_have_begun(run.job) {
                        node.runs.refuse(run, &node.claims);
                    } else {
                        node.runs.start(run, deadline, &node.claims);
                    }
                    node.changes.send(run.job).ok();
                    node.capacity_changed.notify_one();
                });
                None
            }
            Effect::Extend { run, deadline } => {
                self.block(move |node| node.runs.extend(run, deadline));
                None
            }
            Effect::Stop { run, reason, grace } => {
                self.block(move |node| node.runs.stop(run, reason, grace));
                None
            }
            Effect::Discard { run } => {
                self.block(move |node| node.runs.discard(run));
                None
            }
        }
    }

    /// Fetches what a run needs, in its author's turn.
    async fn prepare(self: Arc<Self>, run: RunId) {
        let author = self.known_job(run.job).map_or(self.id, |job| job.author);
        let turns = Arc::clone(
            self.preparing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(author)
                .or_insert_with(|| Arc::new(Semaphore::new(PREPARED_AT_ONCE))),
        );
        let _turn = turns.acquire_owned().await;
        let node = Arc::clone(&self);
        let work = move || match node.known_job(run.job) {
            Some(job) => prepare::prepare(&node, run, &job),
            None => Err(Unprepared::Never("the job is not here".into())),
        };
        let prepared = tokio::task::spawn_blocking(work).await;
        let prepared = prepared.unwrap_or_else(|error| Err(Unprepared::Never(format!("preparing it failed: {error}"))));
        let event = match prepared {
            Ok(request) => {
                tracing::debug!(%run, "prepared");
                self.runs.note(run, |active| active.request = Some(Arc::new(request)));
                Event::Prepared { run }
            }
            Err(Unprepared::Now(reason)) => Event::NotPrepared { run, outcome: RunOutcome::Released, reason },
            Err(Unprepared::Never(reason)) => Event::NotPrepared { run, outcome: RunOutcome::CouldNotStart, reason },
        };
        // the machine's queue may be full for a moment
        self.block(move |node| node.claims.send(event));
    }

    /// A settle of an own job is awaited by nobody else, and its fetch would be in the way of the next grant's.
    fn urgency(&self, job: JobId, action: &Action) -> Urgency {
        let own = || self.known_job(job).is_some_and(|job| job.author == self.id);
        if matches!(action, Action::Settle(_)) && own() { Urgency::Soon } else { Urgency::Now }
    }

    /// The writer's word on an operation of the machine: the job is read again, and only then is the machine told.
    fn signed(self: &Arc<Self>, ledger: RepoId, job: JobId, kind: Asked, result: Result<Written, WriteError>) {
        let event = match result {
            Ok(_) => {
                self.problem("ledger", None);
                Event::Signed { job, kind }
            }
            Err(error) => {
                tracing::warn!(%job, ?kind, %error, "operation not written");
                self.problem("ledger", Some(crate::runs::chain(&error)));
                Event::NotSigned { job, kind }
            }
        };
        let node = Arc::clone(self);
        let then = Box::new(move || node.claims.send(event));
        self.follower.ask(Ask::Written { ledger, job, then });
    }

    /// Runs blocking work on the pool.
    pub fn block(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let node = Arc::clone(self);
        self.runtime.spawn_blocking(move || work(&node));
    }

    /// The key and certificate of the direct link.
    ///
    /// # Errors
    /// While the daemon starts.
    pub fn identity(&self) -> Result<Arc<crate::link::LinkIdentity>, crate::ops::error::Error> {
        use crate::ops::error::{Code, Error};
        self.link_identity.get().cloned().ok_or_else(|| Error::new(Code::Busy, "the daemon is starting"))
    }

    /// Where peers reach the direct link: what the config adds first, then where it listens.
    pub fn link_addresses(&self) -> Vec<String> {
        let own = self.link().map(|link| crate::pairing::reachable(link.local_addresses())).unwrap_or_default();
        self.config.link.addresses.iter().cloned().chain(own).collect()
    }

    /// Where peers reach the Radicle node.
    pub fn radicle_addresses(&self) -> Vec<String> {
        crate::pairing::reachable(&self.replication.local_addresses())
    }

    /// Tells the machine whose jobs may run here, and whose may name this node as their arbiter.
    pub fn tell_admitted(&self) {
        let peers = self.peer_map();
        let with = |grant: Grant| {
            let may = move |(node, peer): (&NodeId, &Peer)| {
                (peer.standing == Standing::Approved && peer.grants.contains(&grant)).then_some(*node)
            };
            peers.iter().filter_map(may).collect()
        };
        self.claims.send(Event::Workers(with(Grant::Run)));
        self.claims.send(Event::Arbitrates(with(Grant::Arbitrate)));
        self.claims.send(Event::Admitted(with(Grant::Submit)));
    }

    fn lock_jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobId, (RepoId, Arc<Job>)>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
