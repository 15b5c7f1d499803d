//! What a finished job takes of the disk once the ledger was collected.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::fill::Fill;
use crate::jobs::Pair;
use crate::machine::until;
use crate::row::{Area, Row, Target};

/// Finished jobs, each operation of them under a signature of its own: nothing takes more.
const JOBS: usize = 2_000;
/// A collection leaves what is younger than an hour, whoever refers to it.
const AGED: &str = "2 hours ago";
const BLOCK_BYTES: u64 = 512;

/// Bytes of the author's storage of the ledger, those of a new one taken off.
pub async fn measure(bin: &Path, add: &mut (dyn FnMut(Row) + Send)) -> Outcome<()> {
    let mut pair = Pair::new(bin).await?;
    let ledger = pair.submitter.ledger().await?;
    pair.down().await?;
    let directory = pair.submitter.repository(ledger);
    let before = bytes(&directory)?;
    let mut jobs = Fill::open(&pair.submitter, &pair.worker, ledger)?;
    jobs.finished(JOBS, 1)?;
    jobs.close();
    let filled = bytes(&directory)?;
    let touch = ["-type", "f", "-exec", "touch", "--date", AGED, "{}", "+"];
    let status = Command::new("find").arg(directory.join("objects")).args(touch).status()?;
    if !status.success() {
        return Err("the objects cannot be made older".into());
    }
    let machine = &mut pair.submitter;
    machine.set("ledger.collect_every_ms=1000");
    machine.up().await?;
    let collected = async || machine.events("ledger collected").into_iter().next();
    until("the ledger is collected", collected).await?;
    machine.down().await?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / JOBS as f64 / 1e3;
    let name = format!("disk for a finished job, of {JOBS} with every operation signed alone, collected after an hour");
    let row = Row::new(Area::Scale, &name, each(bytes(&directory)?), "kB", JOBS);
    add(row.target(Target::AtMost(12.0)).baseline(format!("before: {:.1} kB", each(filled))));
    Ok(())
}

/// Bytes of all files below a directory, as the disk counts them.
fn bytes(directory: &Path) -> Outcome<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += metadata.blocks() * BLOCK_BYTES;
        if metadata.is_dir() {
            sum += bytes(&entry.path())?;
        }
    }
    Ok(sum)
}
