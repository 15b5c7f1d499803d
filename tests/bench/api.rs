//! Lists over a view with many jobs.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use cobs::digest::Digest;
use cobs::id::{JobId, NodeId, Oid, RepoId};
use cobs::job::outcome::Outcome as JobOutcome;
use cobs::job::state::Status;
use node::clock::rfc3339;
use node::ops::types::{JobSummary, Page, TokenCreated};
use node::store::UnixMs;
use node::store::view::{Change, JobRecord, JobRow, View};

use crate::Outcome;
use crate::client::Connection;
use crate::filters;
use crate::machine::Machine;
use crate::row::{Area, Row, Target};

/// Settled jobs in the view.
const JOBS: u32 = 10_000;
/// Jobs that are put into it in one transaction.
const BATCH: usize = 500;
/// Jobs on a page.
const PAGE: usize = 100;
/// Pages that are not counted, and those that are.
const WARM_UP: usize = 10;
const PAGES: usize = 100;
/// When the first of the jobs was created.
const FIRST_MS: u64 = 1_760_000_000_000;

/// All figures of the API.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut machine = Machine::with_ledger(bin, "full").await?;
    let ledger = machine.ledger().await?;
    machine.down().await?;
    let usual = Marks::usual();
    fill(&machine.rhizome("view.redb"), ledger, JOBS, |_| usual.clone())?;
    machine.up().await?;
    let mut socket = machine.connection().await?;
    let token = json!({ "name": "bench", "scopes": ["read:jobs"] });
    let token: TokenCreated = socket.post("/v1/tokens", &token).await?;
    let address = machine.detail().await?.addresses.api.first().cloned().ok_or("the node has no port")?;
    let mut port = Connection::tcp(&address, &token.secret).await?;
    for (way, connection) in [("unix socket", &mut socket), ("TCP with a token", &mut port)] {
        let name = format!("page of {PAGE} of {JOBS} jobs, {way}");
        add(Row::median(Area::Api, &name, &pages(connection).await?).target(Target::AtMost(5.0)));
    }
    drop(machine);
    filters::measure(bin, add).await
}

/// Reads page after page, from the newest to the oldest and again.
async fn pages(connection: &mut Connection) -> Outcome<Vec<f64>> {
    let first = format!("/v1/jobs?limit={PAGE}");
    let mut target = first.clone();
    let mut times = Vec::new();
    for round in 0..WARM_UP + PAGES {
        let begun = Instant::now();
        let body = connection.call(hyper::Method::GET, &target, None).await?;
        let time = begun.elapsed().as_secs_f64() * 1e3;
        let page: Page<JobSummary> = serde_json::from_slice(&body)?;
        if page.items.len() != PAGE {
            return Err(format!("a page has {} jobs: the view lost what was filled in", page.items.len()).into());
        }
        if round >= WARM_UP {
            times.push(time);
        }
        // the last page may name an empty one after it
        let next = page.next.filter(|_| (round + 1) % (JOBS as usize / PAGE) != 0);
        target = next.map_or_else(|| first.clone(), |next| format!("{first}&cursor={next}"));
    }
    Ok(times)
}

/// What a list tells one job from another by.
#[derive(Clone)]
pub struct Marks {
    pub outcome: JobOutcome,
    pub queue: &'static str,
    pub author: NodeId,
}

impl Marks {
    /// Those of most jobs.
    pub fn usual() -> Self {
        Self { outcome: JobOutcome::Succeeded, queue: "default", author: NodeId::from([7; 32]) }
    }
}

/// Puts settled jobs of other nodes into the view of a daemon that is down.
pub fn fill(path: &Path, ledger: RepoId, jobs: u32, marks: impl Fn(u32) -> Marks) -> Outcome<()> {
    let (view, _) = View::open(path)?;
    let change = |number| Change::Put(Box::new(record(ledger, number, marks(number))));
    for first in (0..jobs).step_by(BATCH) {
        let batch: Vec<Change> = (first..jobs.min(first + BATCH as u32)).map(change).collect();
        view.apply(&batch)?;
    }
    Ok(view.flush()?)
}

fn record(ledger: RepoId, number: u32, marks: Marks) -> JobRecord {
    let Marks { outcome, queue, author } = marks;
    let mut bytes = [0; 20];
    // spread over the keys as real ids are
    bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    let id = JobId(Oid::from_sha1(bytes));
    let created = UnixMs(FIRST_MS + u64::from(number) * 1000);
    let summary = JobSummary {
        id,
        ledger,
        title: format!("cargo test --offline --package number-{number} -- --nocapture"),
        status: Status::Settled,
        outcome: Some(outcome),
        queue: queue.into(),
        author,
        node: Some(NodeId::from([9; 32])),
        created_at: rfc3339(created),
        updated_at: rfc3339(created),
    };
    let row = JobRow {
        id,
        ledger,
        created,
        updated: created,
        status: Status::Settled,
        outcome: Some(outcome),
        queue: queue.into(),
        author,
    };
    let summary = serde_json::to_vec(&summary).expect("a summary is plain data");
    // as much as an evaluated job takes; the list never reads it
    JobRecord { row, full: vec![b' '; 4096], summary, tips: Digest([1; 32]) }
}
