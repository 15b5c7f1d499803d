//! What two daemons say to each other about leases. Wire form of the link.

use serde::{Deserialize, Serialize};

use cobs::id::{Epoch, JobId, Token};

/// Most items of one message; a holder has far fewer runs.
pub const ITEMS_MAX: usize = 4096;

/// A message between the machines of two nodes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Message {
    /// A holder asks an arbiter for all its terms.
    Renewal(Renewal),
    /// The arbiter's answer.
    Confirmation(Confirmation),
}

/// A holder's question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renewal {
    /// Never used again by its sender, also not after a restart.
    pub number: u64,
    /// One for each term.
    pub items: Vec<RenewalItem>,
}

/// One term in a renewal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RenewalItem {
    /// The job.
    pub job: JobId,
    /// The token; its term is 0 for a run that started by rank.
    pub token: Token,
    /// Where its run stands.
    pub phase: Phase,
    /// The newest epoch that the holder knows.
    #[serde(default)]
    pub epoch: Epoch,
}

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Not started.
    Waiting,
    /// Started and not ended.
    Running,
    /// Ended; its Done is on its way or there.
    Finished,
}

/// An arbiter's answer. A first confirmation comes apart from the others, once its note is durable.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Confirmation {
    /// The number of the renewal it answers.
    pub number: u64,
    /// At most one for each item of the renewal.
    pub items: Vec<ConfirmationItem>,
}

/// One term in a confirmation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfirmationItem {
    /// The job.
    pub job: JobId,
    /// The token asked for.
    pub token: Token,
    /// The answer.
    pub answer: Answer,
}

/// What an arbiter says of one term.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Answer {
    /// The run may start, and go on until this long after the renewal was sent.
    #[serde(rename_all = "camelCase")]
    Confirmed {
        /// The grant's lease in milliseconds.
        lease_ms: u64,
    },
    /// The job is cancelled: the run shall end.
    Cancel,
    /// A higher token was granted, or the arbiter will never confirm this one.
    Replaced,
    /// The job is settled.
    Settled,
    /// Its report is here, and it is not confirmed any more.
    Reported,
    /// The job has a newer arbiter than the holder knows; the operation that opened its epoch goes with the message.
    HandedOver {
        /// The newest epoch that the answering node knows.
        epoch: Epoch,
    },
    /// The answering node is not its arbiter, does not know it yet, or may not confirm it yet.
    Unknown,
}
