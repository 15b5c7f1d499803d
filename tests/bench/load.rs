//! Many jobs at once: how fast they are taken, and that each is settled once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use cobs::job::outcome::RunOutcome;
use node::ops::types::{JobSummary, JobView, Page, Submitted};

use crate::Outcome;
use crate::client::Connection;
use crate::jobs::Pair;
use crate::row::{Area, Row, Target};

/// How many, each on a connection of its own.
const JOBS: usize = 500;
/// How long all of them may take to their end.
const SETTLED: Duration = Duration::from_secs(400);
/// Between two looks at how many are settled.
const LOOK: Duration = Duration::from_millis(250);

/// Submits all at once, waits for the last settle, and looks at each.
pub async fn measure(pair: &Pair, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut connections = Vec::new();
    for _ in 0..JOBS {
        connections.push(Connection::unix(&pair.submitter.socket()).await?);
    }
    let submit = json!({ "command": ["true"], "labels": { "bench": "load" } });
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let submit = submit.clone();
        tasks.spawn(async move { connection.post::<Submitted>("/schedule", &submit).await });
    }
    let mut jobs = BTreeSet::new();
    while let Some(answer) = tasks.join_next().await {
        jobs.insert(answer??.id);
    }
    let rate = JOBS as f64 / begun.elapsed().as_secs_f64();
    add(Row::new(Area::Jobs, "500 jobs at once, accepted (one burst)", rate, "jobs/s", 1)
        .target(Target::AtLeast(200.0)));
    let mut left = jobs.clone();
    let mut looks = tokio::time::interval(LOOK);
    let mut connection = pair.submitter.connection().await?;
    while !left.is_empty() && begun.elapsed() < SETTLED {
        looks.tick().await;
        let mut target = "/v1/jobs?status=settled&limit=500".to_owned();
        loop {
            let page = connection.get(&target).await;
            let page: Page<JobSummary> = page.map_err(|error| format!("{target}: {error}"))?;
            for job in &page.items {
                left.remove(&job.id);
            }
            let Some(next) = page.next else { break };
            target = format!("/v1/jobs?status=settled&limit=500&cursor={next}");
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mut once = 0_u32;
    for job in &jobs {
        let view = connection.get(&format!("/v1/jobs/{job}")).await;
        let view: JobView = view.map_err(|error| format!("job {job}: {error}"))?;
        let ran = view.state.dones.values().filter(|report| report.outcome != RunOutcome::Released).count();
        once += u32::from(view.exit_code == Some(0) && view.state.other_settles.is_empty() && ran == 1);
    }
    add(Row::new(Area::Jobs, "of these settled once", f64::from(once), "jobs", JOBS).target(Target::AtLeast(500.0)));
    add(Row::new(Area::Jobs, "submit of 500 to the last settle", seconds, "s", 1));
    Ok(())
}
