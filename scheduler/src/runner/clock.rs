//! The clock that leases live on, and what tells a process from a later one with the same id.
//!
//! Knows nothing of runs. It is the one place in the runner that reads a clock.

use std::io;
use std::time::Duration;

use rustix::time::{ClockId, Timespec};
use serde::{Deserialize, Serialize};

/// A moment in milliseconds since boot, time asleep included (`CLOCK_BOOTTIME`). Means nothing on another machine
/// or after a reboot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootMs(pub u64);

impl BootMs {
    /// Now.
    pub fn now() -> Self {
        Self(BootNs::now().0 / 1_000_000)
    }

    /// This moment and `millis` more.
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This moment less `millis`.
    pub fn minus(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    pub(crate) fn timespec(self) -> Timespec {
        let duration = Duration::from_millis(self.0);
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Timespec { tv_sec: seconds, tv_nsec: i64::from(duration.subsec_nanos()) }
    }
}

/// A moment in nanoseconds since boot, for measuring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootNs(pub u64);

impl BootNs {
    /// Now.
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).expect("time since boot is never negative");
        let nanos = u64::try_from(now.tv_nsec).expect("a timespec is normalised");
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

/// Nanoseconds since 1970 by the wall clock: for people and measuring only.
pub(crate) fn wall_ns() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Realtime);
    u64::try_from(now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)).unwrap_or(0)
}

/// Milliseconds since 1970 by the wall clock: for people only.
pub(crate) fn wall_ms() -> u64 {
    wall_ns() / 1_000_000
}

/// The kernel's random id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When `pid` started, in clock ticks since boot; none if there is no such process.
pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_start() {
        // The start time of a living process is steady, and a process that is not there has none.
        let own = start_ticks(std::process::id());
        assert!(own.is_some());
        assert_eq!(own, start_ticks(std::process::id()));
        assert_eq!(start_ticks(u32::MAX), None);
    }
}
