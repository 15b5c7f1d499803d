//! The machine's clock unit and its timing. Settings are this node's own; a lease is always the one in the grant.

use std::ops::Add;

use serde::{Deserialize, Serialize};

use super::mutation::{self, Mutation};

/// Milliseconds of the boot-time clock of one machine, which goes on while it sleeps; or a span of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The span, doubled so many times.
    pub fn doubled(self, times: u32) -> Self {
        Self(self.0.saturating_mul(1_u64.checked_shl(times).unwrap_or(u64::MAX)))
    }
}

impl Add for Millis {
    type Output = Self;

    fn add(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// The most by which the rates of two boot-time clocks differ, slewing included: one part in this many.
pub const RATE_BOUND_INVERSE: u64 = 5;
/// How late a supervisor's SIGKILL may come after its deadline.
pub const KILL_GRACE: Millis = Millis(1_000);

/// The longest lease that any arbiter may have granted.
pub const LEASE_MAX: Millis = Millis(*cobs::job::action::LEASE_MS.end());

/// The machine's timing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// From the first bid to the grant.
    pub bid_window: Millis,
    /// How long an arbiter that could run a job itself waits for the first bid of another worker.
    pub own_bid_wait: Millis,
    /// From a grant that nobody asks to confirm to its replacement.
    pub grant_wait: Millis,
    /// The lease this node grants.
    pub lease: Millis,
    /// Between two asks for a first confirmation.
    pub ask_again: Millis,
    /// From a write that failed to the next try.
    pub sign_retry: Millis,
    /// How long a cancel waits for the holder's Done before the job is settled without it.
    pub cancel_wait: Millis,
    /// How long a node that gave a job back does not bid for it again.
    pub bid_again: Millis,
    /// How long an arbiter is silent before the first worker by rank starts an idempotent job; so long again for each
    /// further rank.
    pub hold_off: Millis,
    /// Between the polite signal and the kill of a run that is ended from outside.
    pub stop_grace: Millis,
    /// Renewals remembered for each peer, so that their answers count.
    pub renewals_open_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bid_window: Millis(50),
            own_bid_wait: Millis(300),
            grant_wait: Millis(10_000),
            lease: Millis(30_000),
            ask_again: Millis(500),
            sign_retry: Millis(1_000),
            cancel_wait: Millis(5_000),
            bid_again: Millis(60_000),
            hold_off: Millis(60_000),
            stop_grace: Millis(5_000),
            renewals_open_max: 256,
        }
    }
}

/// How long an arbiter waits after the last renewal that it answered, by its own clock, before it may give the job to
/// another: the worker's lease ends first, whatever the two clocks do within the bound.
pub fn wait_after(lease: Millis) -> Millis {
    if mutation::is_on(Mutation::WaitsTheBareLease) {
        return lease;
    }
    lease + Millis(lease.0.div_ceil(RATE_BOUND_INVERSE)) + KILL_GRACE
}
