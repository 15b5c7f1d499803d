//! What a start costs, beside a bare bubblewrap.

use std::time::Duration;

use scheduler::runner::measure::{StartCost, start_cost};

use crate::harness::{Tests, sandbox};

pub const TESTS: Tests =
    &[("cost::a_start_costs_little_more_than_bubblewrap", a_start_costs_little_more_than_bubblewrap)];

fn a_start_costs_little_more_than_bubblewrap() {
    // Interleaved, so that both meet the same noise; the figure itself is the benchmark's, this is a wide bound.
    let dir = tempfile::tempdir().unwrap();
    let costs = start_cost(sandbox(), dir.path(), 21).unwrap();
    let sorted = |of: fn(&StartCost) -> Duration| {
        let mut all: Vec<_> = costs.iter().map(of).collect();
        all.sort();
        (all[0], all[all.len() / 2])
    };
    let (supervised, bare) = (sorted(|cost| cost.supervised), sorted(|cost| cost.bare));
    println!("start, least and median: supervised {supervised:?}, bare {bare:?}");
    assert!(supervised.0 < bare.0 + Duration::from_millis(100));
}
