//! A job from submit to its first line, a line to its follower, an artifact to its submitter, a sandbox to its command.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use node::ops::types::{LogPiece, StreamKind, Submitted};
use scheduler::runner::measure::start_cost;
use scheduler::runner::sandbox::{Sandbox, SandboxConfig, SupervisorCommand};

use crate::Outcome;
use crate::client::{Connection, Stream};
use crate::load;
use crate::machine::{Machine, until};
use crate::row::{Area, Row, Target, quantile};

/// Jobs that are not counted: the first ones fill caches.
const WARM_UP: usize = 3;
/// Jobs of each way to be granted.
const JOBS: usize = 30;
/// Lines of the followed log, and the time between them.
const LINES: usize = 200;
const BETWEEN_LINES_S: &str = "0.02";
/// The artifact, and how many of them.
const ARTIFACT_BYTES: usize = 100_000_000;
const ARTIFACTS: usize = 20;
/// Starts of a sandbox.
const STARTS: usize = 30;

/// Two paired machines and a source that both have.
pub struct Pair {
    pub submitter: Machine,
    pub worker: Machine,
    pub source: Value,
}

/// What one job took, in milliseconds since the submit.
pub struct Times {
    job: String,
    accepted: f64,
    pub first_line: f64,
    settled: f64,
}

/// All figures of jobs.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    sandbox_start(bin, add).await?;
    let pair = Pair::new(bin).await?;
    pair.first_lines(add).await?;
    pair.followed_lines(add).await?;
    pair.artifacts(add).await?;
    load::measure(&pair, add).await
}

impl Pair {
    pub async fn new(bin: &Path) -> Outcome<Self> {
        let submitter = Machine::with_ledger(bin, "submitter").await?;
        let mut worker = Machine::new(bin, "worker");
        submitter.pair(&mut worker).await?;
        submitter.knows_capacity().await?;
        let pair = Self { source: publish(&submitter).await?, submitter, worker };
        // the first job with it makes the worker fetch it
        pair.job(&pair.greeting("auto")).await?;
        Ok(pair)
    }

    /// Ends both daemons.
    pub async fn down(&mut self) -> Outcome<()> {
        self.worker.down().await?;
        self.submitter.down().await
    }

    /// Starts both, and waits until they see each other.
    pub async fn up(&mut self) -> Outcome<()> {
        self.submitter.up().await?;
        self.worker.up().await?;
        self.submitter.sees(&self.worker).await?;
        self.worker.sees(&self.submitter).await
    }

    /// A job that says one line on the worker.
    pub fn greeting(&self, first_grant: &str) -> Value {
        json!({ "command": ["echo", "ready"], "source": self.source, "on": "worker", "firstGrant": first_grant })
    }

    /// One job to its end.
    pub async fn job(&self, submit: &Value) -> Outcome<Times> {
        let socket = self.submitter.socket();
        let mut connection = Connection::unix(&socket).await?;
        let begun = Instant::now();
        let ms = || begun.elapsed().as_secs_f64() * 1e3;
        let submitted: Submitted = connection.post("/schedule", submit).await?;
        let accepted = ms();
        let job = submitted.id.to_string();
        let mut stream = Stream::of(&socket, &job).await?;
        let mut first_line = None;
        while let Some(message) = stream.next().await? {
            match message.kind {
                StreamKind::Log => drop(first_line.get_or_insert_with(ms)),
                StreamKind::Result if message.payload["exitCode"] == 0 => {
                    let first_line = first_line.ok_or("the job said nothing")?;
                    return Ok(Times { job, accepted, first_line, settled: ms() });
                }
                StreamKind::Result | StreamKind::Error => break,
                StreamKind::Status | StreamKind::Heartbeat => {}
            }
        }
        Err(format!("job {job} did not succeed; see: {}", self.worker.log()).into())
    }

    /// A job by bids names one worker, whose bid is granted as it comes: with more of them one that does not bid costs
    /// the bid window, 50 ms, besides.
    async fn first_lines(&self, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
        let mut times: [Vec<Times>; 2] = [Vec::new(), Vec::new()];
        // one of each in turn, so that both meet the same noise
        for round in 0..WARM_UP + JOBS {
            for (first_grant, times) in ["auto", "bids"].into_iter().zip(&mut times) {
                let job = self.job(&self.greeting(first_grant)).await?;
                if round >= WARM_UP {
                    times.push(job);
                }
            }
        }
        for ((how, most), times) in [("granted in the root", 150.0), ("by a bid", 300.0)].into_iter().zip(&times) {
            let of = |figure: fn(&Times) -> f64| times.iter().map(figure).collect::<Vec<_>>();
            let row = Row::median(Area::Jobs, &format!("submit to first line, {how}"), &of(|times| times.first_line));
            add(row.target(Target::AtMost(most)));
            add(Row::p95(Area::Jobs, &format!("submit to first line, {how}, p95"), &of(|times| times.first_line)));
            add(Row::median(Area::Jobs, &format!("submit to durable, {how}"), &of(|times| times.accepted)));
            add(Row::median(Area::Jobs, &format!("submit to settled, {how}"), &of(|times| times.settled)));
        }
        let bids = self.bid_to_grant(&times[1])?;
        let row = Row::median(Area::Jobs, "bid signed to grant seen by the worker", &bids);
        add(row.target(Target::AtMost(120.0)));
        add(Row::p95(Area::Jobs, "bid signed to grant seen by the worker, p95", &bids));
        Ok(())
    }

    /// From the moment at which the worker decides to bid to the one at which it has read its grant, by its own log.
    pub fn bid_to_grant(&self, times: &[Times]) -> Outcome<Vec<f64>> {
        let (signs, seen) = (self.worker.events("signs"), self.worker.events("job seen"));
        let between = |times: &Times| {
            let bid = signs.iter().find(|event| event["job"] == times.job && event["action"] == "bid");
            let grant = seen.iter().find(|event| event["job"] == times.job && event["token"].is_string());
            let (bid, grant) = bid.zip(grant).ok_or("the worker's log lacks a bid or a grant")?;
            Ok(moment(grant)? - moment(bid)?)
        };
        times.iter().map(between).collect()
    }

    /// The time between a line being written by the job and being read by who follows it from the other machine.
    async fn followed_lines(&self, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
        let script = format!("for line in $(seq {LINES}); do date +%s%N; sleep {BETWEEN_LINES_S}; done");
        let submit = json!({ "command": ["sh", "-c", script], "source": self.source, "on": "worker" });
        let socket = self.submitter.socket();
        let submitted: Submitted = self.submitter.connection().await?.post("/schedule", &submit).await?;
        let mut stream = Stream::of(&socket, &submitted.id.to_string()).await?;
        let mut delays = Vec::new();
        while let Some(message) = stream.next().await? {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            if message.kind != StreamKind::Log {
                continue;
            }
            let piece: LogPiece = serde_json::from_value(message.payload)?;
            for line in piece.text.unwrap_or_default().lines() {
                let written = Duration::from_nanos(line.parse()?);
                delays.push(now.saturating_sub(written).as_secs_f64() * 1e3);
            }
        }
        if delays.len() != LINES {
            return Err(format!("of {LINES} lines {} came", delays.len()).into());
        }
        add(Row::median(Area::Jobs, "log line to follower", &delays));
        add(Row::p95(Area::Jobs, "log line to follower, p95", &delays).target(Target::AtMost(100.0)));
        Ok(())
    }

    /// From the submitter's sight of the report to all of it being there, checked and on disk.
    async fn artifacts(&self, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
        let make = format!("head -c {ARTIFACT_BYTES} /dev/urandom > large");
        let submit = json!({ "command": ["sh", "-c", make], "on": "worker", "artifacts": ["large"] });
        let (mut rates, mut writes) = (Vec::new(), Vec::new());
        for _ in 0..ARTIFACTS {
            let submitted: Submitted = self.submitter.connection().await?.post("/schedule", &submit).await?;
            let job = submitted.id.to_string();
            let home = until("the artifact is home", async || self.event("log and artifacts are home", &job)).await?;
            let seen = self.submitter.events("job seen");
            let seen = seen.iter().find(|event| event["job"] == job && event["reports"].as_u64() > Some(0));
            let seconds = (moment(&home)? - moment(seen.ok_or("the log lacks the report")?)?) / 1e3;
            rates.push(ARTIFACT_BYTES as f64 / 1e6 / seconds);
            writes.push(plain_write(&self.submitter.join("plain"))?);
            self.drop_artifacts()?;
        }
        let name = "artifact of 100 MB to the submitter";
        let row = Row::new(Area::Jobs, name, quantile(&rates, 0.5), "MB/s", rates.len());
        let beside = format!("a plain write and sync of as much: {:.0} MB/s", quantile(&writes, 0.5));
        add(row.target(Target::AtLeast(50.0)).baseline(beside));
        Ok(())
    }

    fn event(&self, message: &str, job: &str) -> Option<Value> {
        self.submitter.events(message).into_iter().find(|event| event["job"] == job)
    }

    /// The benchmark's artifacts would fill a disk, and a node keeps them for days.
    fn drop_artifacts(&self) -> Outcome<()> {
        for root in [self.submitter.rhizome("blobs"), self.worker.rhizome("runs")] {
            drop_large(&root)?;
        }
        Ok(())
    }
}

fn drop_large(directory: &Path) -> Outcome<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        // a run that is being made may take its files away again
        let Ok(kind) = entry.metadata() else { continue };
        if kind.is_dir() {
            drop_large(&entry.path())?;
        } else if kind.len() >= ARTIFACT_BYTES as u64 {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Megabytes a second that this disk takes with a sync, by one thread.
fn plain_write(path: &Path) -> Outcome<f64> {
    use std::io::Write as _;
    let block = vec![7; 1 << 20];
    let begun = Instant::now();
    let mut file = fs::File::create(path)?;
    let mut left = ARTIFACT_BYTES;
    while left > 0 {
        let now = left.min(block.len());
        file.write_all(&block[..now])?;
        left -= now;
    }
    file.sync_all()?;
    let rate = ARTIFACT_BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// When an event was logged, in milliseconds.
fn moment(event: &Value) -> Outcome<f64> {
    let text = event["ts"].as_str().ok_or("an event without a time")?;
    Ok(OffsetDateTime::parse(text, &Rfc3339)?.unix_timestamp_nanos() as f64 / 1e6)
}

/// A repository of one commit, published by its first job, and how later jobs name it.
async fn publish(submitter: &Machine) -> Outcome<Value> {
    let path = submitter.join("source");
    fs::create_dir_all(&path)?;
    fs::write(path.join("greeting"), "ready\n")?;
    for words in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "--quiet", "--message=Begin"],
    ] {
        let status = std::process::Command::new("git").args(words).current_dir(&path).status()?;
        if !status.success() {
            return Err(format!("git {} failed", words.join(" ")).into());
        }
    }
    let source = json!({ "type": "path", "path": path, "publish": "private" });
    let submit = json!({ "command": ["true"], "source": source, "on": "worker" });
    let submitted: Submitted = submitter.connection().await?.post("/schedule", &submit).await?;
    let source = submitted.source.ok_or("the job has no source")?;
    Ok(json!({ "type": "repository", "repo": source.repo, "commit": source.commit }))
}

async fn sandbox_start(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let supervisor = SupervisorCommand { program: bin.canonicalize()?, args: vec!["supervise".into()] };
    let config = SandboxConfig::new(format!("bench-{}", std::process::id()), supervisor);
    let scratch = tempfile::tempdir()?;
    let costs = tokio::task::spawn_blocking(move || {
        let sandbox = Sandbox::new(config);
        start_cost(&sandbox, scratch.path(), WARM_UP + STARTS)
    });
    let costs = costs.await??;
    let counted = &costs[WARM_UP..];
    let ms = |time: fn(&scheduler::runner::measure::StartCost) -> Duration| {
        counted.iter().map(|cost| time(cost).as_secs_f64() * 1e3).collect::<Vec<_>>()
    };
    let (supervised, bare) = (quantile(&ms(|cost| cost.supervised), 0.5), quantile(&ms(|cost| cost.bare), 0.5));
    let row = Row::new(Area::Jobs, "sandbox start, more than a bare bwrap", supervised - bare, "ms", counted.len());
    add(row.target(Target::AtMost(15.0)).baseline(format!("a bare bwrap with the same arguments: {bare:.1} ms")));
    Ok(())
}
