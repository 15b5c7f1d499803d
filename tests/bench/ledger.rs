//! What a node costs that has nothing to do, and how long two take to find each other.

use std::path::Path;
use std::time::Instant;

use crate::Outcome;
use crate::idle;
use crate::machine::Machine;
use crate::row::{Area, Row, Target};

/// Pairs of new nodes.
const PAIRINGS: usize = 20;

/// All figures of ledgers.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut times = Vec::new();
    for _ in 0..PAIRINGS {
        let inviter = Machine::with_ledger(bin, "inviter").await?;
        let mut joiner = Machine::new(bin, "joiner");
        let begun = Instant::now();
        inviter.pair(&mut joiner).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    let median = crate::row::quantile(&times, 0.5);
    let name = "pairing: invite to both linked, replicating, ledger fetched";
    add(Row::new(Area::Ledger, name, median, "s", times.len()).target(Target::AtMost(10.0)));
    idle::measure(bin, add).await
}
