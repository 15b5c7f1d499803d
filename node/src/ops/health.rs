//! How the node is.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use cobs::id::RepoId;
use cobs::job::state::Status;

use super::error::{Code, Error};
use super::types::{Addresses, Health, HealthDetail, LedgerStatus, RadicleNode};
use super::{Caller, Scope};
use crate::node::Node;
use crate::replication::Mode;

impl Node {
    /// The bare status for everyone, the rest for those who may read jobs.
    pub async fn health(self: &Arc<Self>, caller: &Caller) -> Health {
        let problems: Vec<String> = {
            let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
            problems.iter().map(|(what, detail)| format!("{what}: {detail}")).collect()
        };
        let status = if problems.is_empty() { "ok" } else { "degraded" }.to_owned();
        if caller.require(Scope::ReadJobs).is_err() {
            return Health { status, detail: None };
        }
        let node = Arc::clone(self);
        let detail = tokio::task::spawn_blocking(move || node.detail(problems)).await.ok();
        Health { status, detail }
    }

    fn detail(&self, problems: Vec<String>) -> HealthDetail {
        let settings = self.state.settings().unwrap_or_default();
        let default = self.default_ledger().ok();
        let ledger = |id: &RepoId| LedgerStatus {
            id: *id,
            default: default == Some(*id),
            present: cobs::adapter::ledger::get(&self.home(), *id).is_ok(),
            jobs: self.counts(*id),
        };
        HealthDetail {
            node: self.id,
            alias: self.own_alias.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            capacity: Some(self.capacity()),
            ledgers: settings.ledgers.iter().map(ledger).collect(),
            peers: self.peer_list(),
            addresses: self.addresses(),
            radicle_node: match self.replication.mode() {
                Mode::Embedded => RadicleNode::Embedded,
                Mode::Attached { is_silent, is_outdated } => RadicleNode::Attached { is_silent, is_outdated },
                Mode::Stopped => RadicleNode::Stopped,
            },
            problems,
        }
    }

    fn counts(&self, ledger: RepoId) -> BTreeMap<Status, u64> {
        self.view.counts(ledger).unwrap_or_default()
    }

    /// Where the node listens.
    pub fn addresses(&self) -> Addresses {
        let link = self.link().map(|link| link.local_addresses().iter().map(ToString::to_string).collect());
        Addresses {
            api: self.api_addresses.get().cloned().unwrap_or_default(),
            link: link.unwrap_or_default(),
            radicle: self.replication.local_addresses().iter().map(ToString::to_string).collect(),
            socket: self.files.api_socket().display().to_string(),
        }
    }

    /// The ledger for what names none.
    ///
    /// # Errors
    /// When this node has none.
    pub fn default_ledger(&self) -> Result<RepoId, Error> {
        if let Some(ledger) = self.config.ledger {
            return Ok(ledger);
        }
        let settings = self.state.settings().unwrap_or_default();
        settings.default_ledger.ok_or_else(|| {
            Error::new(Code::NoLedger, "this node has no ledger")
                .hint("make one with: rhizome init; or join one with: rhizome join LINK")
        })
    }

    /// A ledger that was named, if it is one of this node's.
    ///
    /// # Errors
    /// When it is not.
    pub fn own_ledger(&self, ledger: RepoId) -> Result<RepoId, Error> {
        if self.ledgers().contains(&ledger) {
            return Ok(ledger);
        }
        Err(Error::new(Code::NoLedger, format!("{ledger} is no ledger of this node"))
            .hint("rhizome status lists its ledgers"))
    }

    /// Metrics in Prometheus' text format.
    ///
    /// # Errors
    /// Without the scope.
    pub async fn metrics(self: &Arc<Self>, caller: &Caller) -> Result<String, Error> {
        caller.require(Scope::ReadJobs)?;
        metrics::gauge!("rhizome_slots_used").set(f64::from(self.claims.machine().slots_used()));
        let linked = self.link().map_or(0, |link| link.sessions().len());
        metrics::gauge!("rhizome_peers_linked").set(u32::try_from(linked).map_or(f64::MAX, f64::from));
        Ok(crate::logging::metrics::render())
    }
}
