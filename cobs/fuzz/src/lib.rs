//! Bytes as a history, and the laws that hold of it whatever the bytes are; also, bytes as a peer record. For the fuzz target and for the tests of
//! `cobs`, which replay its corpus.
//!
//! Each line is an operation, the first one the root: its author `A` to `H`, its pin (`0` to `2` are accepted revisions,
//! `-` is none), a space, and its action. Several actions are parted by tabs. `$A` to `$H` in an action stand for the
//! nodes, `$J` for the job, `$K` for another one, `$R` for a repository, `$D` for a digest, and `$0` to `$9` for the trees of
//! the first lines; so that one changed byte makes another history and not a broken id.

use std::collections::BTreeSet;

use cobs::id::{Epoch, JobId, NodeId, Oid, RevisionId, Seq, Token, TreeId};
use cobs::job::action::{ACTION_BYTES_MAX, Action, GrantKind};
use cobs::job::fold::{EPOCHS_MAX, Identity};
use cobs::job::history::{Content, History, Op, OpId};
use cobs::job::outcome::Settlement;
use cobs::job::spec::Mode;
use cobs::job::state::Job;
use cobs::peer::PeerRecord;

/// Most operations of one input.
const OPS_MAX: usize = 256;
const JOB: JobId = JobId(Oid::Sha1([0xaa; 20]));
const OTHER_JOB: JobId = JobId(Oid::Sha1([0xbb; 20]));
const DELEGATE: u8 = b'E';

/// Reads the bytes as a history and holds it against the laws.
///
/// # Panics
/// When a law is broken: that is what it is for.
pub fn check(data: &[u8]) {
    if let Ok(record) = PeerRecord::decode(data) {
        assert_eq!(PeerRecord::decode(&record.encode()).ok().as_ref(), Some(&record), "a record reads as itself");
    }
    let mut ops = read(data).into_iter();
    let Some(root) = ops.next() else { return };
    let ops: Vec<Op> = ops.collect();
    for op in ops.iter().chain([&root]) {
        rereads(op);
    }
    let whole = grown(&root, ops.iter());
    let evaluated = whole.evaluate(&identity());
    arrives(&root, &ops, &whole);
    let Ok(job) = evaluated else {
        assert!(grown(&root, [].iter()).evaluate(&identity()).is_err(), "only a root may be no job");
        return;
    };
    assert_eq!(whole.admitted(&identity()).as_ref(), Ok(&identity().admitted(&job)));
    let admitted = identity().admitted(&job);
    rules(&job, &admitted);
    let text = serde_json::to_string(&job).expect("a state is JSON");
    assert_eq!(serde_json::from_str::<Job>(&text).expect("a state reads as itself"), job);
    let honest = grown(&root, ops.iter().filter(|op| admitted.contains(&op.id.author)));
    assert_eq!(effects(honest.evaluate(&identity()).expect("the root is the same")), effects(job));
}

/// What the fold makes of the bytes, for a test that a corpus shows what it is named for. None when they hold no job.
pub fn job(data: &[u8]) -> Option<Job> {
    let mut ops = read(data).into_iter();
    let root = ops.next()?;
    grown(&root, ops.collect::<Vec<_>>().iter()).evaluate(&identity()).ok()
}

/// What counts obeys the rules, whatever was thrown at the fold. `admitted` are those whose operations may count.
pub fn rules(job: &Job, admitted: &BTreeSet<NodeId>) {
    let may_hold = |node, arbiter| node == arbiter || job.create.spec.held_allowed;
    for (token, granted) in &job.grants {
        assert!(job.create.workers.contains(&granted.node), "granted to no worker");
        let opened = job.epochs.iter().find(|opened| opened.epoch == token.epoch).expect("its epoch is open");
        assert!(token.term > opened.last, "a term of the epoch before");
        assert!(granted.kind == GrantKind::Leased || may_hold(granted.node, opened.arbiter), "held to another");
        let next = job.epochs.iter().find(|next| next.epoch.0 == token.epoch.0 + 1);
        assert!(next.is_none_or(|next| token.term <= next.last), "a term above the last of its epoch");
    }
    for (token, report) in &job.dones {
        assert_eq!(job.grants.get(token).map(|granted| granted.node), Some(report.node), "reported by another");
    }
    for ((epoch, node), report) in &job.self_started {
        assert!(job.create.mode == Mode::Idempotent && job.create.workers.contains(node) && report.node == *node);
        assert!(job.arbiter_of(*epoch).is_some());
    }
    assert!(job.epochs.len() <= EPOCHS_MAX as usize + 1);
    for (number, pair) in job.epochs.windows(2).enumerate() {
        assert_eq!((pair[0].epoch, pair[1].epoch), (Epoch(number as u32), Epoch(number as u32 + 1)));
        assert!(pair[1].last >= pair[0].last && pair[1].by.is_some());
    }
    let settles: Vec<_> = job.settled.iter().chain(&job.other_settles).collect();
    assert!(settles.is_sorted_by_key(|settled| (std::cmp::Reverse(settled.epoch), settled.tree)));
    for settled in settles {
        assert!(job.arbiter_of(settled.epoch).is_some());
        let by_rank = matches!(settled.outcome, Settlement::Result { term, .. } if term == Token::new(0, 0).term);
        assert!(!by_rank || job.create.mode == Mode::Idempotent);
    }
    assert!(job.bids.keys().all(|node| job.create.workers.contains(node)));
    assert!(job.last_seq.values().all(|seq| *seq <= Seq::MAX));
    assert!(job.last_seq.keys().all(|node| admitted.contains(node)), "numbers of a stranger");
    assert!(job.ignored.values().all(|count| *count > 0));
}

/// A job without what anyone may leave behind: counts of ignored operations.
pub fn effects(mut job: Job) -> Job {
    job.ignored.clear();
    job
}

/// The accepted revisions: `G` is a delegate of the first alone, `E` of all, `H` of the last; roots pin the second.
pub fn identity() -> Identity {
    let delegates = [[DELEGATE, b'G'], [DELEGATE, DELEGATE], [DELEGATE, b'H']];
    let revisions = delegates.into_iter().zip(b'0'..);
    Identity { accepted: revisions.map(|(nodes, number)| (revision(number), nodes.map(node).into())).collect() }
}

/// Every order, number and grouping of arrivals gives the same history and the same state.
fn arrives(root: &Op, ops: &[Op], whole: &History) {
    let state = whole.evaluate(&identity());
    let backwards = grown(root, ops.iter().rev().chain(ops.iter().step_by(2)));
    assert_eq!(backwards.evaluate(&identity()), state, "in another order, some twice");
    let part = |which: usize| grown(root, ops.iter().skip(which).step_by(3));
    let [mut one, mut two, three] = [part(0), part(1), part(2)];
    // whatever part has come, it is a job as soon as its root is one
    assert_eq!(one.evaluate(&identity()).is_ok(), state.is_ok());
    let mut grouped = two.clone();
    grouped.merge(&three);
    grouped.merge(&one);
    two.merge(&one);
    one.merge(&three);
    one.merge(&two);
    one.merge(&grouped);
    assert_eq!((&grouped, &one, &backwards), (whole, whole, whole), "in other groups");
    assert_eq!(grouped.evaluate(&identity()), state);
}

/// What was read is written in one way, and that reads as the same.
fn rereads(op: &Op) {
    let Content::Action(action) = &op.content else { return };
    let bytes = action.encode();
    // fields at their default may have been left out
    if bytes.len() <= ACTION_BYTES_MAX {
        assert_eq!(Action::decode(&bytes).as_ref(), Ok(action));
    }
}

fn grown<'a>(root: &Op, ops: impl Iterator<Item = &'a Op>) -> History {
    let mut history = History::new(JOB, root.clone());
    ops.for_each(|op| history.insert(op.clone()));
    history
}

fn read(data: &[u8]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for line in data.split(|byte| *byte == b'\n').take(OPS_MAX) {
        let [author, pin, b' ', text @ ..] = line else { continue };
        let trees: Vec<TreeId> = ops.iter().map(|op| op.id.tree).collect();
        let actions: Vec<Vec<u8>> = text.split(|byte| *byte == b'\t').map(|text| spell(text, &trees)).collect();
        let content = match &actions[..] {
            [action] => Action::decode(action).map_or_else(Content::Unreadable, Content::Action),
            several => Content::Many(several.len()),
        };
        let id = OpId { author: node(*author), tree: tree(&actions) };
        ops.push(Op { id, pin: (*pin != b'-').then(|| revision(*pin)), content });
    }
    ops
}

/// Puts the names in place of what stands for them.
fn spell(text: &[u8], trees: &[TreeId]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'$' {
            bytes.push(*byte);
            continue;
        }
        let name = match rest.next() {
            Some(b'J') => JOB.to_string(),
            Some(b'K') => OTHER_JOB.to_string(),
            Some(b'R') => "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5".to_owned(),
            Some(b'D') => "ab".repeat(32),
            Some(letter @ b'A'..=b'H') => node(*letter).to_string(),
            Some(digit @ b'0'..=b'9') => {
                trees.get(usize::from(digit - b'0')).copied().unwrap_or(TreeId(Oid::Sha1([0; 20]))).to_string()
            }
            Some(_) | None => "$".to_owned(),
        };
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

/// A function of the content, as git's is: three rounds of FNV-1a.
fn tree(actions: &[Vec<u8>]) -> TreeId {
    let mut id = [0; 24];
    for (round, chunk) in id.chunks_mut(8).enumerate() {
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ round as u64;
        for byte in actions.iter().flat_map(|action| [action.as_slice(), b"\t"]).flatten() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        chunk.copy_from_slice(&(hash ^ hash.rotate_left(29)).to_be_bytes());
    }
    TreeId(Oid::from_sha1(std::array::from_fn(|index| id[index])))
}

fn node(letter: u8) -> NodeId {
    NodeId::from([letter; 32])
}

fn revision(number: u8) -> RevisionId {
    RevisionId(Oid::from_sha1([number; 20]))
}
