//! What the person who runs this node wants: defaults, then the file, then the environment, then flags.
//!
//! The environment is an argument; only `main` reads the real one. Every value knows where it came from, every bad
//! one is told with what to do next, and an unknown key in the file is an error. What the values are used for is not
//! known here.

pub mod home;
pub mod keys;
pub mod units;

mod layers;
mod reader;
mod resolve;
#[cfg(test)]
mod tests;
mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use cobs::id::{NodeId, RepoId};

use crate::logging::{Filter, Format};
use home::Home;

pub use self::vault::{Code, EmbedderChoice, Key, OpenAi, Vault};

/// The port of the direct link, where `link.listen` does not say.
pub const LINK_PORT: u16 = 8777;

/// The environment, as pairs.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

/// What a configuration is made from.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// Where the file is.
    pub home: &'a Home,
    /// The environment.
    pub environment: &'a Environment,
    /// What was given on the command line.
    pub flags: Vec<Flag>,
    /// Processor cores of this machine, for defaults.
    pub cores: NonZeroU32,
}

/// A key set on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flag {
    /// As typed, such as `--log-level`.
    pub flag: String,
    /// The key it sets, such as `log.level`.
    pub key: String,
    /// Its value, in the spelling of the environment: lists by commas.
    pub value: String,
}

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// Built in.
    Default,
    /// The config file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    Flag(String),
}

/// One value for `rhizome config show`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Section and key.
    pub key: String,
    /// As given; null where nothing is set.
    pub value: serde_json::Value,
    /// Where it came from.
    pub origin: Origin,
}

/// A configuration, and where each value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// What the node works with.
    pub config: Config,
    /// Every key in the order of the template, then the named directories.
    pub settings: Vec<Setting>,
}

/// What the node works with. All of it has been checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node among others.
    pub node: Node,
    /// The ledger that verbs mean when they name none.
    pub ledger: Option<RepoId>,
    /// How often the storage of ledgers is collected, in milliseconds.
    pub collect_every_ms: u64,
    /// How long a settled job keeps its live reference, in milliseconds.
    pub archive_after_ms: u64,
    /// The arbiter of jobs submitted here; this node without.
    pub arbiter: Option<NodeId>,
    /// The direct link.
    pub link: Link,
    /// The HTTP API.
    pub api: Api,
    /// Granting and running.
    pub scheduler: Scheduler,
    /// Best-effort caps of a run whose job names none.
    pub limits: RunLimits,
    /// Users that runs are made as; none lets the runner choose.
    pub sandbox_uid: Option<u32>,
    /// Read-only directories that jobs may ask for.
    pub directories: BTreeMap<String, Directory>,
    /// How often a heartbeat is announced, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long logs and artifacts are kept.
    pub artifacts: Artifacts,
    /// What is searched.
    pub vault: Vault,
    /// What is logged, and how.
    pub log: Log,
}

/// This node among others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// What people call it; Radicle's alias without.
    pub alias: Option<String>,
    /// Labels that jobs may require.
    pub labels: BTreeSet<String>,
    /// Queues it takes jobs from.
    pub queues: BTreeSet<String>,
    /// Where the Radicle node listens; what Radicle's own config says when empty.
    pub listen: Vec<SocketAddr>,
}

/// The direct link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Where it listens when not beside the Radicle node; see [`Link::listen_beside`].
    pub listen: Vec<SocketAddr>,
    /// `host:port` published besides those listened on.
    pub addresses: Vec<String>,
}

/// The HTTP API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Api {
    /// A loopback address.
    pub listen: SocketAddr,
    /// `Host` values accepted besides loopback's, in lower case.
    pub allowed_hosts: BTreeSet<String>,
    /// `Origin` values accepted, in lower case.
    pub allowed_origins: BTreeSet<String>,
}

/// Granting and running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scheduler {
    /// The lease of grants made here, in milliseconds.
    pub lease_ms: u64,
    /// How long the arbiter waits for better bids after the first, in milliseconds.
    pub bid_window_ms: u64,
    /// After this a grant that nobody asked to confirm is replaced, in milliseconds.
    pub grant_wait_ms: u64,
    /// Whether the first grant may ride in the root.
    pub root_grant: RootGrant,
    /// Most runs at once.
    pub slots: u32,
}

/// Whether the first grant may ride in the root operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootGrant {
    /// When this node is the arbiter and knows what its peers can do.
    Auto,
    /// Every job is bid for.
    Never,
}

/// Caps on a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunLimits {
    /// Thousandths of a core.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// The work tree and temporary files together.
    pub disk_bytes: u64,
    /// From the first instruction.
    pub wall_ms: u64,
    /// Standard output and error together.
    pub log_bytes: u64,
}

/// A read-only directory that jobs may ask for by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// On this machine; absolute.
    pub path: PathBuf,
    /// In the sandbox; the runner's choice without.
    pub at: Option<PathBuf>,
    /// Directories in it that go in front of `PATH`; relative.
    pub bin: Vec<String>,
    /// Added to the job's environment.
    pub environment: BTreeMap<String, String>,
}

/// How long logs and artifacts of settled jobs are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Artifacts {
    /// Days after the settle.
    pub keep_days: u32,
    /// Bytes in all; beyond them the oldest settled go first.
    pub keep_bytes: u64,
}

/// What is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// Which events.
    pub level: Filter,
    /// For machines or for people.
    pub format: Format,
}

/// One thing wrong with one key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// There is no such key.
    #[error("unknown key '{key}' ({origin}); did you mean '{nearest}'?")]
    Unknown {
        /// As written.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The known key that is most like it.
        nearest: String,
    },
    /// The value will not do.
    #[error("{key} = {value} ({origin}): {why}; {next}")]
    Bad {
        /// The key.
        key: String,
        /// As written.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// Why not.
        why: String,
        /// What to do.
        next: String,
    },
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{path} is not valid TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        message: String,
    },
    /// All that is wrong with keys and values, one a line.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// Puts the configuration together and checks all of it.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigError> {
    let layers = layers::merge(sources)?;
    let (config, problems) = resolve::resolve(&layers);
    let problems: Vec<Problem> = layers.unknown.iter().cloned().chain(problems).collect();
    if !problems.is_empty() {
        return Err(ConfigError::Invalid(problems));
    }
    Ok(Loaded { config, settings: layers.settings() })
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl Environment {
    /// The value of a variable; an empty one is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl Link {
    /// Where the link listens, given where the Radicle node does: on its hosts at [`LINK_PORT`] unless told otherwise.
    pub fn listen_beside(&self, radicle: &[SocketAddr]) -> Vec<SocketAddr> {
        if !self.listen.is_empty() {
            return self.listen.clone();
        }
        let hosts: BTreeSet<IpAddr> = radicle.iter().map(SocketAddr::ip).collect();
        hosts.into_iter().map(|host| SocketAddr::new(host, LINK_PORT)).collect()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
