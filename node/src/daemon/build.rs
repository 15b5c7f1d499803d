//! Opens what a node is made of, in the order in which it can fail without having changed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};

use cobs::adapter::profile::NodeHome;
use cobs::adapter::repair;
use cobs::adapter::writer::{Urgency, Writer, WriterConfig, WriterError, WriterHandle};
use cobs::id::NodeId;
use cobs::job::spec::RunnerKind;
use scheduler::capacity::RunnerCapability;
use scheduler::fault;
use scheduler::machine::{Machine, Millis, Settings};
use scheduler::probe::{Facts, Probe};
use scheduler::runner::Runner as _;
use scheduler::runner::sandbox::{Sandbox, SandboxConfig, SupervisorCommand};

use crate::blobs::Blobs;
use crate::claims::Claims;
use crate::config::Config;
use crate::config::home::Home;
use crate::context::{Context, Places};
use crate::follower::Follower;
use crate::node::{CHANGES_MAX, Node};
use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;
use crate::replication::{Replication, ReplicationOptions};
use crate::runs::Runs;
use crate::store::state::State;
use crate::store::view::{Opened, View};
use crate::whereabouts::Whereabouts;

use super::{SANDBOX_PROBLEM, Start, Threads, replication_error, state_error};

/// The hidden verb of this binary that watches over a run.
const SUPERVISE: &str = "supervise";

/// Everything that blocks.
pub(super) fn build(start: Start, runtime: Handle) -> Result<(Arc<Node>, Threads), Error> {
    let Start { files, loaded, radicle, program } = start;
    let config = loaded.config;
    let context = context(&config, &files, radicle.public_key, program.clone(), runtime.clone());
    let announcer: Arc<OnceLock<Replication>> = Arc::default();
    let writer = writer(&radicle, Arc::clone(&announcer), runtime.clone())?;
    mend(&files, &radicle)?;
    let Kept { state, view, blobs } = Kept::open(&files)?;
    context.start()?;
    let sandbox = sandbox(&config, &radicle, program);
    let (capability, problems) = capability(&sandbox, &files);
    let own_alias = config.node.alias.clone().unwrap_or_else(|| radicle.config.alias().to_string());
    let probe = probe(&config, &radicle, &own_alias, capability);
    let incarnation = u32::try_from(state.incarnation().0)
        .map_err(|_| Error::new(Code::Internal, "this home was started four billion times"))?;
    let (claims, claims_thread) = Claims::new(Machine::new(radicle.public_key, machine_settings(&config), incarnation));
    let (follower, follower_thread) = Follower::new(radicle.clone(), Arc::clone(&view));
    let options = ReplicationOptions {
        listen: (!config.node.listen.is_empty()).then(|| config.node.listen.clone()),
        heartbeat: Duration::from_millis(config.heartbeat_ms),
    };
    let id = radicle.public_key;
    let (replication, events) = Replication::start(radicle, options).map_err(|error| replication_error(&error))?;
    announcer.set(replication.clone()).ok();
    let whereabouts = Whereabouts::load(&files.whereabouts());
    let node = Arc::new(Node {
        id,
        context,
        own_alias,
        runs: Arc::new(Runs::new(files.runs(), sandbox, Arc::clone(&state))),
        files,
        settings: loaded.settings,
        config,
        state,
        view,
        blobs,
        writer,
        follower,
        claims,
        replication,
        probe: Mutex::new((probe, None)),
        capacity_changed: Notify::new(),
        preparing: Mutex::new(BTreeMap::new()),
        changes: broadcast::channel(CHANGES_MAX).0,
        started: Instant::now(),
        runtime,
        problems: Mutex::new(problems),
        limits: Default::default(),
        link: OnceLock::new(),
        link_identity: OnceLock::new(),
        api_addresses: OnceLock::new(),
        authorized: Arc::new(RwLock::new(BTreeMap::new())),
        promised: Arc::default(),
        lacking: Default::default(),
        syncing: AtomicBool::default(),
        peers_now: Mutex::new(BTreeMap::new()),
        whereabouts,
        radworks: crate::radworks::Waiting::default(),
        collecting: Mutex::new(BTreeSet::new()),
        to_collect: Mutex::new(BTreeMap::new()),
        settled_sources: Mutex::new(BTreeSet::new()),
        jobs: Mutex::new(BTreeMap::new()),
    });
    Ok((node, Threads { claims: claims_thread, follower: follower_thread, events }))
}

/// What the node keeps in files of its own.
struct Kept {
    state: Arc<State>,
    view: Arc<View>,
    blobs: Blobs,
}

impl Kept {
    fn open(files: &Home) -> Result<Self, Error> {
        let state = State::open(&files.state()).map_err(|error| state_error(&error))?;
        let (view, opened) = View::open(&files.view()).map_err(|error| storage(&error))?;
        if let Opened::Rebuilding { reason, aside } = &opened {
            tracing::warn!(reason, aside = %aside.display(), "the view is rebuilt from the ledgers; nothing is lost");
        }
        let blobs = Blobs::open(&files.blobs()).map_err(|error| storage(&error))?;
        std::fs::create_dir_all(files.logs()).map_err(|error| storage(&error))?;
        Ok(Self { state: Arc::new(state), view: Arc::new(view), blobs })
    }
}

/// The vault, not yet open. Its vectors are told from those of other nodes by the end of this one's key.
fn context(config: &Config, files: &Home, id: NodeId, program: PathBuf, runtime: Handle) -> Context {
    const OWNER_LETTERS: usize = 16;
    let key = id.to_string().to_lowercase();
    let owner = key[key.len().saturating_sub(OWNER_LETTERS)..].to_owned();
    let places = Places { folder: files.vault(), models: files.models(), program, runtime };
    Context::new(config.vault.clone(), places, owner)
}

/// What was killed before, or lost power, does not hinder the node. The writer is ours by now, so a node that runs in the
/// home is no daemon of ours.
fn mend(files: &Home, radicle: &NodeHome) -> Result<(), Error> {
    let is_shared = Replication::is_running_in(radicle).map_err(|error| replication_error(&error))?;
    crate::replication::garbage::unlock(radicle);
    if is_shared {
        // not safe beside a node at work: left to the next start without one
        return Ok(());
    }
    repair_after_boot(files, radicle).map_err(|error| storage(&error))
}

/// In the first start after the machine's: what a power cut may have torn is mended.
fn repair_after_boot(files: &Home, radicle: &NodeHome) -> std::io::Result<()> {
    let boot = scheduler::runner::clock::boot_id()?;
    if std::fs::read_to_string(files.boot()).is_ok_and(|last| last == boot) {
        return Ok(());
    }
    let removed = repair::repair(radicle.storage.path(), &radicle.public_key)?;
    if !removed.is_empty() {
        tracing::warn!(files = ?removed, "mended what a power cut had torn");
    }
    std::fs::write(files.boot(), boot)
}

fn writer(radicle: &NodeHome, announcer: Arc<OnceLock<Replication>>, runtime: Handle) -> Result<WriterHandle, Error> {
    let config = WriterConfig {
        storage: radicle.storage.clone(),
        signer: radicle.signer.clone(),
        home: radicle.home.path().to_owned(),
        passed: |draft, how_far| fault::pass(format_args!("{draft}.{how_far}")),
    };
    let announce = move |ledger, urgency| {
        let Some(replication) = announcer.get() else { return };
        let announced = match urgency {
            Urgency::Now => replication.announce(ledger),
            Urgency::Soon => return replication.announce_soon(ledger, &runtime),
        };
        if let Err(error) = announced {
            tracing::warn!(%ledger, %error, "not announced; peers learn of it by the next announcement");
        }
    };
    Writer::spawn(config, Box::new(announce), Box::new(|_| {})).map_err(|error| match error {
        WriterError::Locked { .. } => Error::new(Code::AlreadyRunning, error.to_string())
            .hint("look at it with: rhizome status; or give another home with --home"),
        WriterError::Io { .. } => storage(&error),
    })
}

fn sandbox(config: &Config, radicle: &NodeHome, program: PathBuf) -> Sandbox {
    let home_id = control_groups(&radicle.public_key);
    let supervisor = SupervisorCommand { program, args: vec![SUPERVISE.into()] };
    let mut sandbox = SandboxConfig::new(home_id, supervisor);
    if let Some(uid) = config.sandbox_uid {
        (sandbox.uid, sandbox.gid) = (uid, uid);
    }
    Sandbox::new(sandbox)
}

/// Names the control groups of a node's home: the end of its id is enough to tell homes of one machine apart.
pub fn control_groups(node: &NodeId) -> String {
    node.to_string().chars().rev().take(16).collect()
}

/// What the smoke run of the sandbox shows; where it does not work, nothing but the problem.
fn capability(
    sandbox: &Sandbox,
    files: &Home,
) -> (BTreeMap<RunnerKind, RunnerCapability>, BTreeMap<&'static str, String>) {
    use scheduler::runner::Enforcement;
    let scratch = files.rhizome().join("smoke");
    let found = sandbox.probe(&scratch);
    std::fs::remove_dir_all(&scratch).ok();
    if let Some(reason) = found.unusable {
        tracing::error!(reason, "the sandbox does not work here; this node runs no jobs");
        return (BTreeMap::new(), BTreeMap::from([(SANDBOX_PROBLEM, reason)]));
    }
    let mut capability = RunnerCapability::default();
    for (kind, enforcement) in found.limits {
        let kind = limit_kind(kind);
        match enforcement {
            Enforcement::Strict => drop(capability.strict.insert(kind)),
            Enforcement::BestEffort { why } => drop(capability.why_not.insert(kind, why)),
        }
    }
    (BTreeMap::from([(RunnerKind::Sandbox, capability)]), BTreeMap::new())
}

fn limit_kind(kind: scheduler::runner::LimitKind) -> scheduler::capacity::LimitKind {
    use scheduler::capacity::LimitKind as Offered;
    use scheduler::runner::LimitKind as Kept;
    match kind {
        Kept::CpuMilli => Offered::Cpu,
        Kept::MemoryBytes => Offered::Memory,
        Kept::Processes => Offered::Processes,
        Kept::DiskBytes => Offered::Disk,
        Kept::WallMs => Offered::Wall,
        Kept::LogBytes => Offered::Log,
    }
}

fn probe(config: &Config, radicle: &NodeHome, alias: &str, runners: BTreeMap<RunnerKind, RunnerCapability>) -> Probe {
    Probe::new(Facts {
        node: radicle.public_key,
        alias: alias.to_owned(),
        labels: config.node.labels.clone(),
        queues: config.node.queues.clone(),
        runners,
        directories: config.directories.keys().cloned().collect(),
        slots: config.scheduler.slots,
    })
}

fn machine_settings(config: &Config) -> Settings {
    Settings {
        bid_window: Millis(config.scheduler.bid_window_ms),
        grant_wait: Millis(config.scheduler.grant_wait_ms),
        lease: Millis(config.scheduler.lease_ms),
        ..Settings::default()
    }
}
