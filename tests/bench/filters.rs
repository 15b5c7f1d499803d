//! Lists by each filter over a view of very many jobs, few of which a filter may find.

use std::path::Path;
use std::time::Instant;

use hyper::Method;

use cobs::id::NodeId;
use cobs::job::outcome::Outcome as JobOutcome;
use node::ops::types::{JobSummary, Page};

use crate::Outcome;
use crate::api::{Marks, fill};
use crate::client::Connection;
use crate::machine::Machine;
use crate::row::{Area, Row, Target, quantile};

/// Archived jobs in the view.
const JOBS: u32 = 100_000;
/// One of so many failed, in a queue and by an author of its own: a page of them has to be looked for everywhere.
const RARE: u32 = 1_000;
const RARE_QUEUE: &str = "rare";
/// Jobs on a page.
const PAGE: usize = 100;
/// Lists that are not counted, and those that are.
const WARM_UP: usize = 3;
const LISTS: usize = 20;

/// What each filter costs, and a row of the slowest.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut machine = Machine::with_ledger(bin, "archive").await?;
    let ledger = machine.ledger().await?;
    machine.down().await?;
    let rare = NodeId::from([8; 32]);
    fill(&machine.rhizome("view.redb"), ledger, JOBS, |number| match number % RARE {
        0 => Marks { outcome: JobOutcome::Failed, queue: RARE_QUEUE, author: rare },
        _ => Marks::usual(),
    })?;
    machine.up().await?;
    let mut connection = machine.connection().await?;
    let filters = [
        String::new(),
        "&status=settled".into(),
        "&status=queued".into(),
        "&outcome=succeeded".into(),
        "&outcome=failed".into(),
        format!("&queue={RARE_QUEUE}"),
        format!("&author={rare}"),
        format!("&author={}&queue={RARE_QUEUE}", Marks::usual().author),
        format!("&status=settled&outcome=failed&queue={RARE_QUEUE}&author={rare}"),
    ];
    let mut slowest: Option<Times> = None;
    for filter in filters {
        let times = lists(&mut connection, &filter).await?;
        eprintln!("  {:8.2} ms, its first page {:6.2} ms: {filter}", times.whole(), quantile(&times.first, 0.5));
        if slowest.as_ref().is_none_or(|slowest| times.whole() > slowest.whole()) {
            slowest = Some(times);
        }
    }
    let slowest = slowest.ok_or("there is no filter")?;
    let filter = slowest.filter.trim_start_matches('&').split('=').next().unwrap_or_default();
    let name = format!("{PAGE} of {JOBS} jobs by the slowest filter, by {filter}, over all pages it takes");
    add(Row::median(Area::Api, &name, &slowest.all).target(Target::AtMost(10.0)));
    let name = format!("its first page, for which it is looked at most {} times", node::store::view::list::LOOKS_MAX);
    add(Row::median(Area::Api, &name, &slowest.first));
    Ok(())
}

/// What lists by one filter took, in milliseconds.
struct Times {
    filter: String,
    /// To so many jobs as fit on a page, or to the end.
    all: Vec<f64>,
    /// To the first answer.
    first: Vec<f64>,
}

impl Times {
    fn whole(&self) -> f64 {
        quantile(&self.all, 0.5)
    }
}

async fn lists(connection: &mut Connection, filter: &str) -> Outcome<Times> {
    let mut times = Times { filter: filter.to_owned(), all: Vec::new(), first: Vec::new() };
    for round in 0..WARM_UP + LISTS {
        let (mut all, mut first, mut found) = (0.0, None, 0);
        let mut target = format!("/v1/jobs?limit={PAGE}{filter}");
        loop {
            let begun = Instant::now();
            let body = connection.call(Method::GET, &target, None).await?;
            let time = begun.elapsed().as_secs_f64() * 1e3;
            all += time;
            first.get_or_insert(time);
            let page: Page<JobSummary> = serde_json::from_slice(&body)?;
            found += page.items.len();
            let Some(next) = page.next.filter(|_| found < PAGE) else { break };
            target = format!("/v1/jobs?limit={PAGE}{filter}&cursor={next}");
        }
        if round >= WARM_UP {
            times.all.push(all);
            times.first.extend(first);
        }
    }
    Ok(times)
}
