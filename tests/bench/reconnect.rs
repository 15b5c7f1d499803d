//! A peer whose daemon is restarted: how soon the two work together again.

use std::path::Path;
use std::time::Instant;

use crate::Outcome;
use crate::machine::Machine;
use crate::row::{Area, Row, Target, quantile};

/// Pairs, one side of each of which is restarted, in turn the one that invited and the one that dials.
const PAIRS: usize = 6;
/// Restarts of each, one upon the other: the first finds a peer that was long connected, the others do not.
const RESTARTS: usize = 4;
const MOST_S: f64 = 6.0;

pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let inviter = Machine::with_ledger(bin, "inviter").await?;
        let mut joiner = Machine::new(bin, "joiner");
        inviter.pair(&mut joiner).await?;
        let (mut restarted, other) = if pair % 2 == 0 { (inviter, joiner) } else { (joiner, inviter) };
        for round in 0..RESTARTS {
            restarted.down().await?;
            let begun = Instant::now();
            restarted.up().await?;
            // the one that is new cannot take an old connection for one that works
            restarted.sees(&other).await?;
            other.sees(&restarted).await?;
            let seconds = begun.elapsed().as_secs_f64();
            if round == 0 { first.push(seconds) } else { later.push(seconds) }
        }
    }
    for (name, times) in [
        ("start of a restarted peer until both are linked and replicate", first),
        ("the same, when it is restarted again at once", later),
    ] {
        let row = |name: &str, part| Row::new(Area::Failure, name, quantile(&times, part), "s", times.len());
        add(row(name, 0.5).target(Target::AtMost(MOST_S)));
        add(row("the longest of these", 1.0).target(Target::AtMost(MOST_S)));
    }
    Ok(())
}
