//! A small world of nodes with the real machine: one seed is one run. Everything that can go wrong between them does, by
//! chance, and the promises are checked at every step; after the world is healed everything must come to its end.
//!
//! Assumed, as the promises do: the rates of two clocks differ by a fifth at most, a supervisor kills within its grace,
//! arbiters are honest, and who is replaced by force is dead or hears of it before it acts again.

pub mod common;
mod driver;
mod faults;
mod occur;
mod plan;
mod promises;
mod shrink;
mod storage;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::Random;
use plan::Plan;
use world::World;

/// How often something happened, by what.
pub type Counts = BTreeMap<&'static str, u64>;

/// What one run came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Events that were handled.
    pub steps: u64,
    /// What happened, and how often.
    pub counts: Counts,
}

/// A run that broke a promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The promise that was broken.
    pub message: String,
    /// The shortest schedule found that still breaks one, a line for each thing planned.
    pub schedule: Vec<String>,
}

/// Runs one seed.
///
/// # Errors
/// When a promise is broken, with a schedule that shows it.
pub fn run(seed: u64) -> Result<Run, Failure> {
    let plan = Plan::new(seed);
    attempt(&plan).map_err(|message| {
        let (plan, message) = shrink::shrink(plan, message);
        Failure { seed, message, schedule: plan.lines() }
    })
}

/// Runs one seed and tells only whether it breaks a promise.
pub fn breaks(seed: u64) -> bool {
    attempt(&Plan::new(seed)).is_err()
}

/// Runs a plan; the message of the promise that was broken otherwise.
fn attempt(plan: &Plan) -> Result<Run, String> {
    let work = || {
        let mut world = World::new(plan);
        world.play(plan);
        Run { steps: world.steps, counts: world.seen }
    };
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

/// Adds up what runs came to.
pub fn add(into: &mut Run, run: Run) {
    into.steps += run.steps;
    for (what, count) in run.counts {
        *into.counts.entry(what).or_default() += count;
    }
}

impl Run {
    /// A sum of no runs.
    pub fn none() -> Self {
        Self { steps: 0, counts: BTreeMap::new() }
    }
}

/// A generator for a part of a run that must not depend on how much chance another part used.
fn random_of(seed: u64, part: u64) -> Random {
    Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part)
}
