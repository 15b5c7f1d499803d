//! What a start costs, beside a bare bubblewrap.

use std::time::Duration;

use scheduler::runner::measure::start_cost;

use crate::harness::{Tests, sandbox};

pub const TESTS: Tests =
    &[("cost::a_start_costs_little_more_than_bubblewrap", a_start_costs_little_more_than_bubblewrap)];

fn a_start_costs_little_more_than_bubblewrap() {
    // Interleaved, so that both meet the same noise; the figure itself is the benchmark's, this is a wide bound.
    let dir = tempfile::tempdir().unwrap();
    let costs = start_cost(sandbox(), dir.path(), 21).unwrap();
    let median = |of: fn(&scheduler::runner::measure::StartCost) -> Duration| {
        let mut all: Vec<_> = costs.iter().map(of).collect();
        all.sort();
        all[all.len() / 2]
    };
    let (supervised, bare) = (median(|cost| cost.supervised), median(|cost| cost.bare));
    println!("start: supervised {supervised:?}, bare {bare:?}, more {:?}", supervised.saturating_sub(bare));
    assert!(supervised < bare + Duration::from_millis(150));
}
