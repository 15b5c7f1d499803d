//! Where a job can run: feasibility first, both ways and aware of what is unknown, then a mean of normalised scores.
//! Every verdict carries its reasons, which `rhizome job explain` prints.

pub mod choice;

use serde::{Deserialize, Serialize};

use cobs::job::spec::{Gpu, Limit, Limits, Spec};

use crate::capacity::{Capacity, Gpus, LimitKind};

/// The highest score, and the highest of each of its parts.
pub const SCORE_MAX: u32 = 1000;

/// Whether a node can run a job, and how well.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Verdict {
    /// It can.
    #[serde(rename_all = "camelCase")]
    Feasible {
        /// 0 to [`SCORE_MAX`].
        score: u32,
        /// What the score is the mean of.
        parts: Vec<Part>,
    },
    /// It could, but not now.
    Busy {
        /// What it waits for.
        reason: String,
    },
    /// It cannot.
    Infeasible {
        /// Everything that stands against it.
        reasons: Vec<String>,
    },
}

/// One part of a score.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// What is scored.
    pub name: String,
    /// 0 to [`SCORE_MAX`]; higher is better.
    pub score: u32,
    /// The facts behind it.
    pub reason: String,
}

/// Judges one node's offer against a job in `queue`.
pub fn judge(spec: &Spec, queue: &str, capacity: &Capacity) -> Verdict {
    let mut reasons = Vec::new();
    requirements(spec, queue, capacity, &mut reasons);
    limits(&spec.limits, spec, capacity, &mut reasons);
    if let Some(gpu) = &spec.requirements.gpu {
        graphics(gpu, &capacity.gpus, &mut reasons);
    }
    if !reasons.is_empty() {
        return Verdict::Infeasible { reasons };
    }
    if capacity.slots_free() == 0 {
        return Verdict::Busy { reason: format!("all {} slots are taken", capacity.slots) };
    }
    let parts = score(spec, capacity);
    let sum: u32 = parts.iter().map(|part| part.score).sum();
    let count = u32::try_from(parts.len()).expect("a handful of parts").max(1);
    Verdict::Feasible { score: sum / count, parts }
}

fn requirements(spec: &Spec, queue: &str, capacity: &Capacity, reasons: &mut Vec<String>) {
    let asked = &spec.requirements;
    if !capacity.queues.contains(queue) {
        reasons.push(format!("it does not serve the queue '{queue}'"));
    }
    if let Some(architecture) = asked.architecture.as_ref().filter(|name| **name != capacity.architecture) {
        reasons.push(format!("it is {}, the job needs {architecture}", capacity.architecture));
    }
    if let Some(system) = asked.system.as_ref().filter(|name| **name != capacity.system) {
        reasons.push(format!("it runs {}, the job needs {system}", capacity.system));
    }
    for label in asked.labels.difference(&capacity.labels) {
        reasons.push(format!("it lacks the label '{label}'"));
    }
    for directory in asked.directories.difference(&capacity.directories) {
        reasons.push(format!("it names no directory '{directory}'"));
    }
    let usable = |kind| asked.runners.is_empty() || asked.runners.contains(kind);
    if !capacity.runners.keys().any(usable) {
        reasons.push("it has no runner of a kind that the job takes".into());
    }
}

/// A limit beyond the machine is refused when strict; a strict one must be enforceable by a runner the job takes.
fn limits(limits: &Limits, spec: &Spec, capacity: &Capacity, reasons: &mut Vec<String>) {
    let rows: [(LimitKind, &str, Option<Limit>, Option<u64>); 6] = [
        (LimitKind::Cpu, "cpu", limits.cpu_milli, Some(capacity.cpu_milli)),
        (LimitKind::Memory, "memory", limits.memory_bytes, Some(capacity.memory_bytes)),
        (LimitKind::Processes, "processes", limits.processes, None),
        (LimitKind::Disk, "disk", limits.disk_bytes, Some(capacity.memory_bytes)),
        (LimitKind::Wall, "wall", limits.wall_ms, None),
        (LimitKind::Log, "log", limits.log_bytes, Some(capacity.disk_free_bytes)),
    ];
    for (kind, name, limit, have) in rows {
        let Some(limit) = limit.filter(|limit| limit.strict) else { continue };
        if let Some(have) = have.filter(|have| limit.value > *have) {
            reasons.push(format!("the {name} limit of {} is beyond its {have}", limit.value));
        }
        if let Some(why) = unenforceable(kind, spec, capacity) {
            reasons.push(format!("it cannot enforce the strict {name} limit: {why}"));
        }
    }
}

fn unenforceable(kind: LimitKind, spec: &Spec, capacity: &Capacity) -> Option<String> {
    let asked = &spec.requirements.runners;
    let mut usable = capacity.runners.iter().filter(|(runner, _)| asked.is_empty() || asked.contains(runner));
    let mut why = "it has no runner".to_owned();
    for (_, capability) in usable.by_ref() {
        if capability.strict.contains(&kind) {
            return None;
        }
        why = capability.why_not.get(&kind).cloned().unwrap_or_else(|| "its runner does not say".into());
    }
    Some(why)
}

fn graphics(asked: &Gpu, gpus: &Gpus, reasons: &mut Vec<String>) {
    let devices = match gpus {
        Gpus::None => return reasons.push("it has no graphics processor".into()),
        Gpus::Unavailable { reason } => {
            return reasons.push(format!("its graphics processors are unavailable: {reason}"));
        }
        Gpus::Devices { devices } => devices,
    };
    let fit = devices.iter().filter(|device| device.memory_free_bytes.unwrap_or(0) >= asked.memory_bytes).count();
    if fit < asked.count as usize {
        reasons
            .push(format!("{fit} of its graphics processors have the memory asked for, the job needs {}", asked.count));
    }
}

fn score(spec: &Spec, capacity: &Capacity) -> Vec<Part> {
    let share = |part: u64, whole: u64| {
        let milli = u128::from(part) * u128::from(SCORE_MAX) / u128::from(whole.max(1));
        u32::try_from(milli).unwrap_or(SCORE_MAX).min(SCORE_MAX)
    };
    let part = |name: &str, score, reason| Part { name: name.into(), score, reason };
    let mut parts = vec![
        part(
            "slots",
            share(capacity.slots_free().into(), capacity.slots.into()),
            format!("{} of {} slots free", capacity.slots_free(), capacity.slots),
        ),
        part(
            "load",
            SCORE_MAX - share(capacity.load_milli, capacity.cpu_milli),
            format!("load {} of {} milli-cores", capacity.load_milli, capacity.cpu_milli),
        ),
        part(
            "memory",
            share(capacity.memory_free_bytes, capacity.memory_bytes),
            format!("{} of {} MiB free", capacity.memory_free_bytes >> 20, capacity.memory_bytes >> 20),
        ),
    ];
    if let Some(memory) = spec.limits.memory_bytes {
        let fits = capacity.memory_free_bytes >= memory.value;
        let reason = format!("{} MiB asked, {} MiB free", memory.value >> 20, capacity.memory_free_bytes >> 20);
        parts.push(part("memory fit", if fits { SCORE_MAX } else { 0 }, reason));
    }
    if capacity.on_battery {
        parts.push(part("power", 0, "on a battery".into()));
    }
    parts
}
