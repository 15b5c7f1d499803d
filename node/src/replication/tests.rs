//! Real runtimes on loopback, several in this process, each in a home of its own.

mod attached;
mod ledger;
mod lifecycle;
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobs::adapter::profile::{NewProfile, Unlock};
use cobs::adapter::{identity, ledger as ledgers, repository};
use cobs::id::Oid;
use radicle::crypto::ssh::Passphrase;
use tempfile::TempDir;

use super::*;

/// Everything here takes milliseconds on a quiet machine; this is for a busy one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node with a home that goes with it.
pub(super) struct Peer {
    pub(super) node: Replication,
    pub(super) id: NodeId,
    pub(super) directory: TempDir,
    events: mpsc::Receiver<ReplicationEvent>,
    clock: tokio::runtime::Runtime,
}

pub(super) fn new_profile(seed: u8) -> NewProfile {
    NewProfile {
        alias: format!("node-{seed}"),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        passphrase: None,
        key_seed: [seed; 32],
    }
}

pub(super) fn unlocked() -> Unlock<'static> {
    Unlock { environment: None, prompt: &|| None }
}

/// Listens on a port of the kernel's choice and keeps it over restarts.
pub(super) fn options() -> ReplicationOptions {
    ReplicationOptions { listen: Some(vec!["127.0.0.1:0".parse().unwrap()]), ..ReplicationOptions::default() }
}

impl Peer {
    pub(super) fn start(seed: u8) -> Self {
        Self::start_with(seed, options())
    }

    fn start_with(seed: u8, options: ReplicationOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (home, _) =
            NodeHome::open_or_create(&directory.path().join("home"), new_profile(seed), &unlocked()).unwrap();
        Self::start_in(home, directory, options)
    }

    fn start_in(home: NodeHome, directory: TempDir, options: ReplicationOptions) -> Self {
        let id = home.public_key;
        let (node, events) = Replication::start(home, options).unwrap();
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { node, id, directory, events, clock }
    }

    /// Ends the node and starts it in the same home.
    pub(super) fn begin_again(&mut self, options: ReplicationOptions) {
        self.node.stop().unwrap();
        let home = self.node.home();
        (self.node, self.events) = Replication::start(home, options).unwrap();
    }

    /// The first event that `pick` takes; the ones before it are gone.
    pub(super) fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&ReplicationEvent) -> Option<T>) -> T {
        let events = &mut self.events;
        let found = self.clock.block_on(async {
            tokio::time::timeout(PATIENCE, async {
                loop {
                    let event = events.recv().await.expect("the node is there");
                    if let Some(found) = pick(&event) {
                        return found;
                    }
                }
            })
            .await
        });
        found.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
    }

    pub(super) fn wait_connected(&mut self, peer: NodeId) {
        self.wait("a connection", |event| (*event == ReplicationEvent::PeerConnected { peer }).then_some(()));
    }

    /// The references of a fetch from `peer` that has one named `name`.
    pub(super) fn wait_fetched(&mut self, name: &str) -> Vec<FetchedRef> {
        self.wait(name, |event| match event {
            ReplicationEvent::RefsFetched { refs, .. } => {
                refs.iter().any(|fetched| fetched.name == name).then(|| refs.clone())
            }
            _ => None,
        })
    }

    pub(super) fn dial(&self, other: &Peer) -> Reach {
        let address = other.node.local_addresses()[0];
        self.node.connect_to(other.id, address.to_string().parse().unwrap()).unwrap()
    }

    /// Points a reference of ours at a new empty commit, signs and announces it, as a writer would.
    pub(super) fn write_ref(&self, rid: RepoId, name: &str, message: &str) -> Oid {
        let home = self.node.home();
        let repository = repository::open(&home, rid).unwrap();
        let git = &repository.backend;
        let author = git2::Signature::now("tester", "tester@localhost").unwrap();
        let tree = git.find_tree(git.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = git.commit(None, &author, &author, message, &tree, &[]).unwrap();
        git.reference(&format!("refs/namespaces/{}/{name}", self.id), commit, true, message).unwrap();
        repository::sign(&home, &repository).unwrap();
        self.node.announce(rid).unwrap();
        commit.into()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Two connected peers with a ledger of `a` that admits `b` and that both have.
pub(super) fn pair() -> (Peer, Peer, RepoId) {
    pair_with(options())
}

/// As [`pair`], `a` with other options.
pub(super) fn pair_with(options: ReplicationOptions) -> (Peer, Peer, RepoId) {
    let (a, mut b) = (Peer::start_with(1, options), Peer::start(2));
    let rid = ledgers::create(&a.node.home(), ledgers::NewLedger { name: "team", description: "" }).unwrap();
    let home = a.node.home();
    let admitted = identity::allow(&home, &repository::open(&home, rid).unwrap(), &BTreeSet::from([b.id])).unwrap();
    assert!(matches!(admitted, identity::Amendment::Accepted(_)), "{admitted:?}");
    a.node.seed(rid).unwrap();
    assert_eq!(a.dial(&b), Reach::Connected);
    b.wait_connected(a.id);
    b.node.seed(rid).unwrap();
    let fetched = b.node.fetch(rid, a.id, PATIENCE).unwrap();
    assert!(fetched.refs.iter().any(|fetched| fetched.name == "refs/rad/sigrefs"), "{fetched:?}");
    (a, b, rid)
}

pub(super) fn passphrase(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

/// Runs git as its user would, but in an environment of its own.
pub(super) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=tester", "-c", "user.email=tester@localhost"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
