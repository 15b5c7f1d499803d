//! The node configuration of a home: what a closed network needs, and the few changes made to a home of others.
//!
//! It must not know keys or storage.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use radicle::node::config::{ConnectAddress, DefaultSeedingPolicy, Network, PeerConfig, RateLimit, RateLimits};
use radicle::node::{Address, Alias, NodeId};
use radicle::profile::{Config, Home};
use serde_json::{Value, json};
use thiserror::Error;

/// Messages a second that one peer may send and be sent, once its burst is used up.
const RATE_MESSAGES_PER_SECOND: f64 = 200.0;
/// Messages that one peer may send and be sent in a burst.
const RATE_BURST_MESSAGES: usize = 8192;

/// One change to the configuration of a home, in words a person can agree to.
#[derive(Clone, PartialEq, Debug)]
pub enum ConfigChange {
    /// Dial this peer, and lift its rate limits.
    Connect(ConnectAddress),
    /// No longer dial this peer.
    Disconnect(ConnectAddress),
    /// Raise the rate limits, for a peer that dials us.
    RaiseRateLimits,
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(address) => write!(f, "add {}@{} to node.connect", address.id, address.addr),
            Self::Disconnect(address) => write!(f, "remove {}@{} from node.connect", address.id, address.addr),
            Self::RaiseRateLimits => write!(
                f,
                "raise node.limits.rate to {RATE_MESSAGES_PER_SECOND} messages a second, {RATE_BURST_MESSAGES} at once"
            ),
        }
    }
}

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Radicle cannot load it.
    #[error("cannot load the configuration {path}")]
    Load {
        /// The file.
        path: PathBuf,
        /// Radicle's reason.
        #[source]
        source: radicle::profile::config::LoadError,
    },
    /// It is no Radicle configuration.
    #[error("{path} is no radicle configuration")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be replaced.
    #[error("cannot write the configuration {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The configuration of a home that we create.
pub(super) fn closed_network(alias: Alias, listen: Vec<SocketAddr>) -> Config {
    let mut config = Config::new(alias);
    config.preferred_seeds = Vec::new();
    config.node.network = Network::Test;
    config.node.peers = PeerConfig::Static;
    config.node.listen = listen;
    config.node.seeding_policy = DefaultSeedingPolicy::Block;
    config.node.limits.rate = raised_rate();
    // The default accepts signed references that can be replayed and grafted.
    config.node.fetch =
        serde_json::from_value(json!({ "signedReferences": { "featureLevel": { "minimum": "parent" } } }))
            .expect("this is radicle's own spelling of the option");
    config
}

pub(super) fn load(home: &Home) -> Result<Config, ConfigError> {
    let path = home.config();
    Config::load(&path).map_err(|source| ConfigError::Load { path, source })
}

pub(super) fn save(home: &Home, config: &Config) -> Result<(), ConfigError> {
    let value = serde_json::to_value(config).expect("a configuration has string keys only");
    replace(home, &value)
}

pub(super) fn plan_peer(config: &Config, peer: NodeId, address: Option<Address>) -> Vec<ConfigChange> {
    let Some(address) = address else {
        return if is_raised(&config.node.limits.rate) { vec![] } else { vec![ConfigChange::RaiseRateLimits] };
    };
    let wanted = ConnectAddress::from((peer, address));
    if config.node.connect.contains(&wanted) {
        return vec![];
    }
    // Radicle dials one address per peer: a new one replaces the old.
    let mut changes = plan_removal(config, peer);
    changes.push(ConfigChange::Connect(wanted));
    changes
}

pub(super) fn plan_removal(config: &Config, peer: NodeId) -> Vec<ConfigChange> {
    config.node.connect.iter().filter(|address| address.id == peer).cloned().map(ConfigChange::Disconnect).collect()
}

/// Edits the file as JSON, so that settings unknown to this build of Radicle survive.
pub(super) fn apply(home: &Home, changes: &[ConfigChange]) -> Result<Config, ConfigError> {
    let path = home.config();
    let bytes = std::fs::read(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    let parse = |source| ConfigError::Parse { path: path.clone(), source };
    let mut file: Value = serde_json::from_slice(&bytes).map_err(parse)?;
    let mut config = load(home)?;
    if changes.is_empty() {
        return Ok(config);
    }
    for change in changes {
        match change {
            ConfigChange::Connect(address) => {
                config.node.connect.insert(address.clone());
            }
            ConfigChange::Disconnect(address) => {
                config.node.connect.shift_remove(address);
            }
            ConfigChange::RaiseRateLimits => config.node.limits.rate = raised_rate(),
        }
    }
    let touched: BTreeSet<&[&str]> = changes.iter().map(place).collect();
    let written = serde_json::to_value(&config).map_err(parse)?;
    for place in touched {
        copy(&written, &mut file, place);
    }
    replace(home, &file)?;
    Ok(config)
}

fn place(change: &ConfigChange) -> &'static [&'static str] {
    match change {
        ConfigChange::Connect(_) | ConfigChange::Disconnect(_) => &["node", "connect"],
        ConfigChange::RaiseRateLimits => &["node", "limits", "rate"],
    }
}

fn copy(from: &Value, to: &mut Value, place: &[&str]) {
    let mut source = from;
    let mut target = to;
    for key in place {
        source = &source[*key];
        target = &mut target[*key];
    }
    *target = source.clone();
}

/// A crash leaves either the old file or the new one.
fn replace(home: &Home, value: &Value) -> Result<(), ConfigError> {
    let path = home.config();
    let beside = path.with_extension("json.new");
    let write = || {
        let mut file = std::fs::File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    write().map_err(|source| ConfigError::Write { path: path.clone(), source })
}

fn raised_rate() -> RateLimits {
    let limit = RateLimit { fill_rate: RATE_MESSAGES_PER_SECOND, capacity: RATE_BURST_MESSAGES };
    RateLimits { inbound: limit.into(), outbound: limit.into() }
}

fn is_raised(rate: &RateLimits) -> bool {
    let enough =
        |limit: RateLimit| limit.fill_rate >= RATE_MESSAGES_PER_SECOND && limit.capacity >= RATE_BURST_MESSAGES;
    enough(rate.inbound.into()) && enough(rate.outbound.into())
}
