//! The whole, shown on two throw-away nodes on this machine: alice submits a job on a clone of the user's repository,
//! bob runs it. It asks the daemons as the command line does, and must not know how they do it.
//!
//! Nothing is left behind, however it ends: a process of its own clears up once this one is gone ([`sweep`]).

mod job;
mod nodes;
mod repository;
mod site;
pub mod sweep;
mod tell;
mod watch;

use std::path::PathBuf;

use cobs::job::spec::RunnerKind;
use hyper::Method;
use scheduler::runner::sandbox::{SandboxConfig, SupervisorCommand};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::repository::Cloned;
use self::site::{Name, Site};
use self::tell::{Teller, Who};
use self::watch::{Mark, Watched};
use crate::cli::exit::Failure;
use crate::cli::output::Format;
use crate::daemon::SANDBOX_PROBLEM;
use crate::ops::error::{Code, Error};
use crate::ops::types::{Artifact, Health, Submitted};

/// The exit code of a job that gave none.
const NO_RESULT: u8 = 125;
/// Lines of a daemon's log that a failure shows.
const TAIL_LINES: usize = 12;

/// What a demo came to. Wire form of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    job: cobs::id::JobId,
    commit: String,
    outcome: Option<cobs::job::outcome::Outcome>,
    exit_code: u8,
    artifacts: Vec<Artifact>,
    timeline: Vec<Mark>,
}

/// How a demo ended.
enum Ended {
    /// With the job.
    Shown(Box<Summary>),
    /// By a signal, which asks for this exit code.
    Interrupted(u8),
}

/// Shows the whole, and ends with the job's exit code.
///
/// # Errors
/// Each with the step that failed, and what to do next; nothing is left behind.
pub async fn run(repo: Option<PathBuf>, command: Vec<String>, format: Format) -> Result<u8, Failure> {
    let mut signals = Signals::listen()?;
    let teller = Teller::new(format);
    find_bubblewrap()?;
    let mut site = Site::open()?;
    let ended = tokio::select! {
        ended = play(&mut site, &teller, repo, command) => ended.map(|summary| Ended::Shown(Box::new(summary))),
        code = signals.next() => {
            // nobody to tell when nobody reads
            let _ = teller.say(Who::Demo, "interrupted: clearing up");
            Ok(Ended::Interrupted(code))
        }
    };
    if let Err(Failure::Refused { .. }) = &ended {
        show_logs(&site);
    }
    let step = site.step;
    tokio::select! {
        cleared = site.clear() => if let Err(error) = cleared { eprintln!("warning: {error}") },
        // the sweeper goes on without us
        code = signals.next() => std::process::exit(code.into()),
    }
    match ended.map_err(|failure| at_step(step, failure))? {
        Ended::Interrupted(code) => Ok(code),
        Ended::Shown(summary) => {
            close(&teller, format, &summary)?;
            Ok(summary.exit_code)
        }
    }
}

/// Everything between the first node's birth and the settled result.
async fn play(
    site: &mut Site,
    teller: &Teller,
    repo: Option<PathBuf>,
    command: Vec<String>,
) -> Result<Summary, Failure> {
    teller.say(Who::Demo, &format!("two throw-away nodes of this machine, in {}", site.directory().display()))?;
    site.step = "clone the repository";
    let clone = repository::prepare(&site.directory().join("source"), repo.as_deref()).await?;
    show_clone(teller, &clone)?;
    site.step = "start the nodes";
    nodes::pair(site, teller).await?;
    site.step = "look at bob's sandbox";
    require_sandbox(site).await?;
    site.step = "submit the job";
    let wanted = job::of(&clone, command);
    let alice = site.client(Name::Alice);
    teller.say(Who::Alice, "publishes the clone to bob alone, and submits:")?;
    teller.say(Who::Alice, &format!("  {}", wanted.title.clone().unwrap_or_default()))?;
    let mut watched = Watched::begin();
    let submitted: Submitted = alice.send(Method::POST, "/schedule", &wanted).await?;
    site.step = "follow the job";
    watched.acknowledged(teller, &submitted)?;
    let wants = if wanted.artifacts.is_empty() { watch::Wants::Result } else { watch::Wants::ArtifactsToo };
    let home = site.directory().join("home");
    let view = watched.follow(teller, &alice, submitted.id, wants, &home).await?;
    Ok(Summary {
        job: submitted.id,
        commit: clone.commit,
        outcome: view.summary.outcome,
        exit_code: view.exit_code.unwrap_or(NO_RESULT),
        artifacts: watched.artifacts,
        timeline: watched.marks,
    })
}

fn show_clone(teller: &Teller, clone: &Cloned) -> Result<(), Failure> {
    let Cloned { name, commit, subject, files, notes, .. } = clone;
    let short: String = commit.chars().take(12).collect();
    teller.say(Who::Demo, &format!("cloned {name} at {short}, {files} files: {subject}"))?;
    notes.iter().try_for_each(|note| teller.say(Who::Demo, &format!("note: {note}")))
}

/// The person's words at the end, or the one object.
fn close(teller: &Teller, format: Format, summary: &Summary) -> Result<(), Failure> {
    if format == Format::Json {
        return format.print(summary, |_| String::new());
    }
    teller.plain("")?;
    teller.plain("   ms since the submit")?;
    for mark in &summary.timeline {
        teller.plain(&format!("{:>5}  {}", mark.ms, mark.step.words()))?;
    }
    teller.plain("")?;
    teller.plain(&format!("all of it is gone again; the job's exit code is {}", summary.exit_code))?;
    teller
        .plain("next: `rhizome init` sets this machine up, `rhizome up` starts it; then pair another machine with")?;
    teller.plain("`rhizome invite` here and `rhizome join LINK` there, or run a job at once: `rhizome run -- COMMAND`")
}

fn at_step(step: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Refused { error, correlation } => {
            let detail = format!("cannot {step}: {}", error.detail);
            Failure::Refused { error: Error { detail, ..error }, correlation }
        }
        Failure::Output(error) => Failure::Output(error),
    }
}

fn show_logs(site: &Site) {
    for name in [Name::Alice, Name::Bob] {
        let tail = site.log_tail(name, TAIL_LINES);
        if !tail.is_empty() {
            eprintln!("the end of {name}'s log:");
            tail.iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// Tells at once what every run would fail for.
fn find_bubblewrap() -> Result<(), Error> {
    let supervisor = SupervisorCommand { program: PathBuf::new(), args: Vec::new() };
    let bubblewrap = SandboxConfig::new(String::new(), supervisor).bubblewrap;
    if bubblewrap.exists() {
        return Ok(());
    }
    Err(Error::new(Code::Config, format!("bubblewrap is missing: there is no {}", bubblewrap.display()))
        .hint("install it with: sudo apt-get install bubblewrap; or all that is needed with: deploy/install.sh"))
}

async fn require_sandbox(site: &Site) -> Result<(), Failure> {
    let health: Health = site.client(Name::Bob).get("/health").await?;
    let Some(detail) = health.detail else { return Ok(()) };
    let works = detail.capacity.is_some_and(|capacity| capacity.runners.contains_key(&RunnerKind::Sandbox));
    if works {
        return Ok(());
    }
    let own = format!("{SANDBOX_PROBLEM}: ");
    let why = detail.problems.iter().find_map(|problem| problem.strip_prefix(&own));
    let words = format!("the sandbox does not work on this machine: {}", why.unwrap_or("its smoke run failed"));
    Err(Error::new(Code::Config, words)
        .hint(
            "bubblewrap needs user namespaces: check sysctl kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns; in a container, allow them there; \
             deploy/install.sh installs what is missing",
        )
        .into())
}

/// What asks us to end.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn listen() -> Result<Self, Error> {
        let on = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or(0);
            let listening = signal(kind).map(|signal| (signal, 128 + number));
            listening.map_err(|error| Error::new(Code::Internal, format!("cannot listen to signals: {error}")))
        };
        Ok(Self([on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?]))
    }

    /// The exit code that the next one asks for.
    async fn next(&mut self) -> u8 {
        let [(interrupt, int), (terminate, term), (hangup, hup)] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => *int,
            _ = terminate.recv() => *term,
            _ = hangup.recv() => *hup,
        }
    }
}
