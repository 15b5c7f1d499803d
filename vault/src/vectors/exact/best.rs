//! The choice of points that may be among the best, while only their scores' bounds are known.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::vectors::PointId;

/// Most points that stay in a choice, above what is asked for. It is reached only where many points are nearly the same.
pub const CHOICE_MAX: usize = 1_000;

/// A point with a score that is right to within an error.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Guess {
    /// The point.
    pub id: PointId,
    /// The number of its document.
    pub document: u32,
    /// About its cosine.
    pub score: f32,
    /// By how much that may be wrong.
    pub error: f32,
}

/// The points that may be among the best so far.
pub struct Best {
    wanted: usize,
    /// The best lower bounds, as many as are wanted; the worst of them on top.
    floors: BinaryHeap<Reverse<Score>>,
    guesses: Vec<Guess>,
    /// What a point must be able to reach.
    floor: f32,
}

/// A score in the order of numbers; none is NaN.
#[derive(Clone, Copy)]
struct Score(f32);

impl Best {
    /// A choice for this many.
    pub fn new(wanted: usize) -> Self {
        Self { wanted, floors: BinaryHeap::new(), guesses: Vec::new(), floor: f32::NEG_INFINITY }
    }

    /// Whether an offer could matter.
    #[inline]
    pub fn may_take(&self, score: f32, error: f32) -> bool {
        score + error >= self.floor
    }

    /// Takes a point that may be among the best.
    pub fn offer(&mut self, guess: Guess) {
        if self.wanted == 0 || !self.may_take(guess.score, guess.error) {
            return;
        }
        self.floors.push(Reverse(Score(guess.score - guess.error)));
        if self.floors.len() > self.wanted {
            self.floors.pop();
        }
        if self.floors.len() == self.wanted {
            self.floor = self.floors.peek().map_or(f32::NEG_INFINITY, |Reverse(Score(floor))| *floor);
        }
        self.guesses.push(guess);
        if self.guesses.len() > 4 * self.limit() {
            self.trim();
        }
    }

    /// What is left: every point that might be among the best, in order of what is known, up to a limit.
    pub fn finish(mut self) -> Vec<Guess> {
        self.trim();
        self.guesses
    }

    fn limit(&self) -> usize {
        CHOICE_MAX + self.wanted
    }

    fn trim(&mut self) {
        let floor = self.floor;
        self.guesses.retain(|guess| guess.score + guess.error >= floor);
        self.guesses
            .sort_unstable_by(|left, right| Score(right.score).cmp(&Score(left.score)).then(left.id.cmp(&right.id)));
        self.guesses.truncate(self.limit());
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
