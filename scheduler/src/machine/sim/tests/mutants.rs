//! Each fault that is put into the machine on purpose must break a promise of the simulated world in few runs.

use crate::machine::mutation::{self, Mutation};
use crate::machine::sim::breaks;

/// Most runs in which a fault must show.
const SEEDS_MAX: u64 = 20_000;

/// The first seed whose run breaks a promise with a mutation on.
fn caught_by(mutation: Mutation) -> Option<u64> {
    mutation::set(Some(mutation));
    let seed = (0..SEEDS_MAX).find(|seed| breaks(*seed));
    mutation::set(None);
    seed
}

#[test]
fn each_mutation_of_the_machine_is_caught() {
    // the list is in `mutation.rs`; without one of these rules some seed breaks a promise
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let halves = Mutation::ALL.split_at(Mutation::ALL.len() / 2);
    let results: Vec<(Mutation, Option<u64>)> = std::thread::scope(|scope| {
        let each = |half: &'static [Mutation]| half.iter().map(|each| (*each, caught_by(*each))).collect::<Vec<_>>();
        let (first, second) = halves;
        let other = scope.spawn(move || each(second));
        let mut results = each(first);
        results.extend(other.join().expect("a mutation that breaks the world is caught in it"));
        results
    });
    std::panic::set_hook(hook);
    for (mutation, seed) in &results {
        eprintln!("{mutation:?}: {seed:?}");
    }
    let missed: Vec<Mutation> = results.iter().filter(|(_, seed)| seed.is_none()).map(|(each, _)| *each).collect();
    assert!(missed.is_empty(), "not caught in {SEEDS_MAX} runs: {missed:?}");
}
