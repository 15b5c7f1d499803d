//! Hand-overs that go with a message between machines: a holder learns of its new arbiter, and that one of its office,
//! over the link alone, where replication is behind or apart.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use cobs::adapter::open::OpenLedger;
use cobs::adapter::shown::Shown;
use cobs::id::{Epoch, JobId, NodeId};
use scheduler::machine::wire::{Answer, Message};

use crate::follower::Ask;
use crate::node::Node;

/// Most jobs whose hand-overs go with one message; the others go with the next.
const JOBS_MAX: usize = 8;
/// Most pairs of peer and job that are remembered; beyond, all are learned again.
const LACKING_MAX: usize = 4096;

/// A message between machines as it goes over the link.
#[derive(Serialize, Deserialize)]
pub struct Letter {
    /// What is said.
    #[serde(flatten)]
    pub message: Message,
    /// What the receiver may lack.
    #[serde(default, rename = "handOvers", skip_serializing_if = "Vec::is_empty")]
    pub hand_overs: Vec<HandOvers>,
}

/// The operations that opened the epochs of a job.
#[derive(Serialize, Deserialize)]
pub struct HandOvers {
    job: JobId,
    operations: BTreeSet<Shown>,
}

/// Arbiters that did not know what a term was asked of them for, with its job.
#[derive(Default)]
pub struct Lacking(Mutex<BTreeSet<(NodeId, JobId)>>);

impl Lacking {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<(NodeId, JobId)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The jobs whose hand-overs the receiver of a message may lack.
pub fn jobs(node: &Node, to: NodeId, message: &Message) -> Vec<JobId> {
    match message {
        Message::Confirmation(confirmation) => {
            let handed_over = confirmation.items.iter().filter(|item| matches!(item.answer, Answer::HandedOver { .. }));
            handed_over.map(|item| item.job).take(JOBS_MAX).collect()
        }
        Message::Renewal(renewal) => node.lacking.with(|lacking| {
            let later = renewal.items.iter().filter(|item| item.epoch > Epoch(0));
            later.map(|item| item.job).filter(|job| lacking.remove(&(to, *job))).take(JOBS_MAX).collect()
        }),
    }
}

/// The hand-overs of jobs, as far as this node has them. Reads the storage.
pub fn all(node: &Node, jobs: &[JobId]) -> Vec<HandOvers> {
    jobs.iter().filter_map(|job| hand_overs(node, *job)).collect()
}

fn hand_overs(node: &Node, id: JobId) -> Option<HandOvers> {
    let (job, ledger) = (node.known_job(id)?, node.ledger_of(id)?);
    let mut operations = node.follower.hand_overs.of(id);
    match OpenLedger::open(&node.home(), ledger).map(|open| open.hand_overs(&job)) {
        Ok(Ok(stored)) => operations.extend(stored),
        Ok(Err(error)) => tracing::warn!(job = %id, %error, "cannot read the hand-overs of a job"),
        Err(error) => tracing::warn!(job = %id, %error, "cannot open the ledger of a job"),
    }
    (!operations.is_empty()).then_some(HandOvers { job: id, operations })
}

/// Takes what came with a message: the operations are evaluated where jobs are read, and count by who signed them.
pub fn take(node: &Arc<Node>, from: NodeId, letter: Letter) -> Message {
    for shown in letter.hand_overs.into_iter().take(JOBS_MAX) {
        if let Some(ledger) = node.ledger_of(shown.job) {
            tracing::debug!(job = %shown.job, peer = %from, "a hand-over is shown");
            node.follower.ask(Ask::Shown { ledger, job: shown.job, operations: shown.operations });
        }
    }
    if let Message::Confirmation(confirmation) = &letter.message {
        node.lacking.with(|lacking| {
            for item in &confirmation.items {
                match item.answer {
                    Answer::Unknown => lacking.insert((from, item.job)),
                    _ => lacking.remove(&(from, item.job)),
                };
            }
            if lacking.len() > LACKING_MAX {
                lacking.clear();
            }
        });
    }
    letter.message
}
