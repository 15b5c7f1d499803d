//! The smoke run: one real run at start-up, since a file that exists says nothing about whether a sandbox works.

use std::path::Path;
use std::time::Duration;

use cobs::id::{RunId, Token};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::{Limit, Work};

use super::clock::BootMs;
use super::request::{Deadline, ResolvedLimits, RunRequest};
use super::sandbox::Sandbox;
use super::{Runner, StartError};

/// How long it may take.
const SMOKE_WAIT: Duration = Duration::from_secs(20);
/// The longest it may run.
const SMOKE_MS: u64 = 10_000;

/// Runs `true` in `scratch`, with caps small enough to show that they can be set; says why not, for people.
pub(super) fn run(sandbox: &Sandbox, scratch: &Path) -> Result<(), String> {
    let dir = tempdir(scratch)?;
    let ended = attempt(sandbox, &dir);
    // Left behind it would only take room.
    let _ = std::fs::remove_dir_all(&dir);
    ended
}

fn attempt(sandbox: &Sandbox, dir: &Path) -> Result<(), String> {
    let told = |error: &dyn std::error::Error| super::chain(error);
    let run = sandbox.start(dir, &request(&["true"])).map_err(|error: StartError| told(&error))?;
    match run.wait(Some(SMOKE_WAIT)).map_err(|error| told(&error))? {
        None => Err("the smoke run did not end".to_owned()),
        Some(finished) if finished.outcome == (RunOutcome::Exited { code: 0 }) => Ok(()),
        Some(finished) => {
            let why = finished.reason.unwrap_or_else(|| format!("{:?}", finished.outcome));
            Err(format!("the smoke run failed: {why}"))
        }
    }
}

fn tempdir(scratch: &Path) -> Result<std::path::PathBuf, String> {
    let dir = scratch.join(format!("smoke-{}-{}", std::process::id(), BootMs::now().0));
    std::fs::create_dir_all(&dir).map_err(|error| format!("'{}' cannot be made: {error}", dir.display()))?;
    Ok(dir)
}

/// A small run of a program that every system has.
pub(super) fn request(command: &[&str]) -> RunRequest {
    let limit = |value| Limit { value, strict: false };
    RunRequest {
        run: nobody(),
        work: Work::Command {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            environment: std::collections::BTreeMap::new(),
            working_directory: None,
        },
        limits: ResolvedLimits {
            cpu_milli: limit(1000),
            memory_bytes: limit(128 << 20),
            processes: limit(16),
            disk_bytes: limit(1 << 20),
            wall_ms: limit(SMOKE_MS),
            log_bytes: limit(64 << 10),
        },
        tree: None,
        inputs: Vec::new(),
        artifacts: Vec::new(),
        directories: Vec::new(),
        deadline: Deadline::At(BootMs::now().plus(SMOKE_MS)),
    }
}

/// A run that no job has: of the object that git never makes, by a key that nobody has.
fn nobody() -> RunId {
    let job = "0".repeat(40).parse().expect("40 digits are an object id");
    RunId { job, token: Token::new(0, std::process::id()), node: cobs::id::NodeId::from([0; 32]) }
}
