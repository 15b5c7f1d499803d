//! The capacity probe: reads what this machine offers now. It measures and never decides whether a job may run; what
//! runners can enforce is found by their own smoke runs and given to it.
//!
//! A sample costs four small reads of `/proc` and `/sys` and one `statvfs`, some tens of microseconds; with a graphics
//! driver also two calls of it for each device. It may block for as long as the driver does.

mod gpu;
mod power;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cobs::id::NodeId;
use cobs::job::spec::RunnerKind;
use sysinfo::System;

use crate::capacity::{Capacity, RunnerCapability};

/// Where Linux lists batteries and mains.
const POWER_SUPPLIES: &str = "/sys/class/power_supply";

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// This node.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// Labels of its config.
    pub labels: BTreeSet<String>,
    /// Queues it serves.
    pub queues: BTreeSet<String>,
    /// Runner kinds that work here, by smoke run.
    pub runners: BTreeMap<RunnerKind, RunnerCapability>,
    /// Names of the read-only directories that jobs may ask for.
    pub directories: BTreeSet<String>,
    /// Runs it takes at once.
    pub slots: u32,
}

/// The probe. It keeps the graphics driver open between samples.
#[derive(Debug)]
pub struct Probe {
    facts: Facts,
    /// None where the system is not supported.
    system: Option<System>,
    gpus: gpu::Driver,
}

impl Probe {
    /// Opens the graphics driver, if there is one; takes some 10 ms.
    pub fn new(facts: Facts) -> Self {
        Self { facts, system: System::new().ok(), gpus: gpu::Driver::open(None) }
    }

    /// What the machine offers now. `runs_dir` need not exist yet; what cannot be read counts as none.
    pub fn sample(&mut self, slots_used: u32, runs_dir: &Path) -> Capacity {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u64::try_from(cores.get()).unwrap_or(1));
        let (memory_bytes, memory_free_bytes) = self.memory();
        let facts = self.facts.clone();
        Capacity {
            node: facts.node,
            alias: facts.alias,
            protocol: cobs::PROTOCOL_VERSION,
            architecture: std::env::consts::ARCH.into(),
            system: std::env::consts::OS.into(),
            labels: facts.labels,
            queues: facts.queues,
            runners: facts.runners,
            directories: facts.directories,
            cpu_milli: cores * 1000,
            load_milli: System::load_average().map_or(0, |load| milli(load.one)),
            memory_bytes,
            memory_free_bytes,
            disk_free_bytes: disk_free(runs_dir),
            slots: facts.slots,
            slots_used,
            gpus: self.gpus.sample(),
            on_battery: power::on_battery(Path::new(POWER_SUPPLIES)),
        }
    }

    /// Total and free, both no more than the control group of the daemon allows.
    fn memory(&mut self) -> (u64, u64) {
        let Some(system) = &mut self.system else { return (0, 0) };
        system.refresh_memory();
        let (total, free) = (system.total_memory(), system.available_memory());
        match system.cgroup_limits() {
            Some(limits) if limits.total_memory > 0 => (total.min(limits.total_memory), free.min(limits.free_memory)),
            Some(_) | None => (total, free),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a load is small and positive, and a cast from a float saturates"
)]
fn milli(load: f64) -> u64 {
    (load * 1000.0).round() as u64
}

/// Free space for unprivileged writers on the file system that holds `path` or will hold it.
fn disk_free(path: &Path) -> u64 {
    let answer = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
    answer.map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}
