//! The node's pulse: beats that show a dead connection early, and a look at our own signed references.
//!
//! It must not know what the references mean. References are polled rather than watched through the kernel: git
//! removes the emptied directory when it packs references, and a watch goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cobs::adapter::{ledger, repository};
use cobs::id::{NodeId, Oid, RepoId};
use radicle::prelude::ReadStorage as _;

use super::event::ReplicationEvent;
use super::{Shared, lock};

/// How soon a write of `rad` or `git push` is seen: one small file is read per watched repository.
const SIGNED_REFS_POLL_MS: u64 = 250;

/// Beats in a row that show every dead connection: one is answered that nobody is there, and the next one fails.
const BEATS_IN_DOUBT: u32 = 6;
/// Between the first two of them, doubled from one to the next: a peer that starts again dials within 100 ms, and where it
/// meets its old session the two wait seconds before they try again.
const DOUBT_MS: u64 = 20;

/// The beating thread; it ends with this value.
pub(super) struct Pulse {
    /// Says that a peer may have gone. Dropped to end the thread.
    doubt: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    pub(super) fn start(shared: Arc<Shared>, heartbeat: Duration) -> Self {
        let (doubt, doubts) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("radicle-pulse".to_owned())
            .spawn(move || beat(&shared, heartbeat, &doubts))
            .inspect_err(|error| tracing::error!(%error, "cannot start the pulse: restarted peers are noticed late"))
            .ok();
        Self { doubt: Some(doubt), thread }
    }

    /// Beats at once.
    pub(super) fn doubt(&self) {
        // one that waits already is as good
        self.doubt.as_ref().map(|doubt| doubt.try_send(()));
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.doubt.take());
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the pulse had panicked");
        }
    }
}

fn beat(shared: &Shared, heartbeat: Duration, doubts: &mpsc::Receiver<()>) {
    let mut seen: BTreeMap<RepoId, Oid> = BTreeMap::new();
    let mut last_beat = Instant::now();
    let mut in_doubt = 0;
    loop {
        let wait = match in_doubt {
            0 => SIGNED_REFS_POLL_MS,
            left => DOUBT_MS << (BEATS_IN_DOUBT - 1 - left),
        };
        match doubts.recv_timeout(Duration::from_millis(wait)) {
            Ok(()) => in_doubt = BEATS_IN_DOUBT,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let watched = lock(&shared.watched).clone();
        seen.retain(|rid, _| watched.contains(rid));
        for rid in &watched {
            look(shared, *rid, &mut seen);
        }
        if in_doubt > 0 || last_beat.elapsed() >= heartbeat {
            in_doubt = in_doubt.saturating_sub(1);
            last_beat = Instant::now();
            announce_all(shared, &watched, &seen);
        }
    }
    let running = lock(&shared.running).take();
    if let Some(running) = running
        && let Err(error) = running.stop()
    {
        tracing::warn!(%error, "the node ended badly");
    }
}

/// A write to a connection that the peer has closed is what shows that it is closed.
fn announce_all(shared: &Shared, watched: &BTreeSet<RepoId>, seen: &BTreeMap<RepoId, Oid>) {
    let Ok(handle) = shared.handle() else { return };
    let connected = handle.sessions().is_ok_and(|sessions| sessions.iter().any(|session| session.state.is_connected()));
    if !connected {
        return;
    }
    for rid in watched {
        let us = lock(&shared.home).public_key;
        let namespace = if seen.contains_key(rid) { Some(us) } else { held_delegate(shared, *rid) };
        // Without any the repository has not arrived yet.
        let Some(namespace) = namespace else { continue };
        if let Err(error) = shared.announce(*rid, namespace) {
            tracing::debug!(%rid, %error, "no heartbeat on this repository");
        }
    }
}

/// A delegate whose references we hold: before we have written anything, theirs are what we can announce.
fn held_delegate(shared: &Shared, rid: RepoId) -> Option<NodeId> {
    let home = lock(&shared.home).clone();
    let repository = repository::open(&home, rid).ok()?;
    let members = ledger::members(&repository).ok()?;
    members.delegates.into_iter().find(|delegate| {
        let name = format!("refs/namespaces/{delegate}/refs/rad/sigrefs");
        repository.backend.find_reference(&name).is_ok()
    })
}

fn look(shared: &Shared, rid: RepoId, seen: &mut BTreeMap<RepoId, Oid>) {
    let Some(at) = signed_refs(shared, rid, seen.get(&rid)) else { return };
    if seen.insert(rid, at) != Some(at) {
        shared.events.send(ReplicationEvent::LocalRefsChanged { rid, at });
    }
}

/// Where our signed references stand. Writing makes a file, packing removes it without a change: so a missing file
/// is worth opening the repository for only while we know nothing.
fn signed_refs(shared: &Shared, rid: RepoId, known: Option<&Oid>) -> Option<Oid> {
    let (name, file) = {
        let home = lock(&shared.home);
        let name = format!("refs/namespaces/{}/refs/rad/sigrefs", home.public_key);
        let file = home.storage.path_of(&rid).join(&name);
        (name, file)
    };
    if let Ok(text) = std::fs::read_to_string(file) {
        return text.trim().parse().ok();
    }
    if let Some(known) = known {
        return Some(*known);
    }
    let home = lock(&shared.home).clone();
    let repository = repository::open(&home, rid).ok()?;
    repository.backend.refname_to_id(&name).ok().map(Oid::from)
}
