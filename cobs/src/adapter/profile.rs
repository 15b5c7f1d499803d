//! A Radicle home: its directories, key and node configuration, for a closed network.
//!
//! It must not know ledgers, jobs or a running node, and reads no environment: what the command line found there
//! arrives as arguments.

mod config;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use radicle::cob::migrate;
use radicle::crypto::ssh::Keystore;
pub use radicle::crypto::ssh::Passphrase;
use radicle::crypto::{LoadError, Seed, Signer as _, SigningKey};
use radicle::git::UserInfo;
use radicle::node::{Alias, NodeId};
use radicle::profile::{Config, Home};
use radicle::storage::git::Storage;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

pub use config::{ConfigChange, ConfigError};

/// A unix socket's path must fit the kernel's address structure.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// What the key file says about itself.
const KEY_COMMENT: &str = "radicle";

/// An opened Radicle home with its key unlocked.
///
/// `Send`, and `Clone` opens nothing again. The key stays in memory: the node's connections are encrypted with it.
#[derive(Clone)]
pub struct NodeHome {
    /// The directories.
    pub home: Home,
    /// The repositories. Open one per thread: a repository is not `Sync`.
    pub storage: Storage,
    /// What signs references and operations, and what the runtime is started with.
    pub signer: SigningKey,
    /// The node's id, which is the public key.
    pub public_key: NodeId,
    /// The configuration as last read or written by us.
    pub config: Config,
}

/// How a home came to be open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It did not exist.
    Created,
    /// It existed and was left as it was.
    Opened,
}

/// What a new home is made of.
pub struct NewProfile {
    /// The node's name for people, at most 32 bytes without spaces.
    pub alias: String,
    /// Where the Radicle node listens.
    pub listen: Vec<SocketAddr>,
    /// Encrypts the key file; an empty or absent one leaves it plain.
    pub passphrase: Option<Passphrase>,
    /// 32 random bytes, from which the key is derived.
    pub key_seed: [u8; 32],
}

/// How an encrypted key may be unlocked, tried in this order.
pub struct Unlock<'a> {
    /// The value of `RAD_PASSPHRASE`, empty or absent if there is none.
    pub environment: Option<Passphrase>,
    /// Asks a person, if there is one.
    pub prompt: &'a dyn Fn() -> Option<Passphrase>,
}

/// Where a passphrase came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PassphraseSource {
    /// `RAD_PASSPHRASE`.
    Environment,
    /// A person.
    Prompt,
}

impl std::fmt::Display for PassphraseSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Environment => "RAD_PASSPHRASE",
            Self::Prompt => "the prompt",
        })
    }
}

/// Why a home cannot be used.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// There is no home; `rhizome init` makes one.
    #[error("no radicle home at {0}")]
    NotFound(PathBuf),
    /// The alias breaks Radicle's rules.
    #[error("{alias:?} cannot be an alias")]
    Alias {
        /// What was asked for.
        alias: String,
        /// Radicle's rule.
        #[source]
        source: radicle::node::AliasError,
    },
    /// The key is encrypted and nobody gave a passphrase. A running ssh-agent is no help: it signs, but the node's
    /// connections need the key itself.
    #[error("the key {0} is encrypted and no passphrase was given")]
    Locked(PathBuf),
    /// The passphrase is not the key's.
    #[error("the passphrase from {origin} does not unlock {key}")]
    WrongPassphrase {
        /// Who gave it.
        origin: PassphraseSource,
        /// The key file.
        key: PathBuf,
    },
    /// The key file is missing, damaged, or not the one of the public key beside it.
    #[error("cannot load the key {path}")]
    Key {
        /// The key file.
        path: PathBuf,
        /// Radicle's reason.
        #[source]
        source: Box<LoadError>,
    },
    /// The key file cannot be read or written.
    #[error("cannot use the key {path}")]
    Keystore {
        /// The key file.
        path: PathBuf,
        /// Radicle's reason.
        #[source]
        source: Box<radicle::crypto::ssh::keystore::Error>,
    },
    /// The configuration cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another Radicle node uses this home.
    #[error("a radicle node is already running in this home: {0} answers")]
    AlreadyRunning(PathBuf),
    /// The control socket's path is longer than the kernel allows.
    #[error("the path of the control socket {path} is {bytes} bytes long, at most {SOCKET_PATH_BYTES_MAX} work")]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What we were doing.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// One of Radicle's databases in the home cannot be made or opened.
    #[error("cannot open the {name} database in {home}")]
    Database {
        /// Which.
        name: &'static str,
        /// The home.
        home: PathBuf,
        /// Radicle's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ProfileError {
    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotFound(_) => Some("create one with `rhizome init`"),
            Self::Locked(_) => Some("set RAD_PASSPHRASE; an ssh-agent cannot lend the key to the node's connections"),
            Self::WrongPassphrase { origin: PassphraseSource::Environment, .. } => {
                Some("unset RAD_PASSPHRASE to be asked, or set the right one")
            }
            Self::AlreadyRunning(_) => Some(
                "stop it with `rad node stop`, and start it again afterwards: it reads only at its start what is set up here",
            ),
            Self::SocketPath { .. } => Some("use a home with a shorter path"),
            Self::Alias { .. } => Some("use at most 32 bytes without spaces or control characters"),
            Self::WrongPassphrase { origin: PassphraseSource::Prompt, .. }
            | Self::Key { .. }
            | Self::Keystore { .. }
            | Self::Config(_)
            | Self::Io { .. }
            | Self::Database { .. } => None,
        }
    }
}

impl NodeHome {
    /// Opens the home at `path`, or creates it for a closed network.
    ///
    /// An existing home keeps its key and its configuration. A home whose creation was interrupted is finished.
    pub fn open_or_create(path: &Path, new: NewProfile, unlock: &Unlock<'_>) -> Result<(Self, Origin), ProfileError> {
        if is_home(path) {
            return Ok((Self::open(path, unlock)?, Origin::Opened));
        }
        Ok((Self::create(path, new)?, Origin::Created))
    }

    /// Opens an existing home. It may be in use by another process: see [`NodeHome::ensure_alone`].
    pub fn open(path: &Path, unlock: &Unlock<'_>) -> Result<Self, ProfileError> {
        if !is_home(path) {
            return Err(ProfileError::NotFound(path.to_owned()));
        }
        let home = Home::new(path).map_err(|source| io_error("open", path, source))?;
        let config = config::load(&home)?;
        let signer = unlock_key(&home, unlock)?;
        Self::assemble(home, config, signer)
    }

    /// Creates a home for a closed network: network `test`, no seeds of others, dials only whom it is told to.
    fn create(path: &Path, new: NewProfile) -> Result<Self, ProfileError> {
        let alias: Alias =
            new.alias.parse().map_err(|source| ProfileError::Alias { alias: new.alias.clone(), source })?;
        if !path.exists() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|source| io_error("create", path, source))?;
        }
        let home = Home::new(path).map_err(|source| io_error("create", path, source))?;
        std::fs::set_permissions(home.keys(), std::fs::Permissions::from_mode(0o700))
            .map_err(|source| io_error("protect", &home.keys(), source))?;
        // The key comes last: what has no key is no home yet, and the next attempt starts over.
        let config = config::closed_network(alias, new.listen);
        config::save(&home, &config)?;
        create_databases(&home, &config)?;
        let passphrase = new.passphrase.filter(|passphrase| !passphrase.is_empty());
        let keystore = Keystore::new(&home.keys());
        keystore.init(KEY_COMMENT, passphrase.clone(), Seed::new(new.key_seed)).map_err(keystore_error(&keystore))?;
        let signer = SigningKey::load(&keystore, passphrase)
            .map_err(|source| key_error(&keystore, PassphraseSource::Prompt, source))?;
        Self::assemble(home, config, signer)
    }

    fn assemble(home: Home, config: Config, signer: SigningKey) -> Result<Self, ProfileError> {
        let public_key = *signer.public_key();
        let info = UserInfo { alias: config.alias().clone(), key: public_key };
        let storage = Storage::open(home.storage(), info).map_err(database("storage", &home))?;
        Ok(Self { home, storage, signer, public_key, config })
    }

    /// Has the disk write out all that is stored so far. Radicle and git sync nothing that they fetch or set up, and the
    /// next sync of anything else could make their files durable without their content.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        let storage = std::fs::File::open(self.storage.path())?;
        Ok(rustix::fs::syncfs(storage)?)
    }

    /// Refuses if another Radicle node runs in this home, and removes the control socket of one that was killed.
    pub fn ensure_alone(&self) -> Result<(), ProfileError> {
        let path = self.home.socket_default();
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES_MAX {
            return Err(ProfileError::SocketPath { path, bytes });
        }
        match is_answered(&path) {
            Ok(()) => Err(ProfileError::AlreadyRunning(path)),
            // its queue is full
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ProfileError::AlreadyRunning(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(&path).map_err(|source| io_error("remove the stale socket", &path, source))
            }
            Err(source) => Err(io_error("probe", &path, source)),
        }
    }

    /// What pairing with `peer` would change in the configuration: nothing else of an existing home is touched.
    ///
    /// With no address known (the peer dials us) our rate limits are raised instead, as Radicle lifts them for the
    /// peers in `connect` only.
    pub fn plan_peer(&self, peer: NodeId, address: Option<radicle::node::Address>) -> Vec<ConfigChange> {
        config::plan_peer(&self.config, peer, address)
    }

    /// What no longer dialling `peer` would change.
    pub fn plan_removal(&self, peer: NodeId) -> Vec<ConfigChange> {
        config::plan_removal(&self.config, peer)
    }

    /// Writes the planned changes, keeping every other setting of the file, also those that we do not know.
    pub fn apply(&mut self, changes: &[ConfigChange]) -> Result<(), ProfileError> {
        self.config = config::apply(&self.home, changes)?;
        Ok(())
    }
}

/// Whether somebody listens on a unix socket, without waiting to be accepted.
fn is_answered(socket: &Path) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(net::connect(stream, &SocketAddrUnix::new(socket)?)?)
}

/// Whether there is a home at `path`, of whoever made it.
pub fn is_home(path: &Path) -> bool {
    path.join("keys").join("radicle").exists()
}

/// Makes the databases of a new home; the runtime migrates those of an old one.
fn create_databases(home: &Home, config: &Config) -> Result<(), ProfileError> {
    home.policies_mut().map_err(database("policies", home))?;
    home.notifications_mut().map_err(database("notifications", home))?;
    home.database_mut(config.node.database).map_err(database("node", home))?;
    let mut cobs = home.cobs_db_mut().map_err(database("cobs", home))?;
    cobs.migrate(migrate::ignore).map_err(database("cobs", home))?;
    Ok(())
}

fn unlock_key(home: &Home, unlock: &Unlock<'_>) -> Result<SigningKey, ProfileError> {
    let keystore = Keystore::new(&home.keys());
    if !keystore.is_encrypted().map_err(keystore_error(&keystore))? {
        return SigningKey::load(&keystore, None)
            .map_err(|source| key_error(&keystore, PassphraseSource::Environment, source));
    }
    let environment = unlock.environment.clone().filter(|passphrase| !passphrase.is_empty());
    let (passphrase, origin) = match environment {
        Some(passphrase) => (passphrase, PassphraseSource::Environment),
        None => match (unlock.prompt)() {
            Some(passphrase) => (passphrase, PassphraseSource::Prompt),
            None => return Err(ProfileError::Locked(keystore.secret_key_path().to_owned())),
        },
    };
    SigningKey::load(&keystore, Some(passphrase)).map_err(|source| key_error(&keystore, origin, source))
}

fn key_error(keystore: &Keystore, origin: PassphraseSource, source: LoadError) -> ProfileError {
    let path = keystore.secret_key_path().to_owned();
    match source {
        LoadError::InvalidPassphrase => ProfileError::WrongPassphrase { origin, key: path },
        source => ProfileError::Key { path, source: Box::new(source) },
    }
}

fn keystore_error(keystore: &Keystore) -> impl Fn(radicle::crypto::ssh::keystore::Error) -> ProfileError + use<> {
    let path = keystore.secret_key_path().to_owned();
    move |source| ProfileError::Keystore { path: path.clone(), source: Box::new(source) }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> ProfileError {
    ProfileError::Io { action, path: path.to_owned(), source }
}

fn database<E: std::error::Error + Send + Sync + 'static>(
    name: &'static str,
    home: &Home,
) -> impl Fn(E) -> ProfileError + use<E> {
    let home = home.path().to_owned();
    move |source| ProfileError::Database { name, home: home.clone(), source: Box::new(source) }
}
