//! The laws of the fold on real storage: the same signed operations mean the same in whatever commits, namespaces,
//! archives and order they lie, and what is read in parts and joined is what is read at once.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{NodeId, Oid, Token};
use cobs::job::history::{History, Op};
use cobs::job::state::Job;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestRunner;
use proptest::{prop_assert, prop_assert_eq};

use crate::script::strategy::{cases, histories};
use crate::script::{AUTHOR, Body, Cast as _, DELEGATE, Line, MEMBERS, NODES, Root, STRANGER, Say, WORKER1};
use crate::stage::{Frame, Play, Stage};

/// Histories that are played; each in several shapes.
const HISTORIES: u32 = 24;
/// Shapes of each.
const SHAPES: usize = 3;
/// Committer times that a forger may write; honest ones lie between.
const TIMES: [i64; 6] = [0, 1, 1_700_000_000, 1_700_000_001, 99_999_999_999, i64::MAX];

/// An operation and the seed of its author.
type Signed = (u8, Op);

/// Chances that are a function of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// How the commits hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// All below the root.
    Wide,
    /// Each below the one before, whoever signed it.
    Deep,
    /// Below several others, or none.
    Tangled,
}

/// Commits the operations in a random order and shape; some twice, in other commits. The tips, which reach all.
fn commit(play: &Play<'_>, ops: &[Signed], shape: Shape, dice: &mut Dice) -> BTreeSet<Oid> {
    let mut waiting: Vec<&Signed> = ops.iter().collect();
    let copies = ops.len() / 4;
    waiting.extend((0..copies).map(|_| dice.pick(ops)));
    let mut minted: Vec<Oid> = Vec::new();
    let mut tips = BTreeSet::new();
    while !waiting.is_empty() {
        let (author, op) = waiting.swap_remove(dice.below(waiting.len()));
        let below = |dice: &mut Dice| minted.get(dice.below(minted.len() + 1)).copied().unwrap_or(play.job.0);
        let parents: Vec<Oid> = match shape {
            Shape::Wide => vec![play.job.0],
            Shape::Deep => vec![minted.last().copied().unwrap_or(play.job.0)],
            Shape::Tangled => (0..dice.below(4)).map(|_| below(dice)).collect(),
        };
        let frame = Frame {
            parents,
            pin: op.pin.map(|pin| pin.0),
            // another commit, or one that does not exist: neither is entered
            related: (0..dice.below(8) / 7).map(|_| Oid::from_sha1([7; 20])).collect(),
            time: *dice.pick(&TIMES),
            message: format!("{}", dice.below(1_000)),
        };
        let id = play.stage.mint(op.id, &play.stage.key(*author), &frame);
        for parent in &frame.parents {
            tips.remove(parent);
        }
        if !minted.contains(&id) {
            minted.push(id);
            tips.insert(id);
        }
    }
    tips
}

/// Gives the tips to namespaces that are read.
fn deal(play: &Play<'_>, tips: &BTreeSet<Oid>, dice: &mut Dice) -> BTreeMap<NodeId, BTreeSet<Oid>> {
    let mut dealt: BTreeMap<NodeId, BTreeSet<Oid>> = BTreeMap::new();
    for tip in tips {
        dealt.entry(play.node(*dice.pick(&MEMBERS))).or_default().insert(*tip);
    }
    dealt
}

fn signed(play: &Play<'_>, lines: &[Line], dice: &mut Dice) -> Vec<Signed> {
    let mut ops: Vec<Signed> = lines.iter().map(|line| (line.author, line.op(play))).collect();
    // copies of some under other pins, as anyone may make them
    for _ in 0..ops.len() / 5 {
        let (author, op) = dice.pick(&ops).clone();
        let pin = [None, Some(play.revision(0)), Some(play.revision(2)), Some(play.revision(9))][dice.below(4)];
        ops.push((author, Op { pin, ..op }));
    }
    // the root's own tree once more, which means nothing below it
    if dice.below(2) == 0 {
        ops.push((AUTHOR, Op { pin: Some(play.revision(2)), ..play.root.clone() }));
    }
    ops
}

fn grown(play: &Play<'_>, ops: &[Signed]) -> History {
    let mut history = History::new(play.job, play.root.clone());
    ops.iter().for_each(|(_, op)| history.insert(op.clone()));
    history
}

fn effects(mut job: Job) -> Job {
    job.ignored.clear();
    job
}

fn check(usual: u32, test: impl Fn(&Play<'_>, Vec<Line>, Dice) -> Result<(), proptest::test_runner::TestCaseError>) {
    let stage = Stage::new();
    let nonce = Cell::new(0);
    let strategy = (histories(), any::<u64>()).prop_map(|((root, lines), seed)| (root, lines, seed | 1));
    let mut runner = TestRunner::new(proptest::test_runner::Config { failure_persistence: None, ..cases(usual) });
    let result = runner.run(&strategy, |(root, lines, seed): (Root, Vec<Line>, u64)| {
        nonce.set(nonce.get() + 1);
        test(&stage.play(root, nonce.get()), lines, Dice(seed))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn shape_time_and_place_of_commits_leave_no_trace() {
    check(HISTORIES, |play, lines, mut dice| {
        let ops = signed(play, &lines, &mut dice);
        let expected = grown(play, &ops);
        let job = expected.evaluate(&play.stage.identity).unwrap();
        for shape in [Shape::Wide, Shape::Deep, Shape::Tangled].into_iter().cycle().take(SHAPES) {
            let tips = commit(play, &ops, shape, &mut dice);
            play.place(&deal(play, &tips, &mut dice));
            let read = play.read().unwrap();
            prop_assert!(read.reading.truncated.is_empty());
            prop_assert_eq!((read.reading.missing, read.reading.unreadable), (0, 0));
            prop_assert_eq!(&read.reading.history, &expected, "{:?}", shape);
            prop_assert_eq!(&read.job, &job, "{:?}", shape);
        }
        Ok(())
    });
}

#[test]
fn what_comes_in_parts_is_what_comes_at_once() {
    check(HISTORIES, |play, lines, mut dice| {
        let ops = signed(play, &lines, &mut dice);
        let whole = grown(play, &ops);
        let mut placed: BTreeMap<NodeId, BTreeSet<Oid>> = BTreeMap::new();
        let mut joined = History::new(play.job, play.root.clone());
        // each batch is committed on its own, as by nodes that have not heard of each other
        for batch in ops.chunks(ops.len().div_ceil(3).max(1)) {
            let tips = commit(play, batch, Shape::Tangled, &mut dice);
            let dealt = deal(play, &tips, &mut dice);
            play.place(&dealt);
            let part = play.read().unwrap();
            prop_assert_eq!(&part.job, &grown(play, batch).evaluate(&play.stage.identity).unwrap());
            joined.merge(&part.reading.history);
            for (node, tips) in dealt {
                placed.entry(node).or_default().extend(tips);
            }
        }
        play.place(&placed);
        let read = play.read().unwrap();
        prop_assert_eq!(&read.reading.history, &joined);
        prop_assert_eq!(&joined, &whole);
        prop_assert_eq!(read.job, joined.evaluate(&play.stage.identity).unwrap());
        Ok(())
    });
}

#[test]
fn strangers_are_read_once_a_takeover_admits_them() {
    let admitted = Cell::new(0);
    check(HISTORIES, |play, mut lines, mut dice| {
        let says = |author, say| Line { author, pin: None, body: Body::Says { elsewhere: false, seq: 99, say } };
        lines.push(says(DELEGATE, Say::Takeover { epoch: 1, to: STRANGER, last: 0 }));
        lines.push(says(STRANGER, Say::Grant { epoch: 1, term: 9, to: WORKER1, held: false }));
        let ops = signed(play, &lines, &mut dice);
        let whole = grown(play, &ops).evaluate(&play.stage.identity).unwrap();
        let mut placed: BTreeMap<NodeId, BTreeSet<Oid>> = BTreeMap::new();
        for author in NODES {
            let own: Vec<Signed> = ops.iter().filter(|(seed, _)| *seed == author).cloned().collect();
            placed.insert(play.node(author), commit(play, &own, Shape::Tangled, &mut dice));
        }
        play.place(&placed);
        let read = play.read().unwrap();
        let granted = read.job.grants.contains_key(&Token::new(1, 9));
        admitted.set(admitted.get() + u32::from(granted));
        prop_assert_eq!(&read.reading.admitted, &play.stage.identity.admitted(&read.job));
        prop_assert_eq!(effects(read.job), effects(whole));
        Ok(())
    });
    assert!(admitted.get() >= HISTORIES / 4, "only {} strangers came to grant", admitted.get());
}

#[test]
fn a_root_that_is_none_is_none_whatever_lies_below() {
    let stage = Stage::new();
    let play = stage.play(Root::default(), 1);
    let line = Line { author: AUTHOR, pin: Some(9), body: Body::Root };
    let root = line.op(&play);
    let key = stage.key(AUTHOR);
    let frames = [None, Some(stage.revision(9).0)].map(|pin| Frame { pin, ..Frame::default() });
    for frame in frames {
        let job = cobs::id::JobId(stage.mint(root.id, &key, &frame));
        let odd = Play { stage: &stage, job, root: root.clone() };
        let below = Frame { parents: vec![job.0], ..Frame::default() };
        let bid = Line { author: AUTHOR, pin: None, body: Body::Many(2) }.op(&odd);
        odd.place(&[(odd.node(AUTHOR), [stage.mint(bid.id, &key, &below)].into())].into());
        assert!(matches!(odd.read(), Err(cobs::adapter::reader::ReadError::NoJob { .. })));
    }
}
