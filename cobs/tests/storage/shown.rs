//! Hand-overs that travel over a link: they count by who signed them, as if they had been fetched, and nothing else does.

use std::collections::BTreeSet;

use cobs::adapter::shown::{Shown, hand_overs, read};
use cobs::id::{Epoch, JobId, NodeId, Oid, Seq, Term};
use cobs::job::action::{Action, StepDown};
use cobs::job::state::Job;
use radicle::crypto::SigningKey;

use crate::home::{Home, bid, identity, key, node, operation, publish, sign};

struct Two {
    home: Home,
    job: JobId,
    other: NodeId,
}

impl Two {
    /// A job of this node that another may arbitrate later.
    fn new() -> Self {
        let (home, other) = (Home::new(), node(&key(2)));
        let writer = home.writer();
        let mut create = home.create(1, &[home.node()]);
        create.arbiters.push(other);
        let draft = cobs::adapter::writer::Draft::Create { ledger: home.ledger, create: Box::new(create) };
        let job = operation(&writer, draft).job;
        Self { home, job, other }
    }

    fn step_down(&self, job: JobId) -> Action {
        let to = self.other;
        Action::StepDown(StepDown { job, seq: Seq(1), epoch: Epoch(0), to, last: Term(0), unconfirmed: false })
    }

    fn stored(&self) -> Job {
        self.home.read(self.job).unwrap().job
    }

    /// What a node that has the operation shows of it, though this one is without it again.
    fn shown(&self, by: &SigningKey, action: &Action) -> (Job, BTreeSet<Shown>) {
        let repo = self.home.repo();
        let tip = sign(&repo, by, vec![self.job.0], action);
        publish(&repo, &node(by), self.job, tip);
        let theirs = self.stored();
        let shown = hand_overs(&repo, &theirs, &identity(&repo)).unwrap();
        let before: Oid = self.job.0;
        publish(&repo, &node(by), self.job, before);
        (theirs, shown)
    }

    fn read(&self, shown: &BTreeSet<Shown>) -> Option<(Job, BTreeSet<Shown>)> {
        let repo = self.home.repo();
        read(&repo, &identity(&repo), &self.stored(), shown).unwrap()
    }
}

#[test]
fn a_hand_over_that_is_shown_counts_as_if_it_were_fetched() {
    let two = Two::new();
    let (theirs, shown) = two.shown(&two.home.key, &two.step_down(two.job));
    assert_eq!((theirs.arbiter(), shown.len()), ((Epoch(1), two.other), 1));
    assert_eq!(two.stored().arbiter(), (Epoch(0), two.home.node()), "it is not here");
    let over_the_link: BTreeSet<Shown> = serde_json::from_str(&serde_json::to_string(&shown).unwrap()).unwrap();
    let (read, used) = two.read(&over_the_link).unwrap();
    assert_eq!((read, used), (theirs, shown));
    assert_eq!(two.stored().arbiter().0, Epoch(0), "nothing is stored");
}

#[test]
fn what_is_no_hand_over_of_the_job_by_its_arbiter_counts_for_nothing() {
    let two = Two::new();
    let (_, shown) = two.shown(&two.home.key, &two.step_down(two.job));
    let text = serde_json::to_string(&shown).unwrap();
    for name in ["commit", "tree", "blobs"] {
        let mut torn: serde_json::Value = serde_json::from_str(&text).unwrap();
        let object = torn[0][name].take();
        torn[0][name] = match object {
            serde_json::Value::Array(blobs) => serde_json::json!(&blobs[1..]),
            _ => serde_json::json!("bm90IHdoYXQgaXQgd2Fz"),
        };
        let torn: BTreeSet<Shown> = serde_json::from_value(torn).unwrap();
        assert_eq!(two.read(&torn), None, "{name}");
    }
    // an operation that counts, and is no hand-over; and a hand-over by somebody else, and of another job
    let (_, none) = two.shown(&two.home.key, &bid(two.job, 1));
    assert!(none.is_empty(), "only hand-overs are shown");
    let (theirs, none) = two.shown(&key(3), &two.step_down(two.job));
    assert!(theirs.arbiter().0 == Epoch(0) && none.is_empty());
    let writer = two.home.writer();
    let mut create = two.home.create(2, &[two.home.node()]);
    create.arbiters.push(two.other);
    let draft = cobs::adapter::writer::Draft::Create { ledger: two.home.ledger, create: Box::new(create) };
    let another = Two { job: operation(&writer, draft).job, other: two.other, home: two.home };
    assert_eq!(another.read(&shown), None, "it is of another job");
}
