//! Since when a peer cannot be reached, and why, in words for people.

use std::collections::BTreeSet;

use cobs::id::NodeId;

use crate::clock::{rfc3339, unix_now};
use crate::node::Node;
use crate::runs::chain;
use crate::store::UnixMs;
use crate::whereabouts::{Away, Way};

impl Node {
    /// Peers whose direct link is up.
    pub(super) fn linked(&self) -> BTreeSet<NodeId> {
        self.link().map(|link| link.sessions().iter().map(|session| session.node).collect()).unwrap_or_default()
    }

    /// Since when the direct link with a peer is down; none when it is up.
    pub(super) fn unlinked(&self, peer: NodeId) -> Option<Away> {
        if self.linked().contains(&peer) {
            return None;
        }
        let trouble = self.link().and_then(|link| link.trouble(&peer)).map(|error| chain(&*error));
        Some(self.away(Way::Link, peer, trouble))
    }

    /// Since when the Radicle nodes are not connected; none when they are.
    pub(super) fn unreplicated(&self, peer: NodeId) -> Option<Away> {
        (!self.replication.is_connected(peer)).then(|| self.away(Way::Radicle, peer, None))
    }

    fn away(&self, way: Way, peer: NodeId, trouble: Option<String>) -> Away {
        match self.whereabouts.away(way, peer) {
            Some(away) => Away { reason: trouble.unwrap_or(away.reason), ..away },
            None => {
                let up_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let since = UnixMs(unix_now().0.saturating_sub(up_ms));
                let reason = trouble.unwrap_or_else(|| "it has not come since this daemon started".into());
                Away { since, reason }
            }
        }
    }
}

/// That a way to a peer is down, in words.
pub(super) fn down(way: Way, away: &Away) -> String {
    let what = match way {
        Way::Link => "not linked",
        Way::Radicle => "its radicle node is not connected",
    };
    format!("{what} since {}: {}", rfc3339(away.since), away.reason)
}
