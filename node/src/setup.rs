//! Setting a machine up: its Radicle profile, its ledger, its state, its configuration; and joining without a daemon.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

use cobs::adapter::ledger::{self, NewLedger};
use cobs::adapter::profile::{NewProfile, NodeHome, Origin, Passphrase, ProfileError, Unlock};
use cobs::id::{NodeId, RepoId};

use crate::config::home::Home;
use crate::config::{self, Environment, keys};
use crate::daemon::state_error;
use crate::link::LinkIdentity;
use crate::ops::error::{Code, Error};
use crate::ops::jobs::storage;
use crate::ops::types::{Arbiter, Joined, PeerGrant};
use crate::pairing::{self, Introduction};
use crate::runs::chain;
use crate::store::StoreError;
use crate::store::state::State;

/// Where the Radicle node of a new home listens.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8776);
/// Longest alias that Radicle takes.
const ALIAS_BYTES_MAX: usize = 32;

/// Which home is meant, and what was set around the process.
#[derive(Clone, Debug)]
pub struct Place {
    /// The home.
    pub files: Home,
    /// The environment.
    pub environment: Environment,
}

impl Place {
    /// The home that the flag, the environment or the user's directory names.
    ///
    /// # Errors
    /// When none of them does.
    pub fn find(flag: Option<PathBuf>, environment: Environment) -> Result<Self, Error> {
        let files = Home::find(flag.as_deref(), &environment)
            .map_err(|error| Error::new(Code::Config, error.to_string()).hint("give one with --home PATH"))?;
        Ok(Self { files, environment })
    }

    /// Where the daemon of this home answers.
    pub fn socket(&self) -> PathBuf {
        self.files.api_socket()
    }

    /// Opens the home's key.
    ///
    /// # Errors
    /// When there is no home, or its key stays locked.
    pub fn open(&self, prompt: &dyn Fn() -> Option<Passphrase>) -> Result<NodeHome, Error> {
        NodeHome::open(self.files.radicle(), &self.unlock(prompt)).map_err(|error| profile_error(&error))
    }

    fn unlock<'a>(&self, prompt: &'a dyn Fn() -> Option<Passphrase>) -> Unlock<'a> {
        let environment = self.environment.get("RAD_PASSPHRASE").map(|text| Passphrase::from(text.to_owned()));
        Unlock { environment, prompt }
    }

    /// The configuration of this home.
    ///
    /// # Errors
    /// With every key that is wrong.
    pub fn config(&self, flags: Vec<config::Flag>) -> Result<config::Loaded, Error> {
        let cores = std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .and_then(std::num::NonZeroU32::new)
            .unwrap_or(std::num::NonZeroU32::MIN);
        let sources = config::Sources { home: &self.files, environment: &self.environment, flags, cores };
        config::load(&sources).map_err(|error| {
            let file = self.files.config_file();
            Error::new(Code::Config, chain(&error))
                .hint(format!("correct it where it is set; {} holds every key and its default", file.display()))
        })
    }
}

/// What `init` is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// What people call this machine.
    pub alias: Option<String>,
    /// What people call the ledger.
    pub ledger: Option<String>,
}

/// What `init` did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The home.
    pub home: PathBuf,
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub alias: String,
    /// Whether the profile was made now.
    pub profile_created: bool,
    /// The ledger.
    pub ledger: Option<RepoId>,
    /// Whether it was made now.
    pub ledger_created: bool,
    /// The configuration file.
    pub config: PathBuf,
    /// Whether it was written now.
    pub config_created: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = |now: bool| if now { "created" } else { "kept as it was" };
        writeln!(f, "home     {}", self.home.display())?;
        writeln!(f, "node     {} ({}, profile {})", self.node, self.alias, made(self.profile_created))?;
        match self.ledger {
            Some(ledger) => writeln!(f, "ledger   {ledger} ({})", made(self.ledger_created))?,
            None => writeln!(f, "ledger   none yet; join one with: rhizome join LINK")?,
        }
        writeln!(f, "config   {} ({})", self.config.display(), made(self.config_created))?;
        write!(f, "next     rhizome up")
    }
}

/// Makes what is missing of a home; what is there stays.
///
/// # Errors
/// When a node runs in the home, the key is locked, or the disk fails.
pub fn init(place: &Place, wish: &Wish, prompt: &dyn Fn() -> Option<Passphrase>) -> Result<Report, Error> {
    let (home, state, mut report) = prepare(place, wish, prompt)?;
    let mut settings = state.settings().map_err(|error| storage(&error))?;
    if settings.default_ledger.is_none() {
        let name = wish.ledger.clone().unwrap_or_else(|| "ledger".into());
        let description = format!("Jobs of {}", report.alias);
        let ledger = ledger::create(&home, NewLedger { name: &name, description: &description })
            .map_err(|error| Error::new(Code::Storage, chain(&error)))?;
        home.sync().map_err(|error| storage(&error))?;
        let change = |settings: &mut crate::store::settings::Settings| {
            settings.ledgers.insert(ledger);
            settings.default_ledger = Some(ledger);
        };
        settings = state.update_settings(change).map_err(|error| storage(&error))?;
        report.ledger_created = true;
    }
    report.ledger = settings.default_ledger;
    Ok(report)
}

/// Profile, state and configuration, without a ledger.
fn prepare(
    place: &Place,
    wish: &Wish,
    prompt: &dyn Fn() -> Option<Passphrase>,
) -> Result<(NodeHome, State, Report), Error> {
    if std::os::unix::net::UnixStream::connect(place.socket()).is_ok() {
        let words = format!("the daemon of {} is up, so this home is set up", place.files.radicle().display());
        return Err(Error::new(Code::AlreadyRunning, words));
    }
    let mut key_seed = [0; 32];
    getrandom::fill(&mut key_seed).expect("the kernel has random bytes");
    let passphrase = place.environment.get("RAD_PASSPHRASE").map(|text| Passphrase::from(text.to_owned()));
    let new =
        NewProfile { alias: wish.alias.clone().unwrap_or_else(host_alias), listen: vec![LISTEN], passphrase, key_seed };
    let (home, origin) = NodeHome::open_or_create(place.files.radicle(), new, &place.unlock(prompt))
        .map_err(|error| profile_error(&error))?;
    home.ensure_alone().map_err(|error| profile_error(&error))?;
    let files = &place.files;
    std::fs::create_dir_all(files.rhizome()).map_err(|error| storage(&error))?;
    let state = match State::open(&files.state()) {
        Err(StoreError::Missing { .. }) => State::create(&files.state()),
        opened => opened,
    };
    let state = state.map_err(|error| state_error(&error))?;
    let alias = home.config.alias().to_string();
    let config = files.config_file();
    let config_created = !config.exists();
    if config_created {
        let text = keys::template(&keys::Answers { alias: None, ledger: None });
        std::fs::write(&config, text).map_err(|error| storage(&error))?;
    }
    let report = Report {
        home: files.radicle().to_owned(),
        node: home.public_key,
        alias,
        profile_created: origin == Origin::Created,
        ledger: None,
        ledger_created: false,
        config,
        config_created,
    };
    Ok((home, state, report))
}

/// Uses a pairing link where no daemon runs; a machine that was never set up is, without a ledger of its own.
///
/// # Errors
/// As `rhizome init`, and when the link is not good or the inviter cannot be reached.
pub async fn join_offline(
    place: &Place,
    wish: &Wish,
    link: &str,
    grants: BTreeSet<PeerGrant>,
    arbiter: Arbiter,
    prompt: &(dyn Fn() -> Option<Passphrase> + Sync),
) -> Result<Joined, Error> {
    pairing::check(link)?;
    let (mut home, state, report) = prepare(place, wish, prompt)?;
    let identity = LinkIdentity::load_or_create(&place.files.link_key());
    let identity = identity.map_err(|error| Error::new(Code::Storage, chain(&error)))?;
    let alias = place.config(Vec::new())?.config.node.alias.unwrap_or(report.alias);
    let own = Introduction::offline(home.public_key, alias, identity.key());
    let welcome = pairing::join::ask(&identity, &home, own, link).await?;
    let settings = pairing::join::remember(&state, &welcome, grants.clone(), arbiter)?;
    for (peer, address) in welcome.radicle_peers() {
        let address =
            address.parse().map_err(|_| Error::new(Code::BadRequest, format!("'{address}' is no address")))?;
        let changes = home.plan_peer(peer, Some(address));
        home.apply(&changes).map_err(|error| profile_error(&error))?;
    }
    Ok(pairing::join::joined(&welcome, grants, &settings))
}

/// The machine's name, as Radicle takes it.
fn host_alias() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let fit = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let alias: String = name.chars().filter(fit).take(ALIAS_BYTES_MAX).collect();
    if alias.is_empty() { "node".into() } else { alias }
}

fn profile_error(error: &ProfileError) -> Error {
    let code = match error {
        ProfileError::NotFound(_) => Code::NoLedger,
        ProfileError::Locked(_) | ProfileError::WrongPassphrase { .. } => Code::Locked,
        ProfileError::AlreadyRunning(_) => Code::AlreadyRunning,
        ProfileError::Alias { .. } => Code::BadRequest,
        _ => Code::Storage,
    };
    let words = Error::new(code, chain(error));
    match error.hint() {
        Some(hint) => words.hint(hint),
        None => words,
    }
}
