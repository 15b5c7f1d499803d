//! What may be typed: the verbs and their options. The doc comments are the help that a person reads.

mod job;
mod setup;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use self::job::{
    ArtifactsOptions, CancelOptions, EvictOptions, FollowOptions, JobId, JobVerb, ListOptions, LogsOptions,
    PublishChoice, RunOptions, SourceOptions, SubmitCommand, SubmitOptions,
};
pub use self::setup::{
    DemoOptions, GrantName, GrantOptions, InitOptions, InviteOptions, JoinOptions, PeersVerb, TokenVerb, UpOptions,
};

/// The exit codes, as the help shows them.
const EXIT_CODES: &str = "\
Exit codes:
  0        it worked; of `run`: the job's command exited with 0
  1-255    of `run` alone: the exit code of the job's command, 128 + n after signal n,
           124 when its time ran out, 125 when it was cancelled, lost, expired, superseded
           or could not start; 130 when you left it by a second Ctrl-C
  64  the command or the request is wrong      73  a port or a home is taken
  65  what was given cannot be used            74  reading or writing failed
  66  there is no such thing                   75  busy; try again
  69  no daemon, or a peer cannot be reached   76  the other side is not who it should be
  70  a fault of rhizome                       77  not allowed
                                               78  the set-up is wrong
A job may exit with 64 to 78 as well: `--json` tells them apart, since only our own errors
print an object with `error`.";

/// Signed jobs between machines that trust each other, on Radicle.
#[derive(Parser, Debug)]
#[command(name = "rhizome", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, max_term_width = 100)]
pub struct Arguments {
    /// The home of the node; ~/.radicle without
    #[arg(long, global = true, env = "RHIZOME_HOME", value_name = "PATH")]
    pub home: Option<PathBuf>,
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Set this machine up: profile, ledger, configuration
    Init(InitOptions),
    /// Run the daemon until it is stopped
    Up(UpOptions),
    /// Show how the node is
    Status,
    /// Make a link that pairs another machine with this one
    Invite(InviteOptions),
    /// Pair with the machine that made a link
    Join(JoinOptions),
    /// List peers, and change what they may do here
    #[command(args_conflicts_with_subcommands = true)]
    Peers {
        /// What to do; list without.
        #[command(subcommand)]
        verb: Option<PeersVerb>,
    },
    /// Run a command as a job, follow it, and end with its exit code
    Run(Box<RunOptions>),
    /// Submit, look at and end jobs
    Job {
        /// What to do.
        #[command(subcommand)]
        verb: JobVerb,
    },
    /// Make, list and revoke tokens for the HTTP API
    Token {
        /// What to do.
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Look at the configuration
    Config {
        /// What to do.
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Show the whole on two throw-away nodes on this machine
    Demo(DemoOptions),
    /// The supervisor of one run.
    #[command(hide = true)]
    Supervise {
        /// The run's directory.
        run_dir: PathBuf,
    },
    /// Clears up after a demo, however it ended.
    #[command(hide = true)]
    Sweep {
        /// The demo's directory.
        site: PathBuf,
    },
    /// The first process of a sandbox.
    #[command(hide = true)]
    SandboxInit,
}

/// What to do with the configuration.
#[derive(Subcommand, Debug)]
pub enum ConfigVerb {
    /// Show each value and where it came from
    Show,
}
