//! One run of Radicle's runtime, on a thread of its own.
//!
//! It must not know why it is started or stopped.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use cobs::adapter::profile::NodeHome;
use radicle::node::address::Store as _;
use radicle::node::{Alias, Features, MAX_ALIAS_LENGTH, Timestamp, UserAgent};
use radicle_node::fingerprint::{Fingerprint, FingerprintVerification};
use radicle_node::runtime::Runtime;
use radicle_signals::Signal;

use super::ReplicationError;
use super::event::{self, Outlet};

pub(super) use radicle_node::runtime::handle::{Error as HandleError, Handle};

/// How long the node may take to stop; a worker in the middle of a fetch is what it waits for.
const STOP_TIMEOUT_MS: u64 = 10_000;

/// Of the node announcement that a peer is known by before its own has come.
const VERSION: u8 = 1;

/// A runtime that was started.
pub(super) struct Embedded {
    pub(super) handle: Handle,
    pub(super) addresses: Vec<SocketAddr>,
    signals: mpsc::SyncSender<Signal>,
    /// Its sender goes with the runtime's thread.
    ended: mpsc::Receiver<Result<(), String>>,
    thread: thread::JoinHandle<()>,
    /// Set before we stop it, so that its end is not reported as a failure.
    stopping: Arc<AtomicBool>,
}

impl Embedded {
    /// Initialises the runtime here, so that errors are returned, and runs it on its own thread.
    pub(super) fn start(home: NodeHome, listen: Vec<SocketAddr>, events: Outlet) -> Result<Self, ReplicationError> {
        home.ensure_alone()?;
        check_fingerprint(&home)?;
        check_addresses(&listen)?;
        let files_max: usize = home.config.node.limits.max_open_files.into();
        if let Err(error) = radicle::io::set_file_limit(files_max) {
            tracing::warn!(files_max, %error, "cannot raise the limit of open files");
        }
        let (signals, received) = mpsc::sync_channel(1);
        let socket = home.home.socket_default();
        let us = home.public_key;
        let opened = home.clone();
        let runtime = Runtime::init(home.home, home.config.node, socket, listen, received, home.signer)
            .map_err(|error| ReplicationError::Start(Box::new(error)))?;
        introduce(&opened);
        let handle = runtime.handle.clone();
        let addresses = runtime.local_addrs.clone();
        let stopping = Arc::new(AtomicBool::new(false));
        event::pump(handle.events(), us, events.clone(), stopping.clone())?;

        let (sender, ended) = mpsc::sync_channel(1);
        let expected = stopping.clone();
        let thread = spawn("radicle", move || {
            let result = runtime.run().map_err(|error| error.to_string());
            // Nobody listens any more after a stop that timed out.
            let _ = sender.send(result);
            if !expected.load(Ordering::SeqCst) {
                events.stopped();
            }
        })?;
        Ok(Self { handle, addresses, signals, ended, thread, stopping })
    }

    /// Whether the runtime has ended, by itself or by a `rad node stop`.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks the runtime to stop and waits for it.
    pub(super) fn stop(self) -> Result<(), ReplicationError> {
        self.stopping.store(true, Ordering::SeqCst);
        // By signal rather than by handle: this also ends the runtime's own signal thread. It fails only if that
        // thread is gone, and then the runtime has been shut down already.
        let _ = self.signals.send(Signal::Terminate);
        match self.ended.recv_timeout(Duration::from_millis(STOP_TIMEOUT_MS)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(ReplicationError::Ended(format!("failed: {reason}"))),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(ReplicationError::Ended("panicked".to_owned())),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(ReplicationError::Ended(format!("did not stop within {STOP_TIMEOUT_MS} ms")))
            }
        }
    }
}

/// Starts a named thread.
pub(super) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, ReplicationError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| ReplicationError::Start(Box::new(source)))
}

/// Radicle's own guard against running a home with another key, kept so that `radicle-node` agrees with us.
fn check_fingerprint(home: &NodeHome) -> Result<(), ReplicationError> {
    let failed = |error| ReplicationError::Start(Box::new(error));
    match Fingerprint::read(&home.home).map_err(failed)? {
        Some(print) if print.verify(&home.signer) != FingerprintVerification::Match => {
            Err(ReplicationError::KeyChanged)
        }
        Some(_) => Ok(()),
        None => Fingerprint::init(&home.home, &home.signer).map_err(failed),
    }
}

/// Lets the node listen to the peers that it dials. Radicle ignores what a node announces that has not introduced itself,
/// which it does once to each connection: when a power cut took the address book, and the first words of the connection went
/// with another that was given up, it would hear nothing of that peer until they connect anew.
fn introduce(home: &NodeHome) {
    let mut book = match home.home.addresses(home.config.node.database) {
        Ok(book) => book,
        Err(error) => return tracing::warn!(%error, "the address book of the radicle node is not opened"),
    };
    for peer in home.config.node.connect.iter().map(|dialled| dialled.id) {
        if matches!(book.get(&peer), Ok(Some(_))) {
            continue;
        }
        // the conversion that Radicle has makes one that is too long to be read again
        let alias = Alias::new(&peer.to_string()[..MAX_ALIAS_LENGTH]);
        let agent = UserAgent::default();
        // what the peer says of itself is newer
        let first = Timestamp::MIN;
        let written = book.insert(&peer, VERSION, Features::SEED, &alias, 0, &agent, first, []);
        if let Err(error) = written {
            tracing::warn!(%peer, %error, "the peer is not in the address book of the radicle node");
        }
    }
}

/// The runtime names no address when it cannot bind, and leaves threads behind: so try first.
fn check_addresses(listen: &[SocketAddr]) -> Result<(), ReplicationError> {
    for &address in listen {
        match TcpListener::bind(address) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(ReplicationError::ListenInUse { address });
            }
            Err(source) => return Err(ReplicationError::Listen { address, source }),
        }
    }
    Ok(())
}
