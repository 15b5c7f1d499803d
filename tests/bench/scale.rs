//! What a ledger with many jobs costs: an operation, a claim, a view that is rebuilt, the disk.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;

use cobs::job::state::Status;
use node::ops::types::Submitted;

use crate::Outcome;
use crate::fill::Fill;
use crate::jobs::{Pair, Times};
use crate::machine::until;
use crate::row::{Area, Row, Target, quantile};
use crate::storage;

/// Jobs of the ledger: finished ones, most of them archived as a node does it, and those that wait.
pub const FINISHED: usize = 5_000;
pub const WAITING: usize = 300;
/// Jobs of the view that is rebuilt, and how often.
const REBUILT: usize = 10_000;
const REBUILDS: usize = 3;
/// Operations that are written at once where a ledger is only filled.
pub const AT_ONCE: usize = 64;
/// Claims that are not counted, and those that are, on each ledger.
const WARM_UP: usize = 3;
const CLAIMS: usize = 30;
/// Jobs of a burst, each a batch's operation, and how many bursts.
const BURST: usize = 256;
const BURSTS: usize = 5;

/// All figures of large ledgers.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut full = Pair::new(bin).await?;
    fill(&mut full, FINISHED, WAITING).await?;
    let mut empty = Pair::new(bin).await?;
    claims(&empty, &full, add).await?;
    operations(&mut empty, &mut full, add).await?;
    drop(empty);
    rebuild(&mut full, add).await?;
    drop(full);
    storage::measure(bin, add).await
}

/// Fills the ledger of a pair, as it would have come to be in both homes, and starts both again.
async fn fill(pair: &mut Pair, finished: usize, waiting: usize) -> Outcome<()> {
    let ledger = pair.submitter.ledger().await?;
    pair.down().await?;
    let begun = Instant::now();
    let mut jobs = Fill::open(&pair.submitter, &pair.worker, ledger)?;
    jobs.finished(finished, AT_ONCE)?;
    jobs.waiting(waiting, AT_ONCE)?;
    jobs.replicate(&pair.worker)?;
    jobs.close();
    eprintln!("  {finished} finished jobs written in {} s", begun.elapsed().as_secs());
    pair.up().await?;
    for machine in [&pair.submitter, &pair.worker] {
        until("the ledger is read", async || {
            let (settled, queued) =
                (machine.count(Status::Settled).await.ok()?, machine.count(Status::Queued).await.ok()?);
            (settled >= finished as u64 && queued >= waiting as u64).then_some(())
        })
        .await?;
    }
    pair.submitter.knows_capacity().await
}

/// A claim on the full ledger beside one on the empty one, in turn, so that both meet the same noise.
async fn claims(empty: &Pair, full: &Pair, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut times: [Vec<Times>; 2] = [Vec::new(), Vec::new()];
    for round in 0..WARM_UP + CLAIMS {
        for (pair, times) in [empty, full].into_iter().zip(&mut times) {
            let job = pair.job(&pair.greeting("bids")).await?;
            if round >= WARM_UP {
                times.push(job);
            }
        }
    }
    let what = format!("{FINISHED} finished and {WAITING} waiting jobs");
    let claims = [empty.bid_to_grant(&times[0])?, full.bid_to_grant(&times[1])?];
    let first = |times: &[Times]| times.iter().map(|times| times.first_line).collect::<Vec<_>>();
    let lines = [first(&times[0]), first(&times[1])];
    let name = format!("bid signed to grant seen at {what}");
    for (name, samples, target) in
        [(name, claims, Some(Target::AtMost(3.0))), (format!("submit to first line, by a bid, at {what}"), lines, None)]
    {
        let [empty, full] = samples.map(|samples| (quantile(&samples, 0.5), samples.len()));
        add(Row::new(Area::Scale, &name, full.0, "ms", full.1));
        let row = Row::new(Area::Scale, "the same, times that of an empty ledger", full.0 / empty.0, "times", full.1)
            .baseline(format!("an empty ledger: {:.1} ms", empty.0));
        add(match target {
            Some(target) => row.target(target),
            None => row,
        });
    }
    Ok(())
}

/// What one operation costs where many come at once. With the worker away a submit is one operation and nothing more.
async fn operations(empty: &mut Pair, full: &mut Pair, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut times = [Vec::new(), Vec::new()];
    empty.worker.down().await?;
    full.worker.down().await?;
    for _ in 0..BURSTS {
        for (pair, times) in [&*empty, &*full].into_iter().zip(&mut times) {
            times.push(burst(pair).await?);
        }
    }
    let name =
        format!("operation of {BURST} at once, signed and synced, at {FINISHED} finished and {WAITING} waiting jobs");
    let beside = format!("an empty ledger: {:.2} ms", quantile(&times[0], 0.5));
    add(Row::median(Area::Scale, &name, &times[1]).target(Target::AtMost(6.0)).baseline(beside));
    Ok(())
}

/// Submits so many jobs at once, and takes them all back. Milliseconds for each.
async fn burst(pair: &Pair) -> Outcome<f64> {
    let submitter = &pair.submitter;
    let before = submitter.count(Status::Queued).await?;
    let mut connections = Vec::new();
    for _ in 0..BURST {
        connections.push(submitter.connection().await?);
    }
    let submit = json!({ "command": ["true"], "on": "worker" });
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for mut connection in connections {
        let submit = submit.clone();
        tasks.spawn(async move { connection.post::<Submitted>("/schedule", &submit).await });
    }
    let submitted = tasks.join_all().await;
    let each = begun.elapsed().as_secs_f64() * 1e3 / BURST as f64;
    let mut connection = submitter.connection().await?;
    for submitted in submitted {
        let id = submitted?.id;
        connection.call(hyper::Method::POST, &format!("/v1/jobs/{id}/cancel"), None).await?;
    }
    until("the jobs are cancelled", async || (submitter.count(Status::Queued).await.ok()? <= before).then_some(()))
        .await?;
    Ok(each)
}

/// The daemon's start without its view, until it serves one of all jobs.
async fn rebuild(pair: &mut Pair, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let ledger = pair.submitter.ledger().await?;
    let there = pair.submitter.count(Status::Settled).await? as usize;
    pair.down().await?;
    let mut jobs = Fill::open(&pair.submitter, &pair.worker, ledger)?;
    jobs.finished(REBUILT.saturating_sub(there), AT_ONCE)?;
    jobs.close();
    let mut times = Vec::new();
    for _ in 0..REBUILDS {
        fs::remove_file(pair.submitter.rhizome("view.redb"))?;
        let begun = Instant::now();
        pair.submitter.up().await?;
        let machine = &pair.submitter;
        until("the view is whole", async || {
            (machine.count(Status::Settled).await.ok()? >= REBUILT as u64).then_some(())
        })
        .await?;
        times.push(begun.elapsed().as_secs_f64());
        pair.submitter.down().await?;
    }
    let name = format!("start of a daemon that rebuilds its view of {REBUILT} finished jobs");
    add(Row::new(Area::Scale, &name, quantile(&times, 0.5), "s", times.len()).target(Target::AtMost(10.0)));
    Ok(())
}
