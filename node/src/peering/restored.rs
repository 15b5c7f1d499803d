//! A home that was restored from a copy: told by its peers, it stops writing, and takes back what they hold of it.
//!
//! What it would sign diverges from what they have, and they would take nothing of it any more. With no peer in reach it
//! cannot know, and writes: what it wrote is kept when it is told later.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use cobs::adapter::writer::{Draft, WriteError};
use cobs::adapter::{repository, restored};
use cobs::id::{JobId, NodeId, Oid, RepoId};
use scheduler::machine::Origin;

use super::{Refusal, ask, before, peer};
use crate::clock::unix_now;
use crate::link::{Caller as LinkCaller, LinkEvent};
use crate::node::Node;
use crate::ops::Caller;
use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;
use crate::ops::submit::write_error;
use crate::ops::types::Recovered;
use crate::store::peers::Standing;
use crate::store::settings::Settings;

/// How long a start waits for the first peer to say what it holds of this node.
const FIRST_WORD: Duration = Duration::from_millis(1_500);
/// How long fetching the peer's own operations may take.
const LEDGER_FETCH: Duration = Duration::from_secs(60);
/// Most bytes that are taken back of one ledger.
const BUNDLE_BYTES_MAX: u64 = 8 << 30;
/// The name of what `/health` shows.
const PROBLEM: &str = "restored home";

/// What a node holds of the one that asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Held {
    /// The signature over its references; none when it holds nothing.
    at: Option<String>,
}

/// What a peer may ask about itself.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/ledgers/{ledger}/yours", get(held)).route("/ledgers/{ledger}/yours/bundle", get(bundle))
}

fn ledger(node: &Node, urn: &str) -> Result<RepoId, Error> {
    let ledger = RepoId::from_urn(urn).map_err(|_| Error::new(Code::BadRequest, "it is no ledger's id"))?;
    node.own_ledger(ledger)
}

async fn held(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<LinkCaller>,
    Path(urn): Path<String>,
) -> Result<Json<Held>, Refusal> {
    let (from, ledger) = (peer(caller)?, ledger(&node, &urn)?);
    let at = blocking(move || {
        let repository = repository::open(&node.home(), ledger).map_err(|error| storage(&error))?;
        restored::signed_at(&repository, &from).map_err(|error| storage(&error))
    });
    Ok(Json(Held { at: at.await?.map(|at| at.to_string()) }))
}

async fn bundle(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<LinkCaller>,
    Path(urn): Path<String>,
) -> Result<Response, Refusal> {
    let (from, ledger) = (peer(caller)?, ledger(&node, &urn)?);
    let file = blocking(move || {
        let path = node.files.rhizome().join(format!("bundle-{from}"));
        let packed = node.replication.pack_namespace(ledger, from, &path).map_err(|error| storage(&error));
        let opened = packed.and_then(|()| std::fs::File::open(&path).map_err(|error| storage(&error)));
        // whoever has it open reads it to its end
        std::fs::remove_file(&path).ok();
        opened
    });
    let file = tokio::fs::File::from_std(file.await?);
    Ok(Body::from_stream(ReaderStream::with_capacity(file, 256 << 10)).into_response())
}

/// Before the first write: waits until a peer has said what it holds of this node, for a moment at most.
pub async fn before_writing(node: &Arc<Node>) {
    let Some(link) = node.link().cloned() else { return };
    let mut events = link.subscribe();
    node.peers_changed();
    if !node.peer_map().values().any(|peer| peer.standing == Standing::Approved) {
        return;
    }
    let told = async {
        while let Ok(event) = events.recv().await {
            if let LinkEvent::Connected { node: peer } = event
                && check(node, peer).await
            {
                return;
            }
        }
    };
    if tokio::time::timeout(FIRST_WORD, told).await.is_err() {
        tracing::info!("no peer is in reach that could say whether this home is its newest copy");
    }
}

/// Asks a peer what it holds of this node, and stops writing where that is newer. Whether the peer said anything.
pub async fn check(node: &Arc<Node>, peer: NodeId) -> bool {
    let mut answered = false;
    for ledger in node.ledgers() {
        match behind(node, peer, ledger).await {
            Ok(behind) => {
                answered = true;
                if behind.is_some() {
                    close(node, peer, ledger);
                }
            }
            Err(error) => tracing::debug!(%peer, %ledger, %error, "the peer does not say what it holds of this node"),
        }
    }
    answered
}

/// The signature that a peer holds of this node, where this home does not have it.
async fn behind(node: &Arc<Node>, peer: NodeId, ledger: RepoId) -> Result<Option<Oid>, Error> {
    let response = ask(node, peer, &format!("/ledgers/{}/yours", ledger.urn())).await?;
    let bytes = axum::body::to_bytes(response.into_body(), super::MESSAGE_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| Error::new(Code::PeerUnreachable, error.to_string()))?;
    let held: Held = serde_json::from_slice(&bytes).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let Some(at) = held.at.and_then(|at| at.parse::<Oid>().ok()) else { return Ok(None) };
    let node = Arc::clone(node);
    blocking(move || {
        let repository = repository::open(&node.home(), ledger).map_err(|error| storage(&error))?;
        let behind = restored::is_behind(&repository, &node.id, at).map_err(|error| storage(&error))?;
        Ok(behind.then_some(at))
    })
    .await
}

fn close(node: &Node, peer: NodeId, ledger: RepoId) {
    if node.writer.is_closed(&ledger) {
        return;
    }
    node.writer.close(ledger);
    let words =
        format!("{}; take it back from {} with: rhizome recover", WriteError::Behind(ledger), node.alias(&peer));
    tracing::error!(%ledger, %peer, "this home was restored from a copy: nothing more is written to the ledger");
    node.problem(PROBLEM, Some(words));
}

impl Node {
    /// Refuses what would be signed for a ledger of which a peer holds more of this node than this home does.
    pub(crate) fn may_sign(&self, ledger: RepoId) -> Result<(), Error> {
        if self.writer.is_closed(&ledger) { Err(write_error(&WriteError::Behind(ledger))) } else { Ok(()) }
    }

    /// Whether this node may have begun a run of a job, and lost its record with the state: a token starts at most once.
    pub(crate) fn may_have_begun(&self, job: JobId) -> bool {
        let row = match self.view.job(job) {
            Ok(Some(stored)) => stored.row,
            Ok(None) => return false,
            // what cannot be read may be the worse of the two
            Err(_) => return true,
        };
        let Ok(settings) = self.state.settings() else { return true };
        let recovered = settings.recovered;
        self.writer.is_closed(&row.ledger) || recovered.get(&row.ledger).is_some_and(|at| row.created <= *at)
    }

    /// Takes back from the linked peers what they hold of this node and this home has lost, and writes again.
    ///
    /// # Errors
    /// When no peer is linked that has it, or it cannot be taken over. What was taken until then stays.
    pub async fn recover(self: &Arc<Self>, caller: &Caller) -> Result<Recovered, Error> {
        caller.require_owner()?;
        let peers: Vec<NodeId> =
            self.link().map(|link| link.sessions().iter().map(|session| session.node).collect()).unwrap_or_default();
        let mut taken = BTreeMap::new();
        for ledger in self.ledgers() {
            for peer in &peers {
                let Ok(Some(head)) = behind(self, *peer, ledger).await else { continue };
                close(self, *peer, ledger);
                self.take_back(ledger, *peer, head).await?;
                taken.insert(ledger, self.alias(peer));
            }
        }
        if let Some(closed) = self.ledgers().into_iter().find(|ledger| self.writer.is_closed(ledger)) {
            return Err(Error::new(
                Code::PeerUnreachable,
                format!("no peer is linked that holds more of this node in {closed}"),
            )
            .hint("bring a peer up that has seen this node's last operations, and see: rhizome peers"));
        }
        self.problem(PROBLEM, None);
        Ok(Recovered { ledgers: taken })
    }

    async fn take_back(self: &Arc<Self>, ledger: RepoId, peer: NodeId, head: Oid) -> Result<(), Error> {
        let path = self.files.rhizome().join("taken-back");
        let brought = bring(self, peer, ledger, &path).await;
        let node = Arc::clone(self);
        let taken = blocking(move || {
            brought?;
            node.replication.unpack(ledger, &path).map_err(|error| storage(&error))?;
            std::fs::remove_file(&path).ok();
            let recovered = |settings: &mut Settings| {
                settings.recovered.insert(ledger, unix_now());
            };
            node.state.update_settings(recovered).map_err(|error| storage(&error))?;
            node.writer.write(Draft::Recover { ledger, head }).map_err(|error| write_error(&error))?;
            tracing::info!(%ledger, %peer, "what the peer held of this node is here again");
            // what others wrote since the copy was made is lost as well, and nobody announces it again
            if let Err(error) = node.replication.fetch(ledger, peer, LEDGER_FETCH) {
                tracing::info!(%ledger, %peer, %error, "the peer's own operations come with its next session");
            }
            // what this node confirmed or began since the copy was made it does not know any more
            node.scan(ledger, Origin::Start);
            node.publish_record(ledger);
            Ok(())
        });
        taken.await
    }
}

async fn bring(node: &Node, peer: NodeId, ledger: RepoId, path: &FilePath) -> Result<(), Error> {
    let response = ask(node, peer, &format!("/ledgers/{}/yours/bundle", ledger.urn())).await?;
    let mut file = tokio::fs::File::create(path).await.map_err(|error| storage(&error))?;
    let mut body = response.into_body().into_data_stream();
    let mut taken: u64 = 0;
    while let Some(bytes) = before(body.next()).await? {
        let bytes = bytes.map_err(|error| Error::new(Code::PeerUnreachable, error.to_string()))?;
        taken = taken.saturating_add(bytes.len() as u64);
        if taken > BUNDLE_BYTES_MAX {
            return Err(Error::new(Code::TooLarge, format!("the peer sends more than {BUNDLE_BYTES_MAX} bytes")));
        }
        file.write_all(&bytes).await.map_err(|error| storage(&error))?;
    }
    file.flush().await.map_err(|error| storage(&error))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::new(Code::Internal, error.to_string()))?
}
