//! The caps of the fold, and that it takes bounded stack and time whatever is in a history.

use std::time::{Duration, Instant};

use cobs::id::{Epoch, Seq};
use cobs::job::fold::EPOCHS_MAX;
use cobs::job::history::{History, Op};
use cobs::job::outcome::{RunOutcome, Settlement};
use cobs::job::state::{Ignored, Job};

use crate::script::{ARBITER2, AUTHOR, DELEGATE, NODES, WORKER1, WORKER2};
use crate::world::{JOB, act, identity, op, root};

/// The stack of the thread that evaluates, in bytes.
const STACK_BYTES: usize = 256 * 1024;
/// The most that one evaluation may take, in seconds of an unoptimised build on a busy machine.
const EVALUATE_SECONDS_MAX: u64 = 20;

/// Evaluates on a small stack, in bounded time.
fn evaluate(ops: Vec<Op>) -> Job {
    let mut history = History::new(JOB, root());
    ops.into_iter().for_each(|op| history.insert(op));
    let small = std::thread::Builder::new().stack_size(STACK_BYTES);
    let fold = small.spawn(move || {
        let began = Instant::now();
        let job = history.evaluate(&identity()).unwrap();
        (job, began.elapsed())
    });
    let (job, took) = fold.unwrap().join().unwrap();
    assert!(took < Duration::from_secs(EVALUATE_SECONDS_MAX), "{took:?}");
    job
}

#[test]
fn ten_thousand_operations_of_each_of_many_take_bounded_stack_and_time() {
    let mut ops = Vec::new();
    for number in 0..10_000 {
        let (seq, author) = (number % 300, NODES[number as usize % NODES.len()]);
        ops.push(op(author, act(JOB, seq).bid(number % 1_000), None));
        ops.push(op(WORKER1, act(JOB, seq).done(0, number, RunOutcome::Lost), None));
    }
    let job = evaluate(ops);
    assert_eq!(job.last_seq[&crate::world::node(WORKER1)], Seq::MAX);
    assert_eq!(job.ignored.len(), 5, "{:?}", job.ignored);
}

#[test]
fn an_arbiter_that_hands_over_and_settles_without_end_takes_bounded_time() {
    // every step-down is held against every settle, of all that the reader may find
    let mut ops = Vec::new();
    for seq in 0..Seq::MAX.0 {
        for author in [AUTHOR, ARBITER2] {
            ops.push(op(author, act(JOB, seq).step_down(seq % 3, ARBITER2, seq), None));
            ops.push(op(author, act(JOB, seq).settle(seq % 3, Settlement::Expired), None));
        }
        for number in 0..60 {
            ops.push(op(
                WORKER2,
                act(JOB, seq).settle(seq % 3, Settlement::Lost { term: cobs::id::Term(number) }),
                None,
            ));
        }
    }
    let job = evaluate(ops);
    assert!(job.settled.is_some() && job.ignored[&Ignored::SequenceReused] > 15_000, "{:?}", job.ignored);
}

#[test]
fn as_many_hand_overs_are_followed_as_the_cap_says() {
    let takeovers =
        |count: u32| (1..=count).map(|epoch| op(DELEGATE, act(JOB, epoch).takeover(epoch, AUTHOR, 0), None));
    let newest = |count| evaluate(takeovers(count).collect()).arbiter().0;
    assert_eq!(newest(EPOCHS_MAX), Epoch(EPOCHS_MAX));
    let beyond = evaluate(takeovers(EPOCHS_MAX + 6).collect());
    assert_eq!((beyond.arbiter().0, beyond.ignored[&Ignored::BadEpoch]), (Epoch(EPOCHS_MAX), 6));
}

#[test]
fn numbers_count_up_to_the_last_and_no_further() {
    for (seq, counts) in [(Seq::MAX.0, true), (Seq::MAX.0 + 1, false), (u32::MAX, false)] {
        let job = evaluate(vec![op(WORKER1, act(JOB, seq).bid(1), None)]);
        assert_eq!(job.bids.len() == 1, counts, "{seq}");
        assert_eq!(job.ignored.contains_key(&Ignored::SequenceTooHigh), !counts, "{seq}");
    }
}
