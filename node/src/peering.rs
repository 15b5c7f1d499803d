//! What nodes say to each other over the direct link: leases, capacity, logs, blobs. Each request comes from a peer
//! whose key was proved; what it may have is this node's policy and the job's privacy.

pub mod copies;
pub mod redial;
pub mod restored;
pub mod shown;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio_util::io::ReaderStream;

use cobs::digest::{Blob, Digest};
use cobs::id::{JobId, NodeId, Oid, RepoId, Token};
use cobs::job::spec::Privacy;
use cobs::job::state::Job;
use scheduler::capacity::Capacity;
use scheduler::machine::Event;
use scheduler::machine::wire::Message;

use crate::clock::unix_now;
use crate::link::{Caller, Urgent};
use crate::node::Node;
use crate::ops::Follow;
use crate::ops::error::{Code, Error};
use crate::store::peers::Grant;
use crate::whereabouts::{LEDGERS_MAX, Said};

/// Most bytes of a message between machines.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// How long a message may take; a lost one is sent again by the machine.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of an answer with content may take.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(15);
/// Most pieces of a blob that are written in one go.
const WRITE_CHUNKS_MAX: usize = 32;
/// The longest pause in content that is there already.
const CONTENT_IDLE: Duration = Duration::from_secs(30);
/// After a change of this node's capacity, before it is told: changes come in bursts.
pub const CAPACITY_PAUSE: Duration = Duration::from_millis(20);
/// Between two tellings of this node's capacity.
pub const CAPACITY_PERIOD: Duration = Duration::from_secs(5);

/// What a node tells a peer of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Offer {
    capacity: Capacity,
    /// Whether the peer's jobs may run here.
    admits: bool,
    /// How far its daemon has read the peer's own references: for when it is away.
    #[serde(default)]
    read: Vec<(RepoId, Oid)>,
}

/// Which part of which run's log.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LogQuery {
    /// The token's epoch.
    pub epoch: u32,
    /// The token's term.
    pub term: u32,
    /// From this byte of the log.
    #[serde(default)]
    pub from: u64,
    /// Whether to wait for more until the run ends.
    #[serde(default)]
    pub follow: bool,
}

/// What peers may ask.
pub fn router(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/machine", post(machine))
        .route("/capacity", post(capacity))
        .route("/copies", post(copies::copies))
        .route("/jobs/{id}/log", get(log))
        .route("/jobs/{id}/blobs/{digest}", get(blob))
        .merge(redial::routes())
        .merge(restored::routes())
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .with_state(Arc::clone(node))
}

fn peer(caller: Caller) -> Result<NodeId, Error> {
    match caller {
        Caller::Peer { node, .. } => Ok(node),
        Caller::Stranger { .. } => Err(Error::new(Code::Forbidden, "strangers may only pair")),
    }
}

async fn machine(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(letter): Json<shown::Letter>,
) -> Result<StatusCode, Refusal> {
    let from = peer(caller)?;
    // the machine's queue may be full for a moment, which must not hold up the link's tasks
    let take = move || {
        let message = shown::take(&node, from, letter);
        node.claims.send(Event::Message { from, message });
    };
    tokio::task::spawn_blocking(take).await.ok();
    Ok(StatusCode::NO_CONTENT)
}

async fn capacity(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(offer): Json<Offer>,
) -> Result<StatusCode, Refusal> {
    let from = peer(caller)?;
    if offer.capacity.node != from {
        return Err(Error::new(Code::BadRequest, "the capacity is of another node").into());
    }
    node.peer_offers(from, offer.capacity, offer.admits);
    for (ledger, read) in offer.read.into_iter().take(LEDGERS_MAX) {
        node.whereabouts.hear(from, ledger, Said { at: unix_now(), held: None, read: Some(read) });
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A peer reads what a job left when it has a part in the job, or may read here; nothing of a private job.
fn may_read(node: &Node, from: NodeId, job: &Job) -> Result<(), Error> {
    if job.create.spec.privacy == Privacy::Private {
        return Err(Error::new(Code::Forbidden, "the job is private to its author's node"));
    }
    if job.named().contains(&from) || node.grants(&from).contains(&Grant::Read) {
        return Ok(());
    }
    Err(Error::new(Code::Forbidden, "the peer may not read here")
        .hint("its operator can ask for: peers grant PEER read"))
}

async fn log(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<JobId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Refusal> {
    let (job, follow) = match query.follow {
        true => (crate::ops::logs::arrived(&node, id).await, Follow::Yes),
        false => (node.known_job(id), Follow::No),
    };
    let job = job.ok_or_else(|| Error::new(Code::NotFound, "there is no such job here"))?;
    may_read(&node, peer(caller)?, &job)?;
    let token = Token::new(query.epoch, query.term);
    let pieces = crate::ops::logs::local(&node, id, token, query.from, follow).await?;
    let lines = pieces.map(|piece| {
        let mut line = serde_json::to_vec(&piece.map_err(std::io::Error::other)?)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(line)
    });
    Ok(([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn blob(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Path((id, digest)): Path<(JobId, Digest)>,
) -> Result<Response, Refusal> {
    let job = node.known_job(id).ok_or_else(|| Error::new(Code::NotFound, "there is no such job here"))?;
    may_read(&node, peer(caller)?, &job)?;
    let path = blob_path(&node, &job, digest)
        .ok_or_else(|| Error::new(Code::Gone, "the blob is not here, or not any more"))?;
    let file = tokio::fs::File::open(path).await.map_err(|error| Error::new(Code::Storage, error.to_string()))?;
    let length = file.metadata().await.map(|meta| meta.len()).unwrap_or_default();
    let body = Body::from_stream(ReaderStream::with_capacity(file, 256 << 10));
    Ok(([("content-length", length.to_string())], body).into_response())
}

/// A blob that belongs to a job: an artifact of a run here, or an input or copy in the store. Not any blob by its
/// digest alone: who may read one job must not read another's inputs.
fn blob_path(node: &Node, job: &Job, digest: Digest) -> Option<PathBuf> {
    if let Some(path) = crate::runs::prepare::artifact_path(node, job.id, digest) {
        return Some(path);
    }
    let input = job.create.spec.inputs.iter().any(|input| input.digest == digest);
    (input || crate::collect::belongs(node, job, digest)).then(|| node.blobs.path(digest)).filter(|path| path.is_file())
}

/// Sends a message now or never.
pub fn send(node: &Arc<Node>, to: NodeId, message: Message) {
    let Some(link) = node.link().cloned() else { return };
    let (sender, jobs) = (Arc::clone(node), shown::jobs(node, to, &message));
    node.runtime.spawn(async move {
        let mut hand_overs = Vec::new();
        if !jobs.is_empty() {
            let read = tokio::task::spawn_blocking(move || shown::all(&sender, &jobs));
            hand_overs = read.await.unwrap_or_default();
        }
        let letter = shown::Letter { message, hand_overs };
        let Ok(body) = serde_json::to_vec(&letter) else { return };
        let request = Request::post("/machine").header("content-type", "application/json").extension(Urgent);
        let Ok(request) = request.body(Body::from(body)) else { return };
        if let Err(error) = link.request(&to, request, MESSAGE_TIMEOUT).await {
            tracing::debug!(peer = %to, %error, "message not sent");
        }
    });
}

/// Tells every connected peer what this node offers, or one of them.
pub async fn tell_capacity(node: &Arc<Node>, only: Option<NodeId>) {
    let sampler = Arc::clone(node);
    let sample = tokio::task::spawn_blocking(move || {
        let capacity = sampler.capacity();
        sampler.claims.send(Event::Capacity(Box::new(capacity.clone())));
        capacity
    });
    let Ok(capacity) = sample.await else { return };
    let Some(link) = node.link() else { return };
    for session in link.sessions() {
        if only.is_some_and(|only| only != session.node) {
            continue;
        }
        let admits = node.grants(&session.node).contains(&Grant::Submit);
        let read = node.whereabouts.read_of(session.node).into_iter().take(LEDGERS_MAX).collect();
        let offer = Offer { capacity: capacity.clone(), admits, read };
        let Ok(body) = serde_json::to_vec(&offer) else { continue };
        let request = Request::post("/capacity").header("content-type", "application/json").extension(Urgent);
        let Ok(request) = request.body(Body::from(body)) else { continue };
        if let Err(error) = link.request(&session.node, request, MESSAGE_TIMEOUT).await {
            tracing::debug!(peer = %session.node, %error, "capacity not told");
        }
    }
}

/// Asks a peer for something that belongs to a job.
pub async fn ask(node: &Node, from: NodeId, path: &str) -> Result<Response, Error> {
    let link = node.link().ok_or_else(|| Error::new(Code::PeerUnreachable, "the direct link is not up"))?;
    let request = Request::get(path).body(Body::empty());
    let request = request.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let response = link.request(&from, request, CONTENT_TIMEOUT).await.map_err(|error| {
        Error::new(Code::PeerUnreachable, format!("{} cannot be reached: {error}", node.alias(&from)))
            .hint("it is fetched when the peer is connected again; see: rhizome peers")
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let bytes = axum::body::to_bytes(response.into_body(), MESSAGE_BYTES_MAX).await.unwrap_or_default();
    Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| Error::new(Code::Gone, "the peer does not have it")))
}

/// Waits for the next piece of what a peer sends, but not for ever: a silent one would hold its place in the queue.
pub async fn before<T>(next: impl Future<Output = T>) -> Result<T, Error> {
    let silent = |_| {
        Error::new(Code::PeerUnreachable, format!("the peer sent nothing for {} s", CONTENT_IDLE.as_secs()))
            .hint("it is fetched when the peer is connected again; see: rhizome peers")
    };
    tokio::time::timeout(CONTENT_IDLE, next).await.map_err(silent)
}

/// Copies a blob of an own job from a peer into this node's store, for good.
pub async fn fetch(node: &Arc<Node>, from: NodeId, job: JobId, blob: Blob) -> Result<(), Error> {
    if own(node, blob.digest).await? {
        return Ok(());
    }
    copy(node, from, job, blob).await
}

async fn own(node: &Arc<Node>, digest: Digest) -> Result<bool, Error> {
    let blobs = node.blobs.clone();
    let owned = tokio::task::spawn_blocking(move || blobs.own(digest)).await;
    let owned = owned.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    owned.map_err(|error| Error::new(Code::Storage, error.to_string()))
}

/// Copies a blob of a job from a peer, checked by its digest.
async fn copy(node: &Arc<Node>, from: NodeId, job: JobId, blob: Blob) -> Result<(), Error> {
    let storage = |error: crate::blobs::BlobError| Error::new(Code::Storage, crate::runs::chain(&error));
    let response = ask(node, from, &format!("/jobs/{job}/blobs/{}", blob.digest)).await?;
    let mut writer = node.blobs.writer().map_err(storage)?;
    // the link's frames are small, and each hop to a thread that may block costs more than hashing one of them
    let mut body = response.into_body().into_data_stream().ready_chunks(WRITE_CHUNKS_MAX);
    let mut got_bytes: u64 = 0;
    while let Some(chunks) = before(body.next()).await? {
        let chunks: Result<Vec<_>, _> = chunks.into_iter().collect();
        let chunks = chunks.map_err(|error| Error::new(Code::PeerUnreachable, error.to_string()))?;
        got_bytes = got_bytes.saturating_add(chunks.iter().map(|bytes| bytes.len() as u64).sum());
        if got_bytes > blob.size {
            return Err(Error::new(
                Code::PeerUnreachable,
                format!("{} sent more than the {} bytes of {}", node.alias(&from), blob.size, blob.digest),
            ));
        }
        let write = move || chunks.iter().try_for_each(|bytes| writer.write(bytes)).map(|()| writer);
        writer = tokio::task::spawn_blocking(write)
            .await
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?
            .map_err(storage)?;
    }
    let finished = tokio::task::spawn_blocking(move || writer.finish(Some(blob.digest))).await;
    finished.map_err(|error| Error::new(Code::Internal, error.to_string()))?.map_err(storage)?;
    Ok(())
}

/// An input of a job that runs here, from its author; kept no longer than the run. Blocks.
pub fn obtain(node: &Arc<Node>, from: NodeId, job: JobId, blob: Blob) -> Result<(), Error> {
    if node.blobs.has(blob.digest) {
        return Ok(());
    }
    if from == node.id {
        return Err(Error::new(Code::Gone, "it is not in this node's store any more"));
    }
    node.runtime.block_on(copy(node, from, job, blob))
}

/// An error as a peer is told it.
pub struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, _) = crate::api::problem::meaning(self.0.code);
        (status, Json(self.0)).into_response()
    }
}
