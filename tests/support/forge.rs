//! Objects as no honest node would write them: signed with a node's own key and put into its own namespace, beside its
//! daemon, as a program of its owner could.

use std::str::FromStr as _;

use cobs::adapter::profile::{NodeHome, Unlock};
use cobs::id::{JobId, NodeId, Oid, RepoId};
use radicle::cob::TypeName;
use radicle::cob::change::{Storage as _, Template};
use radicle::storage::git::Repository;
use radicle::storage::{ReadRepository as _, ReadStorage as _, SignRepository as _};

use super::node::Node;

/// What can sign as a node, in its default ledger.
pub struct Forger {
    home: NodeHome,
    repository: Repository,
}

impl Forger {
    pub fn of(node: &Node) -> Self {
        let unlock = Unlock { environment: None, prompt: &|| None };
        let home = NodeHome::open(&node.place(), &unlock).expect("the key has no passphrase");
        let ledger: RepoId = node.ledger().parse().expect("a ledger has an id");
        let repository = home.storage.repository(ledger).expect("the ledger is here");
        Self { home, repository }
    }

    pub fn node(&self) -> NodeId {
        self.home.public_key
    }

    /// Where this node's reference of a job stands; none when it has none.
    pub fn tip(&self, job: JobId) -> Option<Oid> {
        self.repository.backend.refname_to_id(&self.reference(job)).ok().map(Into::into)
    }

    /// Signs an operation of these actions below `parents`, pinned as it should be.
    pub fn sign(&self, parents: Vec<Oid>, mut actions: Vec<Vec<u8>>) -> Oid {
        let first = actions.remove(0);
        let template = Template {
            type_name: TypeName::from_str(cobs::job::TYPE_NAME).expect("it is ours"),
            tips: parents,
            message: "forged".to_owned(),
            embeds: vec![],
            contents: (first, actions).into(),
        };
        let pin = self.repository.identity_head().expect("a ledger has an identity");
        self.repository.store(Some(pin), vec![], &self.home.signer, template).expect("the storage is writable").id
    }

    /// Points this node's reference of a job at `tip` and signs its references; the daemon tells the others.
    pub fn publish(&self, job: JobId, tip: Oid) {
        self.repository.backend.reference(&self.reference(job), tip.into(), true, "forged").expect("it is our own");
        self.repository.sign_refs(&self.home.signer).expect("it is our own key");
    }

    fn reference(&self, job: JobId) -> String {
        reference(&self.node(), job)
    }
}

/// Whether a node holds what another has published of a job.
pub fn holds(node: &Node, of: &NodeId, job: JobId, tip: Oid) -> bool {
    let unlock = Unlock { environment: None, prompt: &|| None };
    let home = NodeHome::open(&node.place(), &unlock).expect("the key has no passphrase");
    let ledger: RepoId = node.ledger().parse().expect("a ledger has an id");
    let repository = home.storage.repository(ledger).expect("the ledger is here");
    repository.backend.refname_to_id(&reference(of, job)).is_ok_and(|found| Oid::from(found) == tip)
}

fn reference(node: &NodeId, job: JobId) -> String {
    format!("refs/namespaces/{node}/refs/cobs/{}/{job}", cobs::job::TYPE_NAME)
}
