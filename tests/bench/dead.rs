//! A run whose machine or supervisor dies: how soon its job is granted again.

use std::path::Path;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;

use node::ops::types::{JobView, Submitted};

use crate::Outcome;
use crate::fault;
use crate::machine::{Machine, until};
use crate::row::{Area, Row, Target, quantile};

/// The lease of the arbiter: shorter than by default, so that many fit into the time.
const LEASE_S: f64 = 2.0;
/// What the arbiter waits for besides, as the protocol has it: a fifth of the lease, and the time of a kill.
const RATE_BOUND: f64 = 0.2;
const KILL_GRACE_S: f64 = 1.0;
/// What it may take over that, to be noticed, bid for and granted.
const SLACK_S: f64 = 1.0;
/// Deaths of each kind.
const DEATHS: usize = 10;

/// One job that always runs, on one of two workers, and is granted again and again.
struct Run {
    submitter: Machine,
    workers: [Machine; 2],
    job: String,
}

/// Who dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The worker's daemon and the supervisor together.
    Machine,
    /// The supervisor, while its daemon lives and reports it.
    Supervisor,
}

pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut run = Run::new(bin).await?;
    let bound = LEASE_S * (1.0 + RATE_BOUND) + KILL_GRACE_S + SLACK_S;
    for (victim, name, target) in [
        (Victim::Machine, format!("death of a worker's machine to the next grant, lease {LEASE_S} s"), bound),
        (Victim::Supervisor, "death of a supervisor to the next grant, its daemon alive".to_owned(), 2.0),
    ] {
        let mut times = Vec::new();
        for _ in 0..DEATHS {
            times.push(run.dies(victim).await?);
        }
        let row = |name: &str, part| Row::new(Area::Failure, name, quantile(&times, part), "s", times.len());
        add(row(&name, 0.5).target(Target::AtMost(target)));
        // what the protocol says holds of every one
        add(row("the longest of these", 1.0).target(Target::AtMost(target)));
    }
    Ok(())
}

impl Run {
    async fn new(bin: &Path) -> Outcome<Self> {
        let lease = format!("scheduler.lease_ms={}", LEASE_S * 1e3);
        let machine = |alias| {
            let mut machine = Machine::new(bin, alias);
            machine.set(&lease);
            machine
        };
        let mut submitter = machine("submitter");
        // it decides, and runs nothing
        submitter.set("scheduler.slots=0");
        submitter.run(&["init", "--alias", "submitter"])?;
        submitter.up().await?;
        let mut workers = [machine("first"), machine("second")];
        for worker in &mut workers {
            submitter.pair(worker).await?;
        }
        submitter.knows_capacity().await?;
        let submit = json!({ "command": ["sleep", "3600"], "attempts": 2 * DEATHS + 1 });
        let submitted: Submitted = submitter.connection().await?.post("/schedule", &submit).await?;
        Ok(Self { submitter, workers, job: submitted.id.to_string() })
    }

    /// Seconds from the death to the next grant, as the arbiter has signed it.
    async fn dies(&mut self, victim: Victim) -> Outcome<f64> {
        let submitter = &self.submitter;
        let mut connection = submitter.connection().await?;
        let target = format!("/v1/jobs/{}", self.job);
        let (grants, holder) = until("the job runs", async || {
            let job: JobView = connection.get(&target).await.ok()?;
            job.running.then_some((job.state.grants.len(), job.summary.node?))
        })
        .await?;
        let first = self.workers[0].detail().await?.node;
        let worker = &mut self.workers[usize::from(holder != first)];
        until("its supervisor is there", async || (!worker.supervisors().is_empty()).then_some(())).await?;
        let begun = Instant::now();
        match victim {
            Victim::Machine => worker.die()?,
            Victim::Supervisor => worker.supervisors().into_iter().for_each(|pid| fault::signal(pid, Signal::KILL)),
        }
        until("it is granted again", async || {
            let job: JobView = connection.get(&target).await.ok()?;
            (job.state.grants.len() > grants).then_some(())
        })
        .await?;
        let seconds = begun.elapsed().as_secs_f64();
        if victim == Victim::Machine {
            worker.up().await?;
            submitter.sees(worker).await?;
            submitter.knows_capacity().await?;
        }
        Ok(seconds)
    }
}
