//! The `git` program, run so that nobody's configuration, hooks or environment has a say.
//!
//! It must not know Radicle.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

/// What the user's or the machine's git configuration must not decide here.
const SETTINGS: [&str; 6] = [
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "protocol.file.allow=always",
];
/// Variables by which a caller's git (a hook, for instance) would redirect ours.
const VARIABLES: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMITTER_DATE",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PROTOCOL",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];
/// Serves any commit by its id, not only the tips of references.
const UPLOAD_PACK: &str = "git -c uploadpack.allowAnySHA1InWant=true upload-pack";

/// Why a git command failed.
#[derive(Debug, Error)]
pub enum GitError {
    /// It cannot be started.
    #[error("cannot run git")]
    Run(#[source] io::Error),
    /// It failed.
    #[error("git {command} failed: {message}")]
    Failed {
        /// The subcommand.
        command: String,
        /// What it said.
        message: String,
    },
}

/// A `git` in the repository at `directory`, to be given its subcommand.
pub(super) fn command(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).stdin(Stdio::null());
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}

/// Runs `git` in the repository at `directory` and returns what it prints.
pub(super) fn run(
    directory: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<String, GitError> {
    let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let mut command = command(directory);
    let output = command.args(&arguments).output().map_err(GitError::Run)?;
    if !output.status.success() {
        return Err(GitError::Failed {
            command: arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How much history a fetch brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum History {
    /// All of it.
    Whole,
    /// This commit alone.
    Tip,
}

/// Copies what `refspec` names, with its objects, from the repository at `from` into the one at `into`.
pub(super) fn fetch(into: &Path, from: &Path, refspec: &str, history: History) -> Result<(), GitError> {
    let mut arguments: Vec<OsString> = Vec::new();
    for argument in ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"] {
        arguments.push(argument.into());
    }
    if history == History::Tip {
        arguments.push("--depth=1".into());
    }
    arguments.push(format!("--upload-pack={UPLOAD_PACK}").into());
    arguments.push("--".into());
    arguments.push(from.as_os_str().to_owned());
    arguments.push(refspec.into());
    run(into, arguments)?;
    Ok(())
}
