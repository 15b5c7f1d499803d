//! The verbs that work without a daemon: thin calls into the parts that do them.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cobs::adapter::profile::Passphrase;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::{ArbiterName, InitOptions, JoinOptions, UpOptions};
use super::exit::Failure;
use super::output::Format;
use crate::config::keys::{is_known, nearest};
use crate::config::{Environment, Flag};
use crate::ops::error::{Code, Error};
use crate::ops::tokens::values;
use crate::ops::types::{ConfigValue, Joined};
use crate::setup::{self, Place, Wish};
use crate::{daemon, logging};

/// The verb by which a supervisor starts this binary as the first process of its sandbox.
pub const SANDBOX_INIT: &str = "sandbox-init";

/// The home that is meant, and the environment: read here and nowhere below.
pub fn place(home: Option<PathBuf>) -> Result<Place, Failure> {
    Ok(Place::find(home, Environment::from_iter(std::env::vars()))?)
}

/// Asks for the key's passphrase, where there is a person to ask.
fn passphrase() -> Option<Passphrase> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    rpassword::prompt_password("passphrase of the Radicle key: ").ok().map(Passphrase::from)
}

/// Sets this machine up. May ask on the terminal.
pub fn init(place: &Place, options: InitOptions, format: Format) -> Result<u8, Failure> {
    let wish = Wish { alias: options.alias, ledger: options.ledger };
    let report = setup::init(place, &wish, &passphrase)?;
    format.print(&report, ToString::to_string)?;
    Ok(0)
}

/// Runs the daemon until it is stopped.
pub async fn up(place: &Place, options: UpOptions) -> Result<u8, Failure> {
    let mut flags = options.set.into_iter().map(flag).collect::<Result<Vec<_>, Error>>()?;
    if let Some(vault) = options.vault {
        let path = std::path::absolute(&vault)
            .map_err(|error| Error::new(Code::Config, format!("the vault {}: {error}", vault.display())))?;
        let value = path.display().to_string();
        flags.push(Flag { flag: "--vault".to_owned(), key: "vault.path".to_owned(), value });
    }
    let loaded = place.config(flags)?;
    let log = logging::Options {
        filter: loaded.config.log.level.clone(),
        format: loaded.config.log.format,
        service: "rhizome",
        directory: None,
    };
    logging::init(&log).map_err(|error| Error::new(Code::Config, error.to_string()))?;
    logging::metrics::install();
    let radicle = place.open(&passphrase)?;
    let program = std::env::current_exe().map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let stop = CancellationToken::new();
    tokio::spawn(end_by_signal(stop.clone()));
    let start = daemon::Start { files: place.files.clone(), loaded, radicle, program };
    daemon::run(start, stop, |_| ()).await?;
    Ok(0)
}

/// The configuration as the next daemon would take it.
pub fn config(place: &Place) -> Result<Vec<ConfigValue>, Failure> {
    Ok(values(&place.config(Vec::new())?.settings))
}

fn flag((key, value): (String, String)) -> Result<Flag, Error> {
    if !is_known(&key.split('.').collect::<Vec<_>>()) {
        let unknown = format!("there is no configuration key '{key}'");
        return Err(Error::new(Code::Config, unknown)
            .hint(format!("did you mean '{}'? the home's config.toml holds every key", nearest(&key))));
    }
    Ok(Flag { flag: format!("--set {key}"), key, value })
}

/// Ends the daemon at SIGTERM or SIGINT; a second one does not wait.
async fn end_by_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    for last in [false, true] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if last {
            std::process::exit(130);
        }
        stop.cancel();
    }
}

/// Pairs where no daemon runs.
pub async fn join(place: &Place, options: JoinOptions) -> Result<Joined, Failure> {
    let wish = Wish { alias: options.alias, ledger: None };
    let grants = options.grant.into_iter().map(Into::into).collect();
    let arbiter = options.arbiter.map(Into::into).unwrap_or_default();
    Ok(setup::join_offline(place, &wish, &options.link, grants, arbiter, &passphrase).await?)
}

/// Who decides about this machine's jobs: as typed, or, on a battery, as answered.
pub fn arbiter(options: &JoinOptions, format: Format) -> Option<ArbiterName> {
    if options.arbiter.is_some() || !scheduler::probe::on_battery() {
        return options.arbiter;
    }
    eprintln!("This machine runs on a battery. While it sleeps, nobody decides about its jobs.");
    if format == Format::Json || !std::io::stdin().is_terminal() {
        eprintln!("To let the inviter decide, which should be always on: --arbiter inviter");
        return None;
    }
    eprint!("Let the inviter, which should be always on, decide about them? [y/N] ");
    let mut answer = String::new();
    let yes = std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y");
    yes.then_some(ArbiterName::Inviter)
}

/// The body of `supervise`. To be called before this process has a second thread.
pub fn supervise(run_dir: &Path) -> ExitCode {
    scheduler::runner::supervise(run_dir, &[SANDBOX_INIT.to_owned()])
}

/// The body of `sandbox-init`. To be called before this process has a second thread.
pub fn sandbox_init() -> ExitCode {
    scheduler::runner::sandbox_init()
}

/// The body of `symbols`.
pub fn symbols() -> ExitCode {
    let served = crate::context::symbols::serve(&mut std::io::stdin().lock(), &mut std::io::stdout().lock());
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
