//! The verbs that work without a daemon: thin calls into the parts that do them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{DemoOptions, InitOptions, JoinOptions, UpOptions};
use super::exit::Failure;
use super::output::Format;
use crate::config::Environment;
use crate::ops::types::Joined;
use crate::{daemon, demo, setup};

/// The verb by which a supervisor starts this binary as the first process of its sandbox.
pub const SANDBOX_INIT: &str = "sandbox-init";

/// The home that is meant, and what is known of it before its configuration is read.
pub fn environment(home: Option<PathBuf>) -> Result<Environment, Failure> {
    Ok(Environment::new(home)?)
}

/// Sets this machine up. May ask on the terminal.
pub fn init(environment: &Environment, options: InitOptions, format: Format) -> Result<u8, Failure> {
    let report = setup::init(environment, options)?;
    format.print(&report, ToString::to_string)?;
    Ok(0)
}

/// Runs the daemon until it is stopped.
pub async fn up(environment: &Environment, options: UpOptions) -> Result<u8, Failure> {
    daemon::up(environment, options).await?;
    Ok(0)
}

/// Pairs where no daemon runs.
pub async fn join(environment: &Environment, options: JoinOptions) -> Result<Joined, Failure> {
    Ok(setup::join_offline(environment, options).await?)
}

/// Shows the whole.
pub async fn demo(options: DemoOptions) -> Result<u8, Failure> {
    Ok(demo::run(options).await?)
}

/// The body of `supervise`. To be called before this process has a second thread.
pub fn supervise(run_dir: &Path) -> ExitCode {
    scheduler::runner::supervise(run_dir, &[SANDBOX_INIT.to_owned()])
}

/// The body of `sandbox-init`. To be called before this process has a second thread.
pub fn sandbox_init() -> ExitCode {
    scheduler::runner::sandbox_init()
}
