//! A ledger on which scripts are played: real keys, identity revisions and trees, in commits of any shape that anyone
//! who copies a signed tree can give them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use cobs::adapter::identity::accepted_revisions;
use cobs::adapter::reader::{Read, ReadError, read_job};
use cobs::id::{JobId, NodeId, Oid, RevisionId, TreeId};
use cobs::job::action::Action;
use cobs::job::fold::Identity;
use cobs::job::history::{Content, Op, OpId};
use radicle::cob::Title;
use radicle::cob::identity::{Identity as Doc, IdentityMut};
use radicle::crypto::{ExtendedSignature, SigningKey};
use radicle::identity::Did;
use radicle::storage::git::Repository;
use radicle::storage::{ReadRepository as _, WriteRepository as _};

use crate::home::{Home, key, node, publish};
use crate::script::{AUTHOR, Cast, DELEGATE, FORMER, LATER, NODES, PINNED, Root};

const ARCHIVE: &str = "refs/rhizome/archive/jobs";

/// A home whose ledger has the three revisions of the scripts.
pub struct Stage {
    pub home: Home,
    pub repo: Repository,
    revisions: [RevisionId; 3],
    pub identity: Identity,
    signatures: RefCell<BTreeMap<OpId, String>>,
}

/// One job on it.
pub struct Play<'a> {
    pub stage: &'a Stage,
    pub job: JobId,
    pub root: Op,
}

/// What a commit says besides its signed tree: all of it is anyone's to choose.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub parents: Vec<Oid>,
    pub pin: Option<Oid>,
    /// Named by the trailer of their own, and so no operations.
    pub related: Vec<Oid>,
    pub time: i64,
    pub message: String,
}

impl Stage {
    pub fn new() -> Self {
        let home = Home::new();
        let repo = home.repo();
        let own = &home.key;
        let former = seat(own, FORMER);
        let edit = |with: Option<u8>| {
            let doc = repo.identity_doc().unwrap().doc.with_edits(|doc| {
                doc.delegates = vec![Did::from(node(own))];
                doc.delegates.extend(with.map(|seed| Did::from(node(&seat(own, seed)))));
            });
            let mut identity: IdentityMut<'_, '_, _, _> = Doc::load_mut(&repo, own).unwrap();
            identity.update(Title::new("Change the delegates").unwrap(), "", &doc.unwrap()).unwrap()
        };
        let older = edit(Some(FORMER));
        repo.set_identity_head_to(older).unwrap();
        let pinned = edit(None);
        Doc::load_mut(&repo, &former).unwrap().accept(&pinned).unwrap();
        repo.set_identity_head_to(pinned).unwrap();
        let newer = edit(Some(LATER));
        repo.set_identity_head_to(newer).unwrap();
        let identity = Identity { accepted: accepted_revisions(&repo).unwrap() };
        let revisions = [older, pinned, newer].map(RevisionId);
        let accepted: Vec<RevisionId> = identity.accepted.iter().map(|(revision, _)| *revision).collect();
        assert_eq!(accepted[1..], revisions, "the founding document, then these");
        Self { home, repo, revisions, identity, signatures: RefCell::default() }
    }

    pub fn key(&self, seed: u8) -> SigningKey {
        seat(&self.home.key, seed)
    }

    pub fn node(&self, seed: u8) -> NodeId {
        node(&self.key(seed))
    }

    pub fn revision(&self, number: u8) -> RevisionId {
        // never accepted: no such commit
        self.revisions.get(usize::from(number)).copied().unwrap_or(RevisionId(Oid::from_sha1([number; 20])))
    }

    /// A job with this root in its author's namespace.
    pub fn play(&self, root: Root, nonce: u64) -> Play<'_> {
        let nobody = Play { stage: self, job: JobId(Oid::from_sha1([0; 20])), root: blank_root() };
        let action = Action::Create(Box::new(root.create(&nobody, &format!("{nonce:032x}"))));
        let tree = self.tree(&[action.encode()]);
        let id = OpId { author: self.node(AUTHOR), tree };
        let pin = self.revision(PINNED);
        let frame = Frame { pin: Some(pin.0), ..Frame::default() };
        let job = JobId(self.mint(id, &self.key(AUTHOR), &frame));
        publish(&self.repo, &id.author, job, job.0);
        Play { stage: self, job, root: Op { id, pin: Some(pin), content: Content::Action(action) } }
    }

    pub fn tree(&self, actions: &[Vec<u8>]) -> TreeId {
        let git = &self.repo.backend;
        let mut tree = git.treebuilder(None).unwrap();
        let manifest = format!(r#"{{"typeName":"{}","version":1}}"#, cobs::job::TYPE_NAME);
        tree.insert("manifest", git.blob(manifest.as_bytes()).unwrap(), 0o100_644).unwrap();
        for (number, action) in actions.iter().enumerate() {
            tree.insert(number.to_string(), git.blob(action).unwrap(), 0o100_644).unwrap();
        }
        TreeId(tree.write().unwrap().into())
    }

    /// A commit of an operation, signed by `key`, in that frame.
    pub fn mint(&self, id: OpId, key: &SigningKey, frame: &Frame) -> Oid {
        let mut signatures = self.signatures.borrow_mut();
        let signature = signatures
            .entry(id)
            .or_insert_with(|| ExtendedSignature::try_sign(key, id.tree.0.as_ref()).unwrap().to_pem().unwrap());
        let text = frame.text(id.tree, signature);
        self.repo.backend.odb().unwrap().write(git2::ObjectType::Commit, text.as_bytes()).unwrap().into()
    }
}

impl Frame {
    /// The commit's text around a signed tree.
    pub fn text(&self, tree: TreeId, signature: &str) -> String {
        let parents: String =
            self.parents.iter().chain(&self.related).chain(&self.pin).map(|id| format!("parent {id}\n")).collect();
        let who = format!("somebody <somebody@localhost> {} +0000", self.time);
        let signature = signature.trim_end().replace('\n', "\n ");
        let related: String = self.related.iter().map(|id| format!("Rad-Related: {id}\n")).collect();
        let pin: String = self.pin.iter().map(|id| format!("Rad-Resource: {id}\n")).collect();
        let message = &self.message;
        format!(
            "tree {tree}\n{parents}author {who}\ncommitter {who}\ngpgsig {signature}\n\n{message}\n\n{related}{pin}"
        )
    }
}

impl Play<'_> {
    /// Lets each namespace of the cast hold these tips of the job, and no others: one live, the rest archived.
    pub fn place(&self, tips: &BTreeMap<NodeId, BTreeSet<Oid>>) {
        let git = &self.stage.repo.backend;
        for seed in NODES {
            let node = self.node(seed);
            let mut tips = tips.get(&node).cloned().unwrap_or_default();
            let live = tips.pop_first();
            // an author holds his job
            let live = live.or_else(|| (seed == AUTHOR).then_some(self.job.0));
            let name = format!("refs/namespaces/{node}/refs/cobs/{}/{}", cobs::job::TYPE_NAME, self.job);
            match live {
                Some(tip) => publish(&self.stage.repo, &node, self.job, tip),
                None => drop(git.find_reference(&name).map(|mut reference| reference.delete())),
            }
            let archive = format!("refs/namespaces/{node}/{ARCHIVE}");
            git.reference(&archive, self.archive(&tips).into(), true, "archived").unwrap();
        }
    }

    /// An archive that holds the job alone.
    pub fn archive(&self, tips: &BTreeSet<Oid>) -> Oid {
        let git = &self.stage.repo.backend;
        let text: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
        let digits = self.job.to_string();
        let mut shard = git.treebuilder(None).unwrap();
        shard.insert(&digits[2..], git.blob(text.as_bytes()).unwrap(), 0o100_644).unwrap();
        let mut tree = git.treebuilder(None).unwrap();
        tree.insert(&digits[..2], shard.write().unwrap(), 0o040_000).unwrap();
        let tree = git.find_tree(tree.write().unwrap()).unwrap();
        let who = git.signature().unwrap();
        git.commit(None, &who, &who, "Archive finished jobs", &tree, &[]).unwrap().into()
    }

    pub fn read(&self) -> Result<Read, ReadError> {
        read_job(&self.stage.repo, self.job, &self.stage.identity)
    }
}

impl Cast for Play<'_> {
    fn node(&self, seed: u8) -> NodeId {
        self.stage.node(seed)
    }

    fn job(&self) -> JobId {
        self.job
    }

    fn other_job(&self) -> JobId {
        JobId(Oid::from_sha1([0xbb; 20]))
    }

    fn revision(&self, number: u8) -> RevisionId {
        self.stage.revision(number)
    }

    fn tree(&self, actions: &[Vec<u8>]) -> TreeId {
        self.stage.tree(actions)
    }
}

/// The home's own key is the delegate's.
fn seat(own: &SigningKey, seed: u8) -> SigningKey {
    if seed == DELEGATE { own.clone() } else { key(100 + seed) }
}

fn blank_root() -> Op {
    let id = OpId { author: node(&key(1)), tree: TreeId(Oid::from_sha1([0; 20])) };
    Op { id, pin: None, content: Content::Many(0) }
}
