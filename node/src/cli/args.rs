//! What may be typed: the verbs and their options. The doc comments are the help that a person reads.

mod context;
mod job;
mod setup;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::context::{BenchVerb, ContextOptions, ModelVerb, NoteVerb, PatchOptions, SearchOptions, VaultVerb};
pub use self::job::{
    ArtifactsOptions, CancelOptions, EvictOptions, FollowOptions, HandoverOptions, JobId, JobVerb, ListOptions,
    LogsOptions, PublishChoice, RunOptions, SourceOptions, SubmitCommand, SubmitOptions, TakeoverOptions,
};
pub use self::setup::{
    ArbiterName, AuditOptions, DemoOptions, GrantName, GrantOptions, InitOptions, InviteOptions, JoinOptions,
    PeersVerb, TokenVerb, UpOptions,
};

/// The exit codes of every verb, as its help shows them.
const EXIT_CODES: &str = "\
Exit codes:
  0   it worked                                73  a port or a home is taken
  64  the command or the request is wrong      74  reading or writing failed
  65  what was given cannot be used            75  busy; try again
  66  there is no such thing                   76  the other side is not who it should be
  69  no daemon, or a peer cannot be reached   77  not allowed
  70  a fault of rhizome                       78  the set-up is wrong
  141 nobody reads what it prints";

/// The exit codes of the verbs that end as a job does.
const RUN_EXIT_CODES: &str = "\
When the job ran: the exit code of its command, 128 + n after signal n (137 when its memory ran
out), 124 when its time ran out, 125 when it was cancelled, lost, expired, superseded or could
not start; 130 when you left it by a second Ctrl-C. A job may exit with 64 to 78 as well: `--json` tells them apart,
since only our own errors print an object with `error`.";

/// Signed jobs between machines that trust each other, on Radicle.
#[derive(Parser, Debug)]
#[command(name = "rhizome", version, disable_help_subcommand = true)]
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
    /// Take back what peers hold of this node, where its home was restored from a copy
    Recover,
    /// Run a command as a job, follow it, and end with its exit code
    Run(Box<RunOptions>),
    /// Submit, look at and end jobs
    Job {
        /// What to do.
        #[command(subcommand)]
        verb: JobVerb,
    },
    /// Say where a change is: announced to, fetched and seen by each peer, or why not
    Why {
        /// The job's id, or the beginning of it; without, all of this node's changes that a peer has not seen
        #[arg(value_name = "JOB")]
        id: Option<String>,
    },
    /// Find notes of the vault by words, by meaning and by structure
    Search(SearchOptions),
    /// Gather notes for a model, within a budget, each passage cited
    Context(ContextOptions),
    /// Look at a note of the vault, and change it
    Note {
        /// What to do.
        #[command(subcommand)]
        verb: NoteVerb,
    },
    /// Look at the index of the vault
    Vault {
        /// What to do.
        #[command(subcommand)]
        verb: VaultVerb,
    },
    /// Add the model that compares by meaning
    Model {
        /// What to do.
        #[command(subcommand)]
        verb: ModelVerb,
    },
    /// Measure this node
    Bench {
        /// What of it.
        #[command(subcommand)]
        verb: BenchVerb,
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
    /// List who asked this node to change something, newest first
    Audit(AuditOptions),
    /// Show the whole on two throw-away nodes on this machine
    Demo(DemoOptions),
    /// Finds the symbols of source files.
    #[command(hide = true)]
    Symbols,
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

/// The command line with the exit codes in the help of every verb.
pub fn command() -> clap::Command {
    document(Arguments::command())
}

fn document(command: clap::Command) -> clap::Command {
    let codes = match command.get_name() {
        "run" | "demo" => format!("{EXIT_CODES}\n\n{RUN_EXIT_CODES}"),
        _ => EXIT_CODES.to_owned(),
    };
    command.after_help(codes).mut_subcommands(document)
}
