//! What a node offers, as its probes found it and as it tells its peers over the link. Advisory: a grant is refused by
//! the node that cannot run it, whatever it said before.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use cobs::id::NodeId;
use cobs::job::spec::{RunnerKind, Spec};

/// What a node offers at one moment. Wire form of the link.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Whose.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// [`cobs::PROTOCOL_VERSION`] of its daemon.
    pub protocol: u32,
    /// As `std::env::consts::ARCH` spells it.
    pub architecture: String,
    /// As `std::env::consts::OS` spells it.
    pub system: String,
    /// Labels of its config.
    pub labels: BTreeSet<String>,
    /// Queues it serves.
    pub queues: BTreeSet<String>,
    /// Runner kinds that work here, by smoke run.
    pub runners: BTreeMap<RunnerKind, RunnerCapability>,
    /// Names of the read-only directories that jobs may ask for.
    pub directories: BTreeSet<String>,
    /// Thousandths of cores, all of them.
    pub cpu_milli: u64,
    /// Load average of one minute, in thousandths.
    pub load_milli: u64,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Memory that can be had without swapping.
    pub memory_free_bytes: u64,
    /// Free space where runs are kept.
    pub disk_free_bytes: u64,
    /// Runs it takes at once.
    pub slots: u32,
    /// Runs it has, those that wait to start included.
    pub slots_used: u32,
    /// Its graphics processors.
    pub gpus: Gpus,
    /// Whether it runs on a battery.
    pub on_battery: bool,
}

/// What one runner kind can enforce strictly.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerCapability {
    /// Limits that hold.
    pub strict: BTreeSet<LimitKind>,
    /// Limits that do not, and why.
    pub why_not: BTreeMap<LimitKind, String>,
}

/// The limits of a job by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitKind {
    /// `cpuMilli`.
    Cpu,
    /// `memoryBytes`.
    Memory,
    /// `processes`.
    Processes,
    /// `diskBytes`.
    Disk,
    /// `wallMs`.
    Wall,
    /// `logBytes`.
    Log,
}

/// The graphics processors of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Gpus {
    /// No driver.
    #[default]
    None,
    /// A driver that does not answer.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// What the driver lists.
    Devices {
        /// Each of them.
        devices: Vec<GpuDevice>,
    },
}

/// One graphics processor; what the driver would not say is absent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuDevice {
    /// Its product name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its memory.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Its free memory.
    #[serde(default)]
    pub memory_free_bytes: Option<u64>,
}

impl Capacity {
    /// Runs it could take now.
    pub fn slots_free(&self) -> u32 {
        self.slots.saturating_sub(self.slots_used)
    }

    /// The offer without what changes all the time.
    pub(crate) fn shape(&self) -> Self {
        let mut shape = self.clone();
        (shape.load_milli, shape.memory_free_bytes, shape.slots_used) = (0, 0, 0);
        (shape.disk_free_bytes, shape.on_battery) = (0, false);
        if let Gpus::Devices { devices } = &mut shape.gpus {
            devices.iter_mut().for_each(|device| device.memory_free_bytes = None);
        }
        shape
    }

    /// Whether this offer takes a job that the earlier one of the same shape may have refused, or the reverse.
    pub(crate) fn differs_for(&self, earlier: &Self, spec: &Spec) -> bool {
        let log = spec.limits.log_bytes.is_some_and(|limit| limit.strict);
        (log && self.disk_free_bytes != earlier.disk_free_bytes)
            || (spec.requirements.gpu.is_some() && self.gpus != earlier.gpus)
    }
}
