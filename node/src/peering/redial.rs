//! Radicle's sessions beside the direct link: a peer whose Radicle waits before it dials again asks to be dialled instead.
//!
//! Radicle waits twice as long after each attempt, up to an hour, forgets it only after a minute of being connected, and
//! cannot be told to try now. A peer that has just started has no session that it would wait with; it may not know the
//! other's address yet.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use cobs::id::NodeId;

use super::{MESSAGE_TIMEOUT, Refusal, peer};
use crate::link::Caller;
use crate::node::Node;
use crate::replication::SessionStatus;

/// Where the asking node's Radicle listens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Waiting {
    addresses: Vec<String>,
}

/// What a peer may ask.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new().route("/redial", post(redial))
}

/// Asks a peer to dial this node's Radicle where this one does not dial itself.
pub async fn ask(node: &Arc<Node>, to: NodeId) {
    let looker = Arc::clone(node);
    let look = move || {
        let waits = match status(&looker, to) {
            Some(SessionStatus::Connected | SessionStatus::Connecting) => false,
            Some(SessionStatus::Disconnected) => true,
            // were both to dial, Radicle would close one connection, or both
            None => looker.id > to,
        };
        waits.then(|| looker.radicle_addresses()).filter(|addresses| !addresses.is_empty())
    };
    let Ok(Some(addresses)) = tokio::task::spawn_blocking(look).await else { return };
    let Some(link) = node.link() else { return };
    let Ok(body) = serde_json::to_vec(&Waiting { addresses }) else { return };
    let request = Request::post("/redial").header("content-type", "application/json").body(Body::from(body));
    let Ok(request) = request else { return };
    if let Err(error) = link.request(&to, request, MESSAGE_TIMEOUT).await {
        tracing::debug!(peer = %to, %error, "not asked to be dialled");
    }
}

async fn redial(
    State(node): State<Arc<Node>>,
    Extension(caller): Extension<Caller>,
    Json(waiting): Json<Waiting>,
) -> Result<StatusCode, Refusal> {
    let from = peer(caller)?;
    node.block(move |node| {
        // a session that is there is dialled by Radicle or waits, and stays at the address it has
        if status(node, from).is_some() {
            return;
        }
        let Some(address) = waiting.addresses.first() else { return };
        match node.replication.redial_peer(from, address) {
            Ok(reach) => tracing::info!(peer = %from, address, ?reach, "dialled a peer that asked for it"),
            Err(error) => tracing::warn!(peer = %from, address, %error, "a peer that asked for it is not dialled"),
        }
    });
    Ok(StatusCode::NO_CONTENT)
}

/// How the session with a peer stands; none where there is no session.
fn status(node: &Node, peer: NodeId) -> Option<SessionStatus> {
    let sessions = node.replication.sessions().ok()?;
    sessions.iter().find(|session| session.peer == peer).map(|session| session.status)
}
