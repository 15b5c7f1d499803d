//! Two machines that have each worked for a day without the other: how soon both know all.

use std::path::Path;
use std::time::Instant;

use cobs::job::state::Status;

use crate::Outcome;
use crate::fill::Fill;
use crate::machine::{Machine, until};
use crate::row::{Area, Row, Target, quantile};
use crate::scale::AT_ONCE;

/// Jobs that each of the two has run by itself meanwhile.
const JOBS_EACH: usize = 500;
/// Days.
const DAYS: usize = 3;

pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut times = Vec::new();
    let mut here = Machine::with_ledger(bin, "here").await?;
    let mut away = Machine::new(bin, "away");
    here.pair(&mut away).await?;
    let ledger = here.ledger().await?;
    for day in 1..=DAYS {
        away.down().await?;
        here.down().await?;
        for machine in [&here, &away] {
            let mut jobs = Fill::open(machine, machine, ledger)?;
            jobs.finished(JOBS_EACH, AT_ONCE)?;
            jobs.close();
        }
        let seen = (day * JOBS_EACH * 2) as u64;
        here.up().await?;
        let all = async |machine: &Machine, jobs: u64| {
            until("the jobs are there", async || (machine.count(Status::Settled).await.ok()? >= jobs).then_some(()))
                .await
        };
        // the one that stayed has long read its own
        all(&here, seen - JOBS_EACH as u64).await?;
        let begun = Instant::now();
        away.up().await?;
        all(&here, seen).await?;
        all(&away, seen).await?;
        times.push(begun.elapsed().as_secs_f64());
    }
    let name = format!("start after a day apart until both have all {} jobs of the day", JOBS_EACH * 2);
    add(Row::new(Area::Failure, &name, quantile(&times, 0.5), "s", times.len()).target(Target::AtMost(30.0)));
    Ok(())
}
