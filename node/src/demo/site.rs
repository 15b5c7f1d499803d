//! The directory of a demo and the processes in it: made, asked, and gone at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use cobs::id::NodeId;

use super::sweep;
use crate::cli::client::Client;
use crate::config::home::Home;
use crate::daemon;
use crate::ops::error::{Code, Error};

/// Longest path of a site: a unix socket's may have 107 bytes, and the longest of a node is some 30 below.
const PATH_BYTES_MAX: usize = 70;
/// Where a site goes when the usual place has too long a path.
const SHORT: &str = "/tmp";
/// How long the sweeper may take before it is left to itself, in milliseconds.
const SWEEP_MS: u64 = 20_000;
/// Most bytes of a log that its tail is looked for in.
const TAIL_BYTES_MAX: usize = 16 << 10;

/// In the lines that a daemon logs because we ask how it is.
const OUR_QUESTIONS: &str = "Received command QueryState";

/// One of the two nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Name {
    /// Submits.
    Alice,
    /// Runs.
    Bob,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        })
    }
}

/// A demo's directory with all that runs in it.
pub struct Site {
    directory: PathBuf,
    program: PathBuf,
    daemons: BTreeMap<Name, Child>,
    sweeper: Child,
    /// The sweeper begins when this closes, so also when we are killed.
    leash: ChildStdin,
    /// What is being done, for the failure's words.
    pub step: &'static str,
}

/// An error that a command printed with `--json`.
#[derive(Deserialize)]
struct Printed {
    error: Error,
}

impl Site {
    /// Makes the directory, with a sweeper that outlives us.
    pub fn open() -> Result<Self, Error> {
        let wrong = |error: io::Error| Error::new(Code::Storage, format!("cannot make a temporary directory: {error}"));
        let mut base = std::env::temp_dir().canonicalize().map_err(wrong)?;
        if base.as_os_str().len() + sweep::PREFIX.len() + 8 > PATH_BYTES_MAX {
            base = PathBuf::from(SHORT);
        }
        let made = tempfile::Builder::new().prefix(sweep::PREFIX).tempdir_in(base).map_err(wrong)?;
        let program = std::env::current_exe().map_err(wrong)?;
        let mut command = Command::new(&program);
        command.arg("sweep").arg(made.path()).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: one system call that touches no memory.
        unsafe {
            // a Ctrl-C is for us, not for it
            command.pre_exec(|| {
                rustix::process::setsid()?;
                Ok(())
            });
        }
        let unstarted = |error| Error::new(Code::Internal, format!("cannot start the sweeper: {error}"));
        let mut sweeper = command.spawn().map_err(unstarted)?;
        let leash = sweeper.stdin.take().expect("it was piped");
        let (directory, daemons) = (made.keep(), BTreeMap::new());
        Ok(Self { directory, program, daemons, sweeper, leash, step: "begin" })
    }

    /// Everything of the demo is below it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The way to a node's daemon.
    pub fn client(&self, name: Name) -> Client {
        Client::new(Home::new(self.home(name)).api_socket())
    }

    /// Tells the sweeper of a node's control groups; to be called before its daemon starts.
    pub async fn note_groups(&mut self, node: &NodeId) -> Result<(), Error> {
        let line = format!("{}\n", daemon::control_groups(node));
        let told = self.leash.write_all(line.as_bytes()).await;
        told.map_err(|error| Error::new(Code::Internal, format!("the sweeper is gone: {error}")))
    }

    /// Runs a verb of ours in a node's home to its end.
    pub async fn run<T: DeserializeOwned>(&self, name: Name, arguments: &[&str]) -> Result<T, Error> {
        let output = self.command(name, arguments).arg("--json").output().await;
        let output = output.map_err(|error| unstarted(name, &error))?;
        let what = format!("rhizome {}", arguments.first().unwrap_or(&""));
        if output.status.success() {
            let odd = |error| Error::new(Code::Internal, format!("`{what}` of {name} printed something odd: {error}"));
            return serde_json::from_slice(&output.stdout).map_err(odd);
        }
        Err(serde_json::from_slice(&output.stdout).map(|printed: Printed| printed.error).unwrap_or_else(|_| {
            let words = String::from_utf8_lossy(&output.stderr);
            Error::new(Code::Internal, format!("`{what}` of {name} failed ({}): {}", output.status, words.trim()))
        }))
    }

    /// Starts a node's daemon on free ports of loopback.
    pub fn start(&mut self, name: Name) -> Result<(), Error> {
        let log = File::create(self.log(name)).map_err(|error| unstarted(name, &error))?;
        let errors = log.try_clone().map_err(|error| unstarted(name, &error))?;
        let mut command = self.command(name, &["up"]);
        for setting in
            ["node.listen=127.0.0.1:0", "link.listen=127.0.0.1:0", "api.listen=127.0.0.1:0", "log.format=text"]
        {
            command.args(["--set", setting]);
        }
        // the terminal's Ctrl-C is for us, who end the daemons
        let child = command.stdout(log).stderr(errors).process_group(0).spawn();
        self.daemons.insert(name, child.map_err(|error| unstarted(name, &error))?);
        Ok(())
    }

    /// Fails once a daemon has ended.
    pub fn check(&mut self, name: Name) -> Result<(), Error> {
        let Some(child) = self.daemons.get_mut(&name) else { return Ok(()) };
        match child.try_wait() {
            Ok(Some(status)) => {
                let last = self.log_tail(name, 1).pop().unwrap_or_default();
                Err(Error::new(Code::NoDaemon, format!("{name}'s daemon ended ({status}): {last}")))
            }
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// The last lines of what a daemon wrote.
    pub fn log_tail(&self, name: Name, lines_max: usize) -> Vec<String> {
        let bytes = fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..]).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(OUR_QUESTIONS)).collect();
        lines[lines.len().saturating_sub(lines_max)..].iter().map(|line| crate::cli::output::plain(line)).collect()
    }

    /// Ends everything and removes it. The sweeper does it, so there is one way for every end.
    pub async fn clear(self) -> Result<(), Error> {
        let Self { directory, mut sweeper, leash, mut daemons, .. } = self;
        drop(leash);
        let left = |why: String| {
            Error::new(Code::Internal, format!("{} may not be cleared: {why}", directory.display()))
                .hint("end the processes that name it, and remove it")
        };
        match timeout(Duration::from_millis(SWEEP_MS), sweeper.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => return Err(left(format!("the sweeper failed ({status})"))),
            Ok(Err(error)) => return Err(left(error.to_string())),
            Err(_) => return Err(left(String::from("it takes long"))),
        }
        for child in daemons.values_mut() {
            child.wait().await.map_err(|error| left(error.to_string()))?;
        }
        Ok(())
    }

    fn home(&self, name: Name) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn log(&self, name: Name) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    /// A verb of ours in a node's home, with nothing of the user's environment, which dies with us.
    fn command(&self, name: Name, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.home(name)).args(arguments).current_dir(&self.directory);
        command.env_clear().env("HOME", &self.directory).env("LANG", "C.UTF-8");
        command.envs(["PATH", "TMPDIR"].into_iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
        command.stdin(Stdio::null()).kill_on_drop(true);
        let us = rustix::process::getpid();
        // SAFETY: two system calls that touch no memory. The signal comes when the thread ends that starts it: the
        // runtime's main one, which runs for as long as we do.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
                // we may have died before the call
                if rustix::process::getppid() == Some(us) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            });
        }
        command
    }
}

fn unstarted(name: Name, error: &io::Error) -> Error {
    Error::new(Code::Internal, format!("{name} cannot be started: {error}"))
}
