//! The caps of reading, each at its edge and beyond, on a small stack; and that the most an honest job can be is within.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cobs::adapter::archive::ARCHIVE_TIPS_MAX;
use cobs::adapter::reader::{Read, WALK_BYTES_MAX, WALK_COMMITS_MAX};
use cobs::adapter::writer::Draft;
use cobs::id::{Epoch, JobId, NodeId, Oid, Seq, Term, TreeId};
use cobs::job::action::{
    ACTION_BYTES_MAX, Action, Cancel, Create, Digests, Done, Grant, GrantKind, REASON_BYTES_MAX, Settle, StepDown,
    TAIL_BYTES_MAX,
};
use cobs::job::history::OpId;
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::spec::ATTEMPTS_MAX;
use cobs::job::state::Status;
use radicle::crypto::SigningKey;

use crate::home::{bid, key, node, operation, publish};
use crate::script::{AUTHOR, Cast as _, Line, Root, Say, WORKER1};
use crate::stage::{Frame, Play, Stage};

/// The stack of the thread that reads, in bytes.
const STACK_BYTES: usize = 256 * 1024;
/// The most that reading one job may take here, in seconds of an unoptimised build on a busy machine.
const READ_SECONDS_MAX: u64 = 60;

/// Reads on a small stack, in bounded time.
fn read(play: &Play<'_>) -> Read {
    let (storage, ledger) = (play.stage.home.storage.clone(), play.stage.home.ledger);
    let (job, identity) = (play.job, play.stage.identity.clone());
    let small = std::thread::Builder::new().stack_size(STACK_BYTES);
    let reader = small.spawn(move || {
        let repo = radicle::storage::ReadStorage::repository(&storage, ledger).unwrap();
        let began = Instant::now();
        let read = cobs::adapter::reader::read_job(&repo, job, &identity).unwrap();
        (read, began.elapsed())
    });
    let (read, took) = reader.unwrap().join().unwrap();
    assert!(took < Duration::from_secs(READ_SECONDS_MAX), "{took:?}");
    read
}

fn below(parents: Vec<Oid>, number: usize) -> Frame {
    Frame { parents, message: format!("{number}"), ..Frame::default() }
}

/// Bids of a worker under the numbers 0 to 255, as trees.
fn bids(play: &Play<'_>) -> Vec<OpId> {
    let line = |seq| Line {
        author: WORKER1,
        pin: None,
        body: crate::script::Body::Says { elsewhere: false, seq, say: Say::Bid { score: seq } },
    };
    (0..=Seq::MAX.0).map(|seq| line(seq).op(play).id).collect()
}

fn publish_worker(play: &Play<'_>, tip: Oid) {
    publish(&play.stage.repo, &play.node(WORKER1), play.job, tip);
}

#[test]
fn ten_thousand_commits_in_a_chain_are_cut_at_the_cap() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let (bids, worker) = (bids(&play), stage.key(WORKER1));
    let mut tip = play.job.0;
    for number in 0..10_000 {
        tip = stage.mint(bids[number % bids.len()], &worker, &below(vec![tip], number));
        let (at, beyond) = (number + 1 == WALK_COMMITS_MAX, number == WALK_COMMITS_MAX);
        if at || beyond || number + 1 == 10_000 {
            publish_worker(&play, tip);
            let read = read(&play);
            assert_eq!(read.reading.truncated.is_empty(), at, "{number}");
            assert_eq!(read.ops, 1 + bids.len(), "every number is among the newest");
            assert_eq!(read.job.bids[&play.node(WORKER1)].score, Seq::MAX.0);
        }
    }
}

#[test]
fn a_wide_and_woven_graph_is_cut_at_the_cap() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let (bids, worker) = (bids(&play), stage.key(WORKER1));
    let row = |parents: &[Oid], salt: usize, count: usize| -> Vec<Oid> {
        let mint = |number| stage.mint(bids[number % 256], &worker, &below(parents.to_vec(), salt + number));
        (0..count).map(mint).collect()
    };
    // a row of a hundred commits, each below the whole row of a thousand before it
    let lower = row(&[play.job.0], 0, 1_000);
    let upper = row(&lower, 1_000, 100);
    let tip = stage.mint(bids[0], &worker, &below(upper, 2_000));
    publish_worker(&play, tip);
    let read = read(&play);
    assert_eq!(read.reading.truncated, [play.node(WORKER1)].into());
    assert_eq!(read.ops, 1 + bids.len());
}

#[test]
fn actions_are_read_until_their_bytes_are_passed() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let worker = stage.key(WORKER1);
    let fit = WALK_BYTES_MAX / ACTION_BYTES_MAX;
    for (count, whole) in [(fit, true), (fit + 1, false), (fit + 9, false)] {
        let mut tip = play.job.0;
        for number in 0..count {
            let mut action = bid(play.job, 1).with_seq(Seq(number as u32)).encode();
            action.resize(ACTION_BYTES_MAX, b' ');
            let id = OpId { author: node(&worker), tree: stage.tree(&[action]) };
            tip = stage.mint(id, &worker, &below(vec![tip], number));
        }
        publish_worker(&play, tip);
        let read = read(&play);
        assert_eq!(read.ops, 1 + count.min(fit + 1), "the one that passes is read");
        assert_eq!(read.reading.truncated.is_empty(), whole, "{count}");
    }
}

/// A tree of a bid with so many bytes, by entries that are not read, and with that manifest.
fn padded_tree(stage: &Stage, action: &Action, bytes: usize, manifest: &[u8]) -> TreeId {
    let git = &stage.repo.backend;
    let (blob, manifest) = (git.blob(&action.encode()).unwrap(), git.blob(manifest).unwrap());
    let entry = |name: &str, id: git2::Oid| [format!("100644 {name}\0").as_bytes(), id.as_bytes()].concat();
    let mut tree = [entry("0", blob), entry("manifest", manifest)].concat();
    let mut number = 0;
    while tree.len() < bytes {
        let left = bytes - tree.len();
        // mode, space, zero and id take 28
        let name = if left < 300 { left - 28 } else { 100 };
        tree.extend(entry(&format!("z{number:0>width$}", width = name - 1), blob));
        number += 1;
    }
    TreeId(git.odb().unwrap().write(git2::ObjectType::Tree, &tree).unwrap().into())
}

#[test]
fn commits_trees_and_manifests_are_read_up_to_their_size() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let worker = stage.key(WORKER1);
    let action = bid(play.job, 7);
    let manifest = |bytes: usize| {
        let text = format!(r#"{{"typeName":"{}","version":1}}"#, cobs::job::TYPE_NAME);
        let mut text = text.into_bytes();
        text.resize(bytes.max(text.len()), b' ');
        text
    };
    let seen = |tree: TreeId, message: usize| {
        let id = OpId { author: node(&worker), tree };
        let empty = stage.mint(id, &worker, &below(vec![play.job.0], 0));
        let size = stage.repo.backend.odb().unwrap().read_header(empty.into()).unwrap().0;
        let padding = "x".repeat(message.saturating_sub(size) + 1);
        let frame = Frame { parents: vec![play.job.0], message: padding, ..Frame::default() };
        let tip = stage.mint(id, &worker, &frame);
        let size = stage.repo.backend.odb().unwrap().read_header(tip.into()).unwrap().0;
        assert!(message == 0 || size == message, "{size}");
        publish_worker(&play, tip);
        let read = read(&play);
        assert_eq!(read.ops + read.reading.unreadable, 2, "an operation or none");
        read.job.bids.contains_key(&play.node(WORKER1))
    };
    let small = manifest(0);
    let plain = padded_tree(&stage, &action, 0, &small);
    assert!(seen(plain, 64 * 1024));
    for commit in [64 * 1024 + 1, 1024 * 1024] {
        assert!(!seen(plain, commit), "a commit of {commit} bytes");
    }
    assert!(seen(padded_tree(&stage, &action, 16 * 1024, &small), 0));
    for tree in [16 * 1024 + 1, 1024 * 1024] {
        assert!(!seen(padded_tree(&stage, &action, tree, &small), 0), "a tree of {tree} bytes");
    }
    assert!(seen(padded_tree(&stage, &action, 0, &manifest(1024)), 0));
    for bytes in [1025, 1024 * 1024] {
        assert!(!seen(padded_tree(&stage, &action, 0, &manifest(bytes)), 0), "a manifest of {bytes} bytes");
    }
    // a manifest's version is not ours; its type is
    for (text, is) in [
        (r#"{"typeName":"io.rhizome.job","version":2,"new":1}"#, true),
        (r#"{"typeName":"io.rhizome.job"}"#, true),
        (r#"{"typeName":"io.rhizome.spec","version":1}"#, false),
        (r#"{"typeName":"io.rhizome.job","version":0}"#, false),
    ] {
        assert_eq!(seen(padded_tree(&stage, &action, 0, text.as_bytes()), 0), is, "{text}");
    }
}

#[test]
fn as_many_archived_tips_are_read_as_an_entry_may_list() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let (bids, worker) = (bids(&play), stage.key(WORKER1));
    let tips: Vec<Oid> = bids.iter().map(|bid| stage.mint(*bid, &worker, &below(vec![play.job.0], 0))).collect();
    let seen = |count: usize| {
        let archive = play.archive(&tips[..count].iter().copied().collect());
        let name = format!("refs/namespaces/{}/refs/rhizome/archive/jobs", play.node(WORKER1));
        stage.repo.backend.reference(&name, archive.into(), true, "archived").unwrap();
        read(&play).ops - 1
    };
    assert_eq!(seen(ARCHIVE_TIPS_MAX), ARCHIVE_TIPS_MAX);
    assert_eq!(seen(ARCHIVE_TIPS_MAX + 1), 0, "an entry beyond its size is none");
}

#[test]
fn a_job_may_be_archived_again_and_again() {
    // each time its entry got another tip, and with one more than is read the job was gone
    let home = crate::home::Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 0);
    for round in 0..=ARCHIVE_TIPS_MAX {
        operation(&writer, home.append(bid(job, round as u32)));
        writer.write(Draft::Archive { ledger: home.ledger, jobs: vec![job] }).unwrap();
    }
    let read = home.read(job).unwrap();
    assert_eq!(read.ops, ARCHIVE_TIPS_MAX + 2);
    assert_eq!(read.reading.tips[&home.node()].len(), 1, "what lies below the newest needs no mention");
}

/// A job at its honest worst, as its members write it: each its own chain, one operation after the other.
struct Worst<'a> {
    stage: &'a Stage,
    job: JobId,
    chains: BTreeMap<NodeId, (Oid, u32)>,
}

impl Worst<'_> {
    fn write(&mut self, key: &SigningKey, action: Action) -> TreeId {
        let author = node(key);
        let first = if author == self.stage.node(AUTHOR) { 1 } else { 0 };
        let (tip, seq) = self.chains.get(&author).copied().unwrap_or((self.job.0, first));
        let tree = self.stage.tree(&[action.with_seq(Seq(seq)).encode()]);
        let pin = Some(self.stage.revision(2).0);
        let frame = Frame { parents: vec![tip], pin, ..Frame::default() };
        let tip = self.stage.mint(OpId { author, tree }, key, &frame);
        publish(&self.stage.repo, &author, self.job, tip);
        self.chains.insert(author, (tip, seq + 1));
        tree
    }
}

#[test]
fn the_most_that_an_honest_job_can_be_is_read_whole() {
    let stage = Stage::new();
    let author = stage.key(AUTHOR);
    let arbiters: Vec<SigningKey> =
        (0..8).map(|number| if number == 0 { author.clone() } else { key(200 + number) }).collect();
    let workers: Vec<SigningKey> = (0..64).map(|number| key(number + 10)).collect();
    let nobody = stage.play(Root::default(), 1);
    let mut create: Create = Root::default().create(&nobody, &"e".repeat(32));
    create.arbiters = arbiters.iter().map(node).collect();
    create.workers = workers.iter().map(node).collect();
    create.spec.attempts = ATTEMPTS_MAX;
    // as large as a root may be
    let mut title = String::new();
    let root = loop {
        create.spec.title = Some(title.clone());
        let bytes = Action::Create(Box::new(create.clone())).encode();
        if bytes.len() == ACTION_BYTES_MAX {
            break bytes;
        }
        title.extend(std::iter::repeat_n('x', (ACTION_BYTES_MAX - bytes.len()).min(60_000)));
    };
    let id = OpId { author: node(&author), tree: stage.tree(&[root]) };
    let pin = Some(stage.revision(1).0);
    let job = JobId(stage.mint(id, &author, &Frame { pin, ..Frame::default() }));
    publish(&stage.repo, &id.author, job, job.0);

    let mut worst = Worst { stage: &stage, job, chains: BTreeMap::new() };
    let text = |bytes: usize| "\u{1}".repeat(bytes);
    for worker in &workers {
        worst.write(worker, bid(job, 1_000));
    }
    // every attempt on one worker, each told with all that a report may hold, of what takes most bytes
    let (seq, worker) = (Seq(0), &workers[0]);
    for attempt in 1..=ATTEMPTS_MAX {
        let epoch = (attempt - 1) * 8 / ATTEMPTS_MAX;
        let arbiter = &arbiters[epoch as usize];
        let (epoch, term) = (Epoch(epoch), Term(attempt));
        let (to, kind) = (node(worker), GrantKind::Leased);
        worst.write(arbiter, Action::Grant(Grant { job, seq, epoch, term, node: to, kind, lease_ms: 600_000 }));
        let outcome = RunOutcome::Exited { code: 255 };
        let (tail, reason, digests) = (text(TAIL_BYTES_MAX), text(REASON_BYTES_MAX), Digests::default());
        let done = Done { job, seq, epoch, term, outcome, digests, tail, reason, duration_ms: u64::MAX };
        worst.write(worker, Action::Done(done));
        worst.write(worker, Action::Bid(cobs::job::action::Bid { job, seq, score: 0, reason: text(REASON_BYTES_MAX) }));
        if attempt * 8 / ATTEMPTS_MAX > epoch.0 && attempt < ATTEMPTS_MAX {
            let to = node(&arbiters[epoch.0 as usize + 1]);
            worst.write(arbiter, Action::StepDown(StepDown { job, seq, epoch, to, last: term, unconfirmed: false }));
        }
    }
    worst.write(&author, Action::Cancel(Cancel { job, seq, reason: text(REASON_BYTES_MAX) }));
    let outcome = Settlement::Lost { term: Term(ATTEMPTS_MAX) };
    worst.write(&arbiters[7], Action::Settle(Settle { job, seq, epoch: Epoch(7), outcome }));

    let play = Play { stage: &stage, job, root: nobody.root.clone() };
    let read = read(&play);
    assert!(read.reading.truncated.is_empty() && read.job.ignored.is_empty(), "{:?}", read.job.ignored);
    assert_eq!((read.job.status(), read.job.attempts_used()), (Status::Settled, ATTEMPTS_MAX));
    assert_eq!((read.job.epochs.len(), read.job.bids.len(), read.job.cancels.len()), (8, 64, 1));
    let numbers: BTreeSet<Seq> = read.job.last_seq.values().copied().collect();
    assert!(numbers.last() < Some(&Seq(Seq::MAX.0 / 2)), "{numbers:?}");
}
