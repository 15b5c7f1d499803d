//! Who could run a job: the wire form of the answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use cobs::id::{JobId, NodeId, Token};
use scheduler::place::Verdict;

/// Who could run a job, and why or why not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explain {
    /// The job.
    pub id: JobId,
    /// Why it stands where it stands.
    pub waits_for: String,
    /// Who decides.
    pub arbiter: NodeId,
    /// Each worker, and each other member of the ledger.
    pub nodes: Vec<ExplainNode>,
    /// Operations that mean nothing, by reason.
    pub ignored: BTreeMap<String, u32>,
    /// What is odd: second settles, duplicate runs.
    pub alarms: Vec<String>,
}

/// One node in an explanation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainNode {
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// Whether it is among the job's workers.
    pub worker: bool,
    /// Its newest bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid: Option<u32>,
    /// Why it bids so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid_reason: Option<String>,
    /// Its highest token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// What this node makes of its last known capacity; none when it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// How old that capacity is, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_age_ms: Option<u64>,
    /// What besides its capacity stands against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why_not: Vec<String>,
}
