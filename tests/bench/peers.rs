//! The same jobs through Rhizome and through `radicle-ci-broker` with its native adapter, each as its users meet it: a
//! command that does nothing, in the tree of a commit of its own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;

use cobs::job::outcome::Outcome as JobOutcome;
use cobs::job::state::Status;
use node::ops::types::{JobView, Submitted};

use crate::Outcome;
use crate::broker::Broker;
use crate::client::Connection;
use crate::machine::{Machine, until};
use crate::row::{Area, Row, quantile};

/// Jobs that come one after the other; one more goes first, since it publishes the repository.
const ALONE: usize = 20;

/// Where the others' programs are, and how many jobs are given to each at once.
pub struct Peers {
    pub programs: PathBuf,
    /// Radicle's own command line and its helper of git.
    pub rad: PathBuf,
    pub jobs: usize,
}

/// What one system took, in seconds.
struct Times {
    who: String,
    alone: Vec<f64>,
    all: f64,
}

/// Rhizome first, then the broker: never both at once.
pub async fn measure(bin: &Path, peers: &Peers, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    for times in [rhizome(bin, peers.jobs).await?, broker(peers).await?] {
        let Times { who, alone, all } = times;
        let row =
            |name: &str, value, unit, samples| Row::new(Area::Peers, &format!("{who}: {name}"), value, unit, samples);
        let (median, longest) = (quantile(&alone, 0.5), quantile(&alone, 1.0));
        add(row("one job, from submit or push to its end", median, "s", alone.len()));
        add(row("the longest of these", longest, "s", alone.len()));
        add(row(&format!("{} jobs at once, to the end of the last", peers.jobs), all, "s", 1));
        add(row("the same", peers.jobs as f64 / all, "jobs/s", 1));
    }
    Ok(())
}

/// One node that decides and runs: each job names its commit of a repository on the machine.
async fn rhizome(bin: &Path, jobs: usize) -> Outcome<Times> {
    let machine = Machine::with_ledger(bin, "rhizome").await?;
    let path = machine.join("source");
    let commits = repository(&path, 1 + ALONE + jobs)?;
    let submit = |commit: &str| {
        let source = json!({ "type": "path", "path": path, "commit": commit, "publish": "private" });
        json!({ "command": ["true"], "source": source })
    };
    let mut connection = machine.connection().await?;
    // the newest first: it publishes the repository, and with it all commits
    let newest = commits.last().ok_or("there is no commit")?;
    let submitted: Submitted = connection.post("/schedule", &submit(newest)).await?;
    settled(&mut connection, &submitted).await?;
    let mut alone = Vec::new();
    for commit in &commits[1..=ALONE] {
        let begun = Instant::now();
        let submitted: Submitted = connection.post("/schedule", &submit(commit)).await?;
        settled(&mut connection, &submitted).await?;
        alone.push(begun.elapsed().as_secs_f64());
    }
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for commit in &commits[1 + ALONE..] {
        let (mut connection, submit) = (machine.connection().await?, submit(commit));
        tasks.spawn(async move { connection.post::<Submitted>("/schedule", &submit).await });
    }
    for submitted in tasks.join_all().await {
        settled(&mut connection, &submitted?).await?;
    }
    let all = begun.elapsed().as_secs_f64();
    Ok(Times { who: format!("rhizome {}", machine.detail().await?.version), alone, all })
}

async fn settled(connection: &mut Connection, submitted: &Submitted) -> Outcome<()> {
    let target = format!("/v1/jobs/{}", submitted.id);
    let job = until("the job is settled", async || {
        let job: JobView = connection.get(&target).await.ok()?;
        (job.summary.status == Status::Settled).then_some(job)
    })
    .await?;
    match job.summary.outcome {
        Some(JobOutcome::Succeeded) => Ok(()),
        other => Err(format!("job {} ended as {other:?}: {}", submitted.id, job.reason).into()),
    }
}

/// A node with the broker beside it: each job is the push of a commit.
async fn broker(peers: &Peers) -> Outcome<Times> {
    let mut broker = Broker::start(peers)?;
    let commits = repository(&broker.source(), 1 + ALONE + peers.jobs)?;
    broker.publish(&commits[0])?;
    let mut alone = Vec::new();
    for (number, commit) in commits[1..=ALONE].iter().enumerate() {
        let begun = Instant::now();
        broker.push(&[(commit.clone(), format!("alone-{number}"))])?;
        broker.ended(number + 1).await?;
        alone.push(begun.elapsed().as_secs_f64());
        broker.done_with(number + 1).await?;
    }
    let begun = Instant::now();
    let many = commits[1 + ALONE..].iter().enumerate();
    broker.push(&many.map(|(number, commit)| (commit.clone(), format!("many-{number}"))).collect::<Vec<_>>())?;
    broker.ended(ALONE + peers.jobs).await?;
    Ok(Times { who: broker.version()?, alone, all: begun.elapsed().as_secs_f64() })
}

/// A repository with so many commits, oldest first; the adapter of the broker finds in each what to do.
fn repository(path: &Path, commits: usize) -> Outcome<Vec<String>> {
    std::fs::create_dir_all(path.join(".radicle"))?;
    std::fs::write(path.join(".radicle/native.yaml"), "shell: 'true'\n")?;
    git(path, &["init", "--quiet", "--initial-branch=main"])?;
    let mut ids = Vec::new();
    for number in 0..commits {
        std::fs::write(path.join("number"), number.to_string())?;
        git(path, &["add", "--all"])?;
        let message = format!("--message=Count to {number}");
        git(path, &["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "--quiet", &message])?;
        ids.push(git(path, &["rev-parse", "HEAD"])?.trim().to_owned());
    }
    Ok(ids)
}

fn git(path: &Path, words: &[&str]) -> Outcome<String> {
    let output = std::process::Command::new("git").args(words).current_dir(path).output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("git {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into())
}
