//! What a sandbox costs at its start: from spawning the supervisor to the command, beside a bare bubblewrap with the
//! same mounts, namespaces and filters. For the benchmark; no part of running jobs.
//!
//! Both run `date`, which prints the time at which it got to work, so both are measured to the same instruction.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::Runner;
use super::bubblewrap;
use super::clock::{BootNs, wall_ns};
use super::log::reader::LogEvent;
use super::sandbox::Sandbox;
use super::smoke;

const TIME: [&str; 2] = ["date", "+%s%N"];
/// How long one start may take.
const START_WAIT: Duration = Duration::from_secs(20);

/// One start of each, one right after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartCost {
    /// Supervisor spawned to the command's first instruction.
    pub supervised: Duration,
    /// Bubblewrap spawned to the command's first instruction.
    pub bare: Duration,
}

/// Measures `samples` starts of each, interleaved; runs in directories of their own below `scratch`.
pub fn start_cost(sandbox: &Sandbox, scratch: &Path, samples: usize) -> io::Result<Vec<StartCost>> {
    (0..samples).map(|_| Ok(StartCost { supervised: supervised(sandbox, scratch)?, bare: bare(sandbox)? })).collect()
}

fn supervised(sandbox: &Sandbox, scratch: &Path) -> io::Result<Duration> {
    let dir = scratch.join(format!("start-{}", BootNs::now().0));
    let run = sandbox.start(&dir, &smoke::request(&TIME)).map_err(io::Error::other)?;
    let spawned = run.spawned().ok_or_else(|| io::Error::other("the run was not started here"))?;
    if run.wait(Some(START_WAIT)).map_err(io::Error::other)?.is_none() {
        return Err(io::Error::other("the measured run did not end"));
    }
    let LogEvent::Chunk(chunk) = run.logs(0).and_then(|mut log| log.next(Duration::ZERO)).map_err(io::Error::other)?
    else {
        return Err(io::Error::other("the measured run said nothing"));
    };
    std::fs::remove_dir_all(&dir)?;
    // The time told is by the wall clock, the spawn's by the boot clock.
    let ago = BootNs::now().0 - spawned.0;
    Ok(Duration::from_nanos(told(&chunk.bytes)?.saturating_sub(wall_ns() - ago)))
}

fn bare(sandbox: &Sandbox) -> io::Result<Duration> {
    let mut command = bubblewrap::bare(&sandbox.launch(&smoke::request(&TIME))?, &TIME)?;
    let spawned = wall_ns();
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(Duration::from_nanos(told(&output.stdout)?.saturating_sub(spawned)))
}

fn told(output: &[u8]) -> io::Result<u64> {
    let text = String::from_utf8_lossy(output);
    text.trim().parse().map_err(|_| io::Error::other(format!("'{text}' is no time")))
}
