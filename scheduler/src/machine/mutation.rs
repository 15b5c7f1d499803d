//! Faults put into the machine on purpose, so that the simulation can show that it would notice each. One of them is on
//! in one thread of a test at a time; a build without the `simulation` feature has none.

/// A rule of the protocol that is broken. One rule is not among them: that a holder believes the newest arbiter alone. An
/// honest arbiter confirms nothing after its hand-over, and its successor waits out what it confirmed before; the rule is
/// for an arbiter that outlives its takeover, which is outside P2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mutation {
    /// The arbiter confirms any token that it granted, not the highest alone.
    ConfirmsLowerTokens,
    /// The arbiter confirms a token to whoever asks.
    ConfirmsToAnyone,
    /// The arbiter confirms a term that it noted never to confirm.
    ConfirmsWhatIsForbidden,
    /// The arbiter confirms before the note of it is durable.
    ConfirmsWithoutNote,
    /// The arbiter replaces a term before the note never to confirm it is durable.
    ReplacesWithoutNote,
    /// A restarted arbiter takes what it confirmed in an earlier life for never confirmed.
    ForgetsConfirmations,
    /// A restarted arbiter does not wait for what it may have confirmed before.
    RestartWaitsNothing,
    /// A restarted arbiter waits the lease alone.
    RestartWaitsTheBareLease,
    /// The arbiter waits the lease alone: no allowance for the clocks' rates and the kill.
    WaitsTheBareLease,
    /// The arbiter waits by its own setting, not by the lease that it granted.
    WaitsByItsOwnSetting,
    /// The arbiter gives a term up as lost without waiting.
    GivesUpWithoutWaiting,
    /// The arbiter grants again without a look at the attempts.
    IgnoresAttempts,
    /// The arbiter retries a run that was cancelled.
    RetriesCancelled,
    /// The arbiter replaces a held term by time.
    ReplacesHeld,
    /// An arbiter that has stepped down goes on confirming.
    ConfirmsAfterStepDown,
    /// A successor neither waits nor looks for missing grants.
    SuccessorWaitsNothing,
    /// The arbiter settles again what is settled.
    SettlesAgain,
    /// A holder counts its lease from the answer, not from the question.
    LeaseFromTheAnswer,
    /// A holder's run has no deadline that ends it.
    NoDeadline,
    /// A holder starts a leased run without a confirmation.
    StartsUnconfirmed,
    /// A worker starts a held term that a takeover gave up.
    StartsAbandoned,
    /// A worker starts a token again that it started in an earlier life.
    ForgetsStarts,
    /// A holder does not renew what has finished.
    NoRenewalAfterDone,
    /// The numbers of renewals begin anew after a restart.
    NumbersBeginAnew,
    /// A worker starts an idempotent job at once, whatever its rank and its arbiter's silence.
    StartsByRankAtOnce,
    /// The machine grants a cancelled job.
    GrantsCancelled,
    /// A run goes on after its job was settled or its grant replaced.
    RunsOn,
    /// A root counts in whatever namespace it is found.
    AcceptsCopiedRoots,
}

impl Mutation {
    /// All of them.
    #[cfg(any(test, feature = "simulation"))]
    pub const ALL: &'static [Self] = &[
        Self::ConfirmsLowerTokens,
        Self::ConfirmsToAnyone,
        Self::ConfirmsWhatIsForbidden,
        Self::ConfirmsWithoutNote,
        Self::ReplacesWithoutNote,
        Self::ForgetsConfirmations,
        Self::RestartWaitsNothing,
        Self::RestartWaitsTheBareLease,
        Self::WaitsTheBareLease,
        Self::WaitsByItsOwnSetting,
        Self::GivesUpWithoutWaiting,
        Self::IgnoresAttempts,
        Self::RetriesCancelled,
        Self::ReplacesHeld,
        Self::ConfirmsAfterStepDown,
        Self::SuccessorWaitsNothing,
        Self::SettlesAgain,
        Self::LeaseFromTheAnswer,
        Self::NoDeadline,
        Self::StartsUnconfirmed,
        Self::StartsAbandoned,
        Self::ForgetsStarts,
        Self::NoRenewalAfterDone,
        Self::NumbersBeginAnew,
        Self::StartsByRankAtOnce,
        Self::GrantsCancelled,
        Self::RunsOn,
        Self::AcceptsCopiedRoots,
    ];
}

#[cfg(any(test, feature = "simulation"))]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Turns a mutation on in this thread, or all off.
    pub fn set(mutation: Option<Mutation>) {
        ON.set(mutation);
    }

    /// Whether it is on in this thread.
    pub fn is_on(mutation: Mutation) -> bool {
        ON.get() == Some(mutation)
    }
}

#[cfg(any(test, feature = "simulation"))]
pub use switch::{is_on, set};

/// None is ever on.
#[cfg(not(any(test, feature = "simulation")))]
pub const fn is_on(_: Mutation) -> bool {
    false
}
