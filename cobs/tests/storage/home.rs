//! A temporary home with a ledger, its writer, and what it takes to forge operations in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr as _;

use cobs::JOB_VERSION;
use cobs::adapter::reader::{Read, ReadError, read_job};
use cobs::adapter::writer::{Draft, Operation, Writer, WriterConfig, WriterHandle};
use cobs::id::{JobId, NodeId, Oid, RepoId, RevisionId, Seq};
use cobs::job::action::{Action, Bid, Cancel, Create};
use cobs::job::fold::Identity;
use cobs::job::spec::{Mode, Spec};
use radicle::Storage;
use radicle::cob::TypeName;
use radicle::cob::change::{Storage as _, Template};
use radicle::crypto::{Seed, SigningKey};
use radicle::git::UserInfo;
use radicle::identity::Visibility;
use radicle::node::Alias;
use radicle::storage::git::Repository;
use radicle::storage::{ReadRepository as _, ReadStorage as _, SignRepository as _};
use tempfile::TempDir;

/// A storage with one ledger, whose only delegate is `key`.
pub struct Home {
    pub dir: TempDir,
    pub storage: Storage,
    pub key: SigningKey,
    pub ledger: RepoId,
}

/// The key of node `seed`.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(Seed::new([seed; 32]))
}

pub fn node(key: &SigningKey) -> NodeId {
    *key.as_ref()
}

pub fn storage(home: &Path, key: &SigningKey) -> Storage {
    Storage::open(home.join("storage"), UserInfo { alias: Alias::new("node"), key: node(key) }).unwrap()
}

pub fn writer(home: &Path, storage: &Storage, key: &SigningKey) -> WriterHandle {
    let config = WriterConfig {
        storage: storage.clone(),
        signer: key.clone(),
        home: home.to_owned(),
        passed: cobs::adapter::writer::nobody,
    };
    Writer::spawn(config, Box::new(|_, _| {}), Box::new(|_| {})).unwrap()
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = key(1);
        let storage = storage(dir.path(), &key);
        let work = dir.path().join("work");
        let mut options = git2::RepositoryInitOptions::new();
        let repo = git2::Repository::init_opts(&work, options.external_template(false).initial_head("main")).unwrap();
        let who = git2::Signature::now("rhizome", "rhizome@localhost").unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        repo.commit(Some("refs/heads/main"), &who, &who, "init", &tree, &[]).unwrap();
        let branch = radicle::git::fmt::RefString::try_from("main").unwrap();
        let visibility = Visibility::Private { allow: BTreeSet::new() };
        let name = "ledger".try_into().unwrap();
        let (ledger, _, _) = radicle::rad::init(&repo, name, "jobs", branch, visibility, &key, &storage).unwrap();
        Self { dir, storage, key, ledger }
    }

    pub fn node(&self) -> NodeId {
        node(&self.key)
    }

    pub fn repo(&self) -> Repository {
        self.storage.repository(self.ledger).unwrap()
    }

    pub fn writer(&self) -> WriterHandle {
        writer(self.dir.path(), &self.storage, &self.key)
    }

    pub fn read(&self, job: JobId) -> Result<Read, ReadError> {
        let repo = self.repo();
        read_job(&repo, job, &identity(&repo))
    }

    /// A job of this node that `workers` may run.
    pub fn create(&self, nonce: u64, workers: &[NodeId]) -> Create {
        Create {
            version: JOB_VERSION,
            spec: Spec::command(vec!["true".to_owned()]),
            nonce: format!("{nonce:032x}"),
            queue: "default".to_owned(),
            mode: Mode::Exclusive,
            arbiters: vec![self.node()],
            workers: workers.to_vec(),
            grant: None,
        }
    }

    pub fn draft(&self, nonce: u64, workers: &[NodeId]) -> Draft {
        Draft::Create { ledger: self.ledger, create: Box::new(self.create(nonce, workers)) }
    }

    pub fn append(&self, action: Action) -> Draft {
        Draft::Append {
            ledger: self.ledger,
            job: action.job().unwrap(),
            action,
            urgency: cobs::adapter::writer::Urgency::Now,
        }
    }

    /// Creates a job and appends `bids` bids of this node.
    pub fn job(&self, writer: &WriterHandle, nonce: u64, workers: &[NodeId], bids: u32) -> JobId {
        let job = operation(writer, self.draft(nonce, workers)).job;
        for score in 0..bids {
            operation(writer, self.append(bid(job, score)));
        }
        job
    }
}

pub fn operation(writer: &WriterHandle, draft: Draft) -> Operation {
    writer.write(draft).unwrap().operation().unwrap()
}

pub fn bid(job: JobId, score: u32) -> Action {
    Action::Bid(Bid { job, seq: Seq(0), score, reason: String::new() })
}

pub fn cancel(job: JobId) -> Action {
    Action::Cancel(Cancel { job, seq: Seq(0), reason: "enough".to_owned() })
}

/// The accepted revisions on the current chain, oldest first.
pub fn identity(repo: &Repository) -> Identity {
    let identity = repo.identity().unwrap();
    let mut accepted = Vec::new();
    let mut next = Some(identity.current);
    while let Some(revision) = next.and_then(|id| identity.revision(&id)) {
        let delegates = revision.doc.delegates().iter().map(|did| *did.as_key()).collect();
        accepted.push((RevisionId(revision.id), delegates));
        next = revision.parent;
    }
    accepted.reverse();
    Identity { accepted }
}

/// Signs `contents` with `key` as a commit below `parents`, pinned to `pin`; no reference moves.
pub fn store(repo: &Repository, key: &SigningKey, pin: Option<Oid>, parents: Vec<Oid>, contents: Vec<Vec<u8>>) -> Oid {
    let template = Template {
        type_name: TypeName::from_str(cobs::job::TYPE_NAME).unwrap(),
        tips: parents,
        message: "forged".to_owned(),
        embeds: vec![],
        contents: nonempty::NonEmpty::from_vec(contents).unwrap(),
    };
    repo.store(pin, vec![], key, template).unwrap().id
}

/// As [`store`], for one action, pinned to the accepted identity.
pub fn sign(repo: &Repository, key: &SigningKey, parents: Vec<Oid>, action: &Action) -> Oid {
    store(repo, key, Some(repo.identity_head().unwrap()), parents, vec![action.encode()])
}

/// Points the live reference of `job` in the namespace of `node` at `tip`, as a hostile peer may.
pub fn publish(repo: &Repository, node: &NodeId, job: JobId, tip: Oid) {
    let name = format!("refs/namespaces/{node}/refs/cobs/{}/{job}", cobs::job::TYPE_NAME);
    repo.backend.reference(&name, tip.into(), true, "forged").unwrap();
}

/// The commit at `id` again, with other text: what it signs stays the same.
pub fn copy(repo: &Repository, id: Oid, change: impl Fn(String) -> String) -> Oid {
    let odb = repo.backend.odb().unwrap();
    let text = String::from_utf8(odb.read(id.into()).unwrap().data().to_vec()).unwrap();
    odb.write(git2::ObjectType::Commit, change(text).as_bytes()).unwrap().into()
}

pub fn sign_refs(repo: &Repository, key: &SigningKey) {
    repo.sign_refs(key).unwrap();
}
