//! Random scripts: what is said, by whom, and how often a property is tried.

use cobs::job::outcome::RunOutcome;
use proptest::prelude::{Just, Strategy, any, prop};
use proptest::prop_oneof;
use proptest::test_runner::Config;

use super::course::{self, OUTCOMES};
use super::garbage::KINDS;
use super::{AUTHOR, Body, How, Line, NODES, Root, Say, WORKER1, WORKER2};

/// Operations in a course of honest nodes.
const COURSE_MAX: usize = 16;
/// Operations of anyone in a history.
const RANDOM_MAX: usize = 24;
/// What proptest tries unless PROPTEST_CASES says otherwise.
const PROPTEST_CASES_USUAL: u32 = 256;

/// Tries a property `usual` times, or in proportion to what PROPTEST_CASES asks for.
pub fn cases(usual: u32) -> Config {
    let asked = Config::default().cases;
    Config::with_cases((usual * asked).div_ceil(PROPTEST_CASES_USUAL))
}

pub fn roots() -> impl Strategy<Value = Root> {
    any::<(bool, bool, bool)>().prop_map(|(idempotent, held_allowed, granted)| Root {
        idempotent,
        held_allowed,
        granted,
    })
}

/// A root, what honest nodes make of it, and what anyone adds.
pub fn histories() -> impl Strategy<Value = (Root, Vec<Line>)> {
    roots().prop_flat_map(|root| {
        (courses(root), lines(&NODES, &NODES)).prop_map(move |(mut course, random)| {
            course.extend(random);
            (root, course)
        })
    })
}

/// A course, of which some operations are not there yet.
pub fn courses(root: Root) -> impl Strategy<Value = Vec<Line>> {
    let choices = prop::collection::vec(any::<u8>(), 0..COURSE_MAX);
    (choices, prop::collection::vec(0..8u8, COURSE_MAX)).prop_map(move |(choices, there)| {
        let course = course::play(root.granted, &choices);
        course.into_iter().zip(there).filter(|(_, there)| *there > 0).map(|(line, _)| line).collect()
    })
}

/// Operations of `authors`, which hand things `to` those.
pub fn lines(authors: &'static [u8], to: &'static [u8]) -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec(line(authors, to), 0..RANDOM_MAX)
}

fn line(authors: &'static [u8], to: &'static [u8]) -> impl Strategy<Value = Line> {
    let pin = prop_oneof![
        3 => Just(None), 1 => Just(Some(0u8)), 3 => Just(Some(1)), 2 => Just(Some(2)), 1 => Just(Some(9))
    ];
    (prop::sample::select(authors), body(to), pin).prop_map(|(author, body, pin)| Line { author, pin, body })
}

fn body(to: &'static [u8]) -> impl Strategy<Value = Body> {
    let elsewhere = prop_oneof![12 => Just(false), 1 => Just(true)];
    let seq = prop_oneof![9 => 0..6u32, 1 => 250..300u32];
    let says = (elsewhere, seq, say(to)).prop_map(|(elsewhere, seq, say)| Body::Says { elsewhere, seq, say });
    prop_oneof![
        40 => says,
        1 => Just(Body::Root),
        1 => prop_oneof![Just(0u8), Just(2), Just(101)].prop_map(Body::Many),
        1 => (0..3u8).prop_map(Body::Large),
        2 => (0..KINDS).prop_map(Body::Garbage),
    ]
}

fn say(to: &'static [u8]) -> impl Strategy<Value = Say> {
    let outcome = prop::sample::select(&OUTCOMES[..]);
    (0..7u8, 0..3u32, 0..4u32, prop::sample::select(to), outcome, any::<bool>()).prop_map(
        |(which, epoch, term, to, outcome, held)| match which {
            0 => Say::Bid { score: term * 100 },
            1 => Say::Grant { epoch, term: term.max(1), to, held },
            2 => Say::Done { epoch, term, outcome },
            3 => Say::Settle { epoch, how: how(epoch, term, to, outcome) },
            4 => Say::Cancel,
            5 => Say::StepDown { epoch, to, last: term },
            _ => Say::Takeover { epoch: epoch.max(1), to, last: term },
        },
    )
}

fn how(epoch: u32, term: u32, seed: u8, outcome: RunOutcome) -> How {
    match seed {
        AUTHOR => How::Cancelled,
        WORKER1 => How::Expired,
        WORKER2 => How::Lost(term),
        _ => How::Result { seq: term, epoch, term, outcome },
    }
}
