//! Which provider is asked, in which order, and why the others are not. Pure: what is known of providers, and the time, are
//! arguments; nothing is asked here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::failure::Kind;

mod decide;
mod plan;
#[cfg(test)]
mod tests;

pub use decide::decide;
pub use plan::{ChosenBy, PassedOver, Plan, Reason, Step};

/// What stands for any peer where a provider is named.
pub const ANY_PEER: &str = "peer";

/// Where what is sent to a provider goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// It stays on this machine.
    Local,
    /// To a peer, over the direct link.
    Peer,
    /// Anywhere else.
    Cloud,
}

/// What a model is wanted for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Conversation.
    Chat,
    /// Writing programs.
    Coding,
    /// Vectors.
    Embedding,
}

/// Which interface a request needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    /// Messages in, a message out.
    Chat,
    /// A text goes on.
    Completion,
    /// Vectors.
    Embedding,
}

/// One step of a chain.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Link {
    /// What runs on this machine.
    Local,
    /// Peers that let this node.
    Peers,
    /// What runs elsewhere.
    Cloud,
    /// This one.
    Provider(String),
}

/// Providers in the order in which they are asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain(pub Vec<Link>);

/// A model of a provider.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Target {
    /// By its key; [`ANY_PEER`] for all peers.
    pub provider: String,
    /// By the provider's own name.
    pub model: String,
}

/// A name for models of several providers that do for each other.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Model {
    /// In the order of wishes; the chain goes first.
    pub targets: Vec<Target>,
    /// Numbers of a vector, where it makes vectors.
    pub dimension: Option<u32>,
    /// Tokens that it reads and writes together, where that is known.
    pub context_tokens: Option<u32>,
}

/// What the configuration says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The usual chain.
    pub policy: Chain,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// The chain's name by the label of a job.
    pub labels: BTreeMap<String, String>,
    /// Whether what runs here goes first, whatever the order in a chain.
    pub local_preferred: bool,
    /// Whether the cloud is asked where it is not the first.
    pub cloud_fallback: bool,
    /// Models by their names here.
    pub models: BTreeMap<String, Model>,
    /// The name of a model, or `provider/model`, by what it is wanted for.
    pub roles: BTreeMap<Role, String>,
}

/// Which model is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// By name: one of [`Rules::models`], `provider/model`, or a provider's own.
    Model(String),
    /// By what it is for.
    Role(Role),
}

/// What a request says about where it may go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// A chain, written out.
    Chain(Chain),
    /// A chain by name.
    Named(String),
}

/// A request, as far as it matters for the choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// What it needs.
    pub ability: Ability,
    /// Which model.
    pub wanted: Wanted,
    /// Its own wish; goes before its job's.
    pub route: Option<Route>,
    /// Labels of its job.
    pub labels: BTreeSet<String>,
    /// Nothing of it may leave this machine.
    pub is_private: bool,
    /// Tokens that are read, estimated.
    pub input_tokens: u64,
    /// Most tokens that are written, where the request says.
    pub max_tokens: Option<u32>,
    /// Numbers of a vector, where they matter.
    pub dimension: Option<u32>,
}

/// What is known of a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its key.
    pub key: String,
    /// Where it is.
    pub place: Place,
    /// Why it cannot be asked at all, such as a missing key.
    pub problem: Option<String>,
    /// What it does; an empty set means that nothing is known.
    pub abilities: BTreeSet<Ability>,
    /// Its models; none where it has no list, and any name is tried.
    pub models: Option<BTreeSet<String>>,
    /// What it gives for a role, by its own word.
    pub roles: BTreeMap<Role, String>,
}

/// How a model of a provider stands now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Load {
    /// How long its breaker keeps it from being asked, in milliseconds.
    pub rests_ms: u64,
    /// Why.
    pub rests_for: Option<Kind>,
    /// Requests under way and waiting.
    pub requests: u32,
    /// Most of both; what comes beyond is refused.
    pub requests_max: u32,
    /// Whether it is in memory already.
    pub is_loaded: bool,
    /// What a million tokens cost, read and written ones together, in micro-dollars; for the order alone.
    pub price: u64,
}

/// What is known, asked for as it is needed.
pub trait State {
    /// The providers, in the order of the configuration; peers after them.
    fn providers(&self) -> &[Known];
    /// How a model of one of them stands.
    fn load(&self, provider: &Known, model: &str, now_ms: u64) -> Load;
}

/// A chain that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a policy names local, peers, cloud or providers, with commas between, such as local,cloud; '{0}' does not")]
pub struct BadChain(String);

impl FromStr for Chain {
    type Err = BadChain;

    fn from_str(text: &str) -> Result<Self, BadChain> {
        let link = |word: &str| match word.trim() {
            "local" => Ok(Link::Local),
            "peers" | ANY_PEER => Ok(Link::Peers),
            "cloud" => Ok(Link::Cloud),
            word if !word.is_empty() && !word.contains([' ', '/']) => Ok(Link::Provider(word.to_owned())),
            _ => Err(BadChain(text.to_owned())),
        };
        Ok(Self(text.split(',').map(link).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().map(|link| match link {
            Link::Local => "local",
            Link::Peers => "peers",
            Link::Cloud => "cloud",
            Link::Provider(key) => key,
        });
        f.write_str(&words.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => {
                Ok(Self { provider: provider.to_owned(), model: model.to_owned() })
            }
            _ => Err(format!("'{text}' is no model of a provider; write it as provider/model")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl Role {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Coding => "coding",
            Self::Embedding => "embedding",
        }
    }
}

impl Ability {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completion => "completion",
            Self::Embedding => "embedding",
        }
    }
}

impl Link {
    fn has(&self, provider: &Known) -> bool {
        match self {
            Self::Local => provider.place == Place::Local,
            Self::Peers => provider.place == Place::Peer,
            Self::Cloud => provider.place == Place::Cloud,
            Self::Provider(key) => *key == provider.key,
        }
    }
}
