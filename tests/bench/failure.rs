//! What failures cost: a machine that dies, a peer that is away for a moment or for a day; and how fast the simulation
//! looks for more of them.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::Outcome;
use crate::row::{Area, Row};
use crate::{dead, offline, reconnect};

/// How long the simulation runs, as its program takes it.
const MINUTES: &str = "1";

/// All figures of failures.
pub async fn measure(bin: &Path, soak: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    dead::measure(bin, add).await?;
    reconnect::measure(bin, add).await?;
    offline::measure(bin, add).await?;
    simulation(soak, add).await
}

/// The rate that the simulation tells at its end, over all cores.
async fn simulation(soak: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut command = Command::new(soak);
    command.args(["--minutes", MINUTES]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| format!("{}: {error}", soak.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.lines().find_map(|line| line.strip_suffix(" steps a second")?.rsplit(' ').next()?.parse().ok());
    let rate: f64 = rate.ok_or("the simulation tells no rate")?;
    let cores = std::thread::available_parallelism()?;
    add(Row::new(Area::Failure, &format!("steps of the simulation, on {cores} cores"), rate, "steps/s", 1));
    match said.lines().find(|line| line.contains("breaks a promise")) {
        Some(broken) => Err(format!("the simulation found a fault: {broken}").into()),
        None => Ok(()),
    }
}
