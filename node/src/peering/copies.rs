//! What a peer holds of a ledger and of a job, and how far its daemon has read it: asked and answered over the link. A
//! member of the ledger is told, since it may fetch the same from us; nobody else is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use cobs::adapter::open::OpenLedger;
use cobs::adapter::reader::ReadError;
use cobs::adapter::{ledger, repository, signed};
use cobs::digest::Digest;
use cobs::id::{JobId, NodeId, Oid, RepoId, Seq, Token};
use cobs::job::spec::Privacy;
use cobs::job::state::Job;

use super::{Caller, Refusal, blob_path, may_read, peer};
use crate::clock::unix_now;
use crate::node::Node;
use crate::ops::error::{Code, Error};
use crate::runs::chain;
use crate::whereabouts::Said;

/// How long an answer may take; the peer may fetch from us before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long that fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 512 << 10;
/// Tips of one namespace that are told; more come about only by a fault.
const TIPS_MAX: usize = 8;
/// Most characters of a peer's words that are shown.
const WORDS_CHARS_MAX: usize = 300;
/// Most parts of a job that are told of.
const PARTS_MAX: usize = 512;

/// How far are you?
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// In this ledger.
    pub ledger: RepoId,
    /// With this job.
    #[serde(default)]
    pub job: Option<JobId>,
    /// The commit of the asker's signed references: one that is not held is fetched before the answer.
    #[serde(default)]
    pub at: Option<Oid>,
}

/// So far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The commit of the asker's signed references that is held.
    #[serde(default)]
    pub held: Option<Oid>,
    /// The one up to which they were read.
    #[serde(default)]
    pub read: Option<Oid>,
    /// Whether the ledger is replicated there at all.
    pub seeded: bool,
    /// Why the fetch from the asker failed.
    #[serde(default)]
    pub fetch_failed: Option<String>,
    /// What is held of the job.
    #[serde(default)]
    pub job: Option<JobCopy>,
}

/// What a node holds of a job.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobCopy {
    /// Where its operations stand, by namespace.
    pub tips: BTreeMap<NodeId, BTreeSet<Oid>>,
    /// The highest number of each author that its daemon has evaluated.
    pub seen: BTreeMap<NodeId, Seq>,
    /// Why the job cannot be evaluated there.
    #[serde(default)]
    pub unreadable: Option<String>,
    /// What it has besides the operations.
    pub parts: BTreeSet<Part>,
    /// Why it does not tell which parts it has.
    #[serde(default)]
    pub refuses: Option<String>,
}

/// What a job has besides its operations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Part {
    /// The commit of its source.
    Source,
    /// An input.
    Input {
        /// Its content.
        digest: Digest,
    },
    /// The log of a run.
    Log {
        /// Of which.
        token: Token,
    },
    /// The list of what a run left.
    Artifacts {
        /// Of which.
        token: Token,
    },
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// An answer.
    Answer(Box<Answer>),
    /// The peer does not tell, and says why.
    Refused(String),
    /// Nothing came.
    Silent(String),
}

/// Answers a peer.
pub(super) async fn copies(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(question): Json<Question>,
) -> Result<Json<Answer>, Refusal> {
    let from = peer(caller)?;
    let busy = || Error::new(Code::Busy, "too many ask at once").retry_after_ms(500);
    let worker = Arc::clone(&node);
    let _place = node.whereabouts.answers.try_acquire().map_err(|_| busy())?;
    let answer = tokio::task::spawn_blocking(move || answer(&worker, from, &question)).await;
    Ok(Json(answer.map_err(|error| Error::new(Code::Internal, error.to_string()))??))
}

fn answer(node: &Arc<Node>, from: NodeId, question: &Question) -> Result<Answer, Error> {
    let Question { ledger, job, at } = *question;
    if !node.ledgers().contains(&ledger) {
        return Err(Error::new(Code::NotFound, format!("{} has no part in the ledger", node.own_alias)));
    }
    let home = node.home();
    let not_here = || Error::new(Code::NotFound, format!("{} has not fetched the ledger yet", node.own_alias));
    let repository = repository::open(&home, ledger).map_err(|_| not_here())?;
    let members = ledger::members(&repository).map_err(|error| Error::new(Code::Storage, chain(&error)))?;
    if !members.contains(&from) {
        let words = format!("as {} has the ledger, {} is no member of it", node.own_alias, node.alias(&from));
        return Err(Error::new(Code::Forbidden, words));
    }
    let mut held = signed::head(&repository, &from).map_err(storage)?;
    let mut fetch_failed = None;
    if at.is_some() && at != held && node.whereabouts.may_fetch(from, ledger, Instant::now()) {
        fetch_failed = node.replication.fetch(ledger, from, FETCH_TIMEOUT).err().map(|error| chain(&error));
        held = signed::head(&repository, &from).map_err(storage)?;
    }
    Ok(Answer {
        held,
        read: node.whereabouts.read_of(from).get(&ledger).copied(),
        seeded: node.replication.seeds(ledger).unwrap_or(false),
        fetch_failed: fetch_failed.filter(|_| held != at),
        job: job.map(|job| copy(node, ledger, from, job)),
    })
}

fn storage(error: impl std::error::Error) -> Error {
    Error::new(Code::Storage, error.to_string())
}

/// What this node holds of a job, as `asker` may know it.
fn copy(node: &Arc<Node>, ledger: RepoId, asker: NodeId, id: JobId) -> JobCopy {
    let mut copy = JobCopy::default();
    match OpenLedger::open(&node.home(), ledger).map(|open| open.read(id)) {
        Ok(Ok((read, _))) => {
            copy.tips = read.reading.tips;
            copy.tips.values_mut().for_each(|tips| *tips = tips.iter().copied().take(TIPS_MAX).collect());
        }
        Ok(Err(ReadError::NotFound(_))) => return copy,
        Ok(Err(error)) => copy.unreadable = Some(chain(&error)),
        Err(error) => copy.unreadable = Some(chain(&error)),
    }
    let Some(job) = node.known_job(id) else { return copy };
    copy.seen = job.last_seq.clone();
    match may_read(node, asker, &job) {
        Ok(()) => copy.parts = parts(node, &job),
        Err(error) => copy.refuses = Some(error.detail),
    }
    copy
}

/// All that a job has besides its operations, as far as it is known here.
pub fn all_parts(job: &Job) -> Vec<Part> {
    let spec = &job.create.spec;
    let source = spec.source.map(|_| Part::Source);
    let inputs = spec.inputs.iter().map(|input| Part::Input { digest: input.digest });
    let left = job.dones.iter().flat_map(|(token, report)| {
        let log = report.digests.log.map(|_| Part::Log { token: *token });
        log.into_iter().chain(report.digests.artifacts.map(|_| Part::Artifacts { token: *token }))
    });
    source.into_iter().chain(inputs).chain(left).take(PARTS_MAX).collect()
}

/// Those of them that this node has.
pub fn parts(node: &Node, job: &Job) -> BTreeSet<Part> {
    let has = |part: &Part| match *part {
        Part::Source => job.create.spec.source.is_some_and(|source| {
            crate::replication::source::has_commit(&node.home(), source.repo, source.commit).unwrap_or(false)
        }),
        Part::Input { digest } => node.blobs.has(digest),
        Part::Log { token } => {
            let ran = node.runs.get(job.id, token).is_some_and(|active| active.finished.is_some());
            ran || crate::collect::log_copy(node, job.id, token).exists()
        }
        Part::Artifacts { token } => {
            let list = job.dones.get(&token).and_then(|report| report.digests.artifacts);
            list.is_some_and(|list| blob_path(node, job, list.digest).is_some())
        }
    };
    all_parts(job).into_iter().filter(has).collect()
}

/// Whether anybody but the author's node may have more of a job than its operations.
pub fn travels(job: &Job) -> bool {
    job.create.spec.privacy != Privacy::Private
}

/// Asks all linked peers of a set at once, and remembers what they say.
pub async fn ask_all(node: &Arc<Node>, peers: &BTreeSet<NodeId>, question: &Question) -> BTreeMap<NodeId, Told> {
    let Some(link) = node.link() else { return BTreeMap::new() };
    let linked = link.sessions().into_iter().map(|session| session.node).filter(|peer| peers.contains(peer));
    let asked = linked.map(async |peer| (peer, ask(node, peer, question).await));
    futures::future::join_all(asked).await.into_iter().collect()
}

async fn ask(node: &Arc<Node>, to: NodeId, question: &Question) -> Told {
    match answered(node, to, question).await {
        Ok(mut answer) => {
            let words = answer.job.as_mut().map(|job| [&mut job.unreadable, &mut job.refuses]);
            for told in words.into_iter().flatten().chain([&mut answer.fetch_failed]) {
                *told = told.take().map(short);
            }
            let now = unix_now();
            let Answer { held, read, .. } = answer;
            node.whereabouts.hear(to, question.ledger, Said { at: now, held, read });
            if let (Some(job), Some(copy)) = (question.job, &answer.job) {
                node.whereabouts.hear_of(to, job, copy.clone(), now);
            }
            Told::Answer(Box::new(answer))
        }
        Err(error) if matches!(error.code, Code::PeerUnreachable | Code::Busy | Code::Internal | Code::Storage) => {
            Told::Silent(short(error.detail))
        }
        Err(error) => Told::Refused(short(error.detail)),
    }
}

/// A peer's words, cut to a length that fits a line.
fn short(words: String) -> String {
    words.chars().take(WORDS_CHARS_MAX).collect()
}

async fn answered(node: &Arc<Node>, to: NodeId, question: &Question) -> Result<Answer, Error> {
    let unreachable = |why: String| Error::new(Code::PeerUnreachable, why);
    let link = node.link().ok_or_else(|| unreachable("the direct link is not up".into()))?;
    let body = serde_json::to_vec(question).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let request = Request::post("/copies").header("content-type", "application/json").body(Body::from(body));
    let request = request.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let whole = async {
        let response = link.request(&to, request, ANSWER_TIMEOUT).await.map_err(|error| unreachable(chain(&error)))?;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| unreachable(error.to_string()))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| unreachable(format!("its answer is odd: {error}")));
        }
        // an older daemon does not know the question
        let told = serde_json::from_slice(&bytes);
        Err(told.unwrap_or_else(|_| unreachable(format!("it does not understand the question ({status})"))))
    };
    let late = |_| unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
    tokio::time::timeout(ANSWER_TIMEOUT, whole).await.map_err(late)?
}
