//! The composition root: configuration in, a running node out; then it waits for the end and drains.

mod build;
mod ledgers;
mod tasks;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use cobs::adapter::profile::NodeHome;

use crate::api;
use crate::claims::ClaimsThread;
use crate::config;
use crate::follower::FollowerThread;
use crate::link::{Link, LinkConfig, LinkError, LinkIdentity};
use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;
use crate::replication::{ReplicationError, ReplicationEvent};
use crate::runs::chain;
use crate::store::StoreError;

pub use build::control_groups;

/// How long answers under way may take when the daemon ends.
const DRAIN: Duration = Duration::from_secs(5);
/// What a node without a working sandbox names as its problem.
pub const SANDBOX_PROBLEM: &str = "sandbox";

/// What a daemon is started with.
pub struct Start {
    /// Where its files are.
    pub files: config::home::Home,
    /// The configuration and where each value came from.
    pub loaded: config::Loaded,
    /// The unlocked Radicle home.
    pub radicle: NodeHome,
    /// The program that is this binary, for supervisors.
    pub program: PathBuf,
}

/// The threads that a node is run by, before they run.
struct Threads {
    claims: ClaimsThread,
    follower: FollowerThread,
    events: Receiver<ReplicationEvent>,
}

/// Runs the daemon until `stop`. `ready` is told the node once it serves.
///
/// # Errors
/// Each with what to do next; nothing was changed when it could not start.
pub async fn run(start: Start, stop: CancellationToken, ready: impl FnOnce(&Arc<Node>)) -> Result<(), Error> {
    let api_listen = start.loaded.config.api.listen;
    let settings = api::settings::Settings {
        hosts: start.loaded.config.api.allowed_hosts.clone(),
        origins: start.loaded.config.api.allowed_origins.clone(),
        limits: api::settings::Limits::default(),
    };
    let socket = start.files.api_socket();
    let link_files = (start.files.link_key(), start.loaded.config.link.clone());
    let handle = Handle::current();
    let build = tokio::task::spawn_blocking(move || build::build(start, handle));
    let (node, threads) = build.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
    let unix = api::listen::bind_unix(&socket).await?;
    let tcp = api::listen::bind_tcp(api_listen).await?;
    let address = tcp.local_addr().map_err(|error| storage(&error))?;
    node.api_addresses.set(vec![address.to_string()]).ok();
    start_link(&node, link_files).await?;
    let events = start_threads(&node, threads)?;
    crate::peering::restored::before_writing(&node).await;
    let starter = Arc::clone(&node);
    let started = tokio::task::spawn_blocking(move || starter.take_up());
    started.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
    // only now: a job that a peer sends while the last daemon's are not told yet would be taken for a new one
    tokio::spawn(tasks::replication(Arc::clone(&node), events));
    tasks::spawn(&node, &stop);
    let served = Arc::new(Arc::clone(&node));
    let tcp = tokio::spawn(api::listen::serve_tcp(tcp, Arc::clone(&served), settings.clone(), stop.clone()));
    let unix = tokio::spawn(api::listen::serve_unix(unix, served, settings, stop.clone()));
    tracing::info!(node = %node.id, api = %address, version = env!("CARGO_PKG_VERSION"), "rhizome is up");
    ready(&node);
    stop.cancelled().await;
    tracing::info!("rhizome goes down; its runs go on");
    tcp.await.ok();
    unix.await.ok();
    if let Some(link) = node.link() {
        link.shutdown(DRAIN).await;
    }
    let ended = Arc::clone(&node);
    tokio::task::spawn_blocking(move || ended.wind_up()).await.ok();
    Ok(())
}

async fn start_link(node: &Arc<Node>, (key, wanted): (PathBuf, config::Link)) -> Result<(), Error> {
    let identity = LinkIdentity::load_or_create(&key).map_err(|error| link_error(&error))?;
    let identity = Arc::new(identity);
    node.link_identity.set(Arc::clone(&identity)).ok();
    let listen = wanted.listen_beside(&node.replication.local_addresses());
    let authorized = Arc::clone(&node.authorized);
    let authorize = Arc::new(move |key: &_| {
        let authorized = authorized.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        authorized.get(key).copied()
    });
    let (peers, strangers) = (crate::peering::router(node), crate::pairing::router(node));
    let link = Link::start(LinkConfig { listen }, identity, authorize, peers, strangers).await;
    node.link.set(link.map_err(|error| link_error(&error))?).ok();
    Ok(())
}

/// Starts the two threads, and hands out what came from peers meanwhile.
fn start_threads(node: &Arc<Node>, threads: Threads) -> Result<Receiver<ReplicationEvent>, Error> {
    let seen = Arc::clone(node);
    threads.follower.spawn(move |job| seen.saw(job)).map_err(|error| storage(&error))?;
    let executor = Arc::clone(node);
    threads.claims.spawn(move |effect| executor.execute(effect)).map_err(|error| storage(&error))?;
    Ok(threads.events)
}

/// The state's error, in words that say what is safe to do.
pub fn state_error(error: &StoreError) -> Error {
    let words = chain(error);
    let (code, hint) = match error {
        StoreError::Missing { .. } => (Code::NoLedger, "set this machine up with: rhizome init"),
        StoreError::Newer { .. } => (Code::NewerVersion, "run the newer rhizome that wrote this home"),
        StoreError::Corrupt { .. } => (
            Code::StateCorrupt,
            "nothing was changed; bring the file back from a copy of this very disk, or ask for help",
        ),
        StoreError::Busy { .. } => (Code::AlreadyRunning, "look at the other daemon with: rhizome status"),
        StoreError::Exists { .. }
        | StoreError::Io { .. }
        | StoreError::Record { .. }
        | StoreError::Taken { .. }
        | StoreError::Full { .. }
        | StoreError::Engine(_) => (Code::Storage, "look at the disk of this node"),
    };
    Error::new(code, words).hint(hint)
}

fn replication_error(error: &ReplicationError) -> Error {
    let code = match error {
        ReplicationError::ListenInUse { .. } => Code::PortInUse,
        ReplicationError::Listen { .. } | ReplicationError::KeyChanged | ReplicationError::OtherKey { .. } => {
            Code::Config
        }
        ReplicationError::Profile(_) | ReplicationError::Unresponsive { .. } => Code::AlreadyRunning,
        ReplicationError::Start(_)
        | ReplicationError::Ended(_)
        | ReplicationError::Stopped
        | ReplicationError::Command { .. }
        | ReplicationError::Repository(_) => Code::Storage,
    };
    with_hint(code, error, error.hint())
}

fn link_error(error: &LinkError) -> Error {
    let code = if matches!(error, LinkError::AddressInUse { .. }) { Code::PortInUse } else { Code::Config };
    let hint = (code == Code::PortInUse).then_some("stop the program that has it, or set link.listen to another port");
    with_hint(code, error, hint)
}

fn with_hint(code: Code, error: &dyn std::error::Error, hint: Option<&str>) -> Error {
    let words = Error::new(code, chain(error));
    match hint {
        Some(hint) => words.hint(hint),
        None => words,
    }
}
