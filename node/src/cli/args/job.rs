//! The options of jobs: what is run, where, with what and within what limits.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use cobs::id::{NodeId, RepoId};
use cobs::job::outcome::Outcome;
use cobs::job::spec::{Mode, RetryPlace, RunnerKind};
use cobs::job::state::Status;

use super::setup::pair;
use crate::cli::quantity::{LimitName, byte_count, cpu_milli, span_ms};
use crate::ops::types::Dirty;

/// What to do with jobs.
#[derive(Subcommand, Debug)]
pub enum JobVerb {
    /// Submit a job and print its id
    Submit(Box<SubmitCommand>),
    /// List jobs, newest first
    List(ListOptions),
    /// Show one job
    Show(JobId),
    /// Print a job's log
    Logs(LogsOptions),
    /// Ask for the end of a job
    Cancel(CancelOptions),
    /// Say which nodes could run a job, and why or why not
    Explain(JobId),
    /// List the files that a job left, or fetch some
    Artifacts(ArtifactsOptions),
    /// End this machine's run of a job, and give it back
    Evict(EvictOptions),
    /// Let another machine decide about a job that this one decides about
    Handover(HandoverOptions),
    /// Let another machine decide about a job whose own is dead
    Takeover(TakeoverOptions),
}

/// One job.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct JobId {
    /// Its id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
}

/// How `run` submits and follows.
#[derive(Args, Clone, PartialEq, Debug)]
pub struct RunOptions {
    /// What is submitted.
    #[command(flatten)]
    pub submit: SubmitOptions,
    /// How it is followed.
    #[command(flatten)]
    pub follow: FollowOptions,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How a job is followed.
#[derive(Args, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FollowOptions {
    /// Submit only; print the job's id
    #[arg(long)]
    pub detach: bool,
    /// No status lines on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// How `job submit` is told its job.
#[derive(Args, Clone, PartialEq, Debug)]
pub struct SubmitCommand {
    /// The job as JSON, as POST /schedule takes it; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "command", required_unless_present = "command")]
    pub file: Option<PathBuf>,
    /// What is submitted.
    #[command(flatten)]
    pub submit: SubmitOptions,
    /// Program and arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What is submitted besides the command.
#[derive(Args, Clone, PartialEq, Debug)]
pub struct SubmitOptions {
    /// What the work tree holds.
    #[command(flatten)]
    pub source: SourceOptions,
    /// Only on this machine, or on those with this label
    #[arg(long, value_name = "NODE|LABEL")]
    pub on: Option<String>,
    /// The machine that decides about the job
    #[arg(long, value_name = "NODE")]
    pub arbiter: Option<String>,
    /// A machine that decides after it, when it hands over; may be given again
    #[arg(long, value_name = "NODE")]
    pub standby: Vec<String>,
    /// Whoever is granted it needs no lease: for a machine that is reached by replication alone. If that machine dies, the
    /// job waits until it is cancelled or taken over
    #[arg(long)]
    pub held: bool,
    /// `exclusive`: never on two machines at once; `idempotent`: may start by itself while the machine that decides is away
    #[arg(long, value_name = "MODE", value_enum, default_value = "exclusive")]
    pub mode: ModeName,
    /// Keep it on this machine: no log, artifact or input leaves it
    #[arg(long)]
    pub private: bool,
    /// A file for the work tree, under its own name or as PATH
    #[arg(long = "input", value_name = "FILE[=PATH]")]
    pub inputs: Vec<String>,
    /// Keep the files that match; relative to the work tree
    #[arg(long = "artifact", value_name = "GLOB")]
    pub artifacts: Vec<String>,
    /// A read-only directory that the machine's configuration names
    #[arg(long = "dir", value_name = "NAME")]
    pub directories: Vec<String>,
    /// An idempotency key: submitting twice with it gives one job
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Set a variable of the job's environment
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    pub environment: Vec<(String, String)>,
    /// Caps on the run.
    #[command(flatten)]
    pub limits: LimitOptions,
    /// The queue
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// One line for people
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// More for people; with --context also what notes are found by
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Give the job notes of this node's vault that fit its title and description, in $RHIZOME_CONTEXT
    #[arg(long)]
    pub context: bool,
    /// A note that the job shall have; may be given again
    #[arg(long = "note", value_name = "NOTE")]
    pub notes: Vec<String>,
    /// What those notes may have in tokens; 4000 without
    #[arg(long, value_name = "COUNT")]
    pub context_tokens: Option<usize>,
    /// A label, for people and filters
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// Higher goes first
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// A way to run it; any of those named will do
    #[arg(long = "runner", value_name = "KIND", value_enum)]
    pub runners: Vec<RunnerName>,
    /// How often it may run before it counts as failed
    #[arg(long, value_name = "COUNT")]
    pub attempts: Option<u32>,
    /// Where another attempt is made: `any` machine, the `same-node`, or an `other-node`
    #[arg(long, value_name = "PLACE", value_enum)]
    pub retry_place: Option<PlaceName>,
    /// Wait before the second attempt; doubled for each further one
    #[arg(long, value_name = "TIME", value_parser = span_ms)]
    pub backoff: Option<u64>,
    /// Try again after this exit code alone; may be given again
    #[arg(long = "retry-on", value_name = "CODE")]
    pub retry_on: Vec<u8>,
    /// Give up when it has not started within this time
    #[arg(long, value_name = "TIME", value_parser = span_ms)]
    pub start_within: Option<u64>,
    /// An earlier job of yours that this one replaces
    #[arg(long, value_name = "JOB")]
    pub supersedes: Vec<String>,
    /// The ledger; the default one without
    #[arg(long, value_name = "RID")]
    pub ledger: Option<RepoId>,
}

/// What the work tree holds; nothing without a repository.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceOptions {
    /// A git repository on this machine, or a Radicle repository's id
    #[arg(long, value_name = "PATH|RID")]
    pub repo: Option<String>,
    /// A revision of it; HEAD without
    #[arg(long, value_name = "REV", requires = "repo")]
    pub commit: Option<String>,
    /// Changes that no commit holds: take them along, or with `--dirty=ignore` leave them out
    #[arg(long, value_name = "HOW", value_enum, requires = "repo", num_args = 0..=1, require_equals = true,
        default_missing_value = "snapshot")]
    pub dirty: Option<DirtyName>,
    /// Publish the repository privately to the ledger's members where it has no Radicle identity, without asking
    #[arg(long, requires = "repo")]
    pub publish: bool,
}

/// Whether a repository is published for a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublishChoice {
    /// A person is asked.
    Ask,
    /// It is, as was typed.
    Yes,
}

/// Caps on the run. Those named are strict: a machine that cannot enforce one refuses the job.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct LimitOptions {
    /// Cores, such as 2, 0.5 or 500m
    #[arg(long, value_name = "CORES", value_parser = cpu_milli, help_heading = "Limits (those named are strict)")]
    pub cpu: Option<u64>,
    /// Memory, such as 512M or 2G
    #[arg(long, value_name = "SIZE", value_parser = byte_count, help_heading = "Limits (those named are strict)")]
    pub memory: Option<u64>,
    /// Processes and threads
    #[arg(long, value_name = "COUNT", help_heading = "Limits (those named are strict)")]
    pub processes: Option<u64>,
    /// Work tree and temporary files together
    #[arg(long, value_name = "SIZE", value_parser = byte_count, help_heading = "Limits (those named are strict)")]
    pub disk: Option<u64>,
    /// Time from the first instruction, such as 90s or 10m
    #[arg(long, value_name = "TIME", value_parser = span_ms, help_heading = "Limits (those named are strict)")]
    pub wall: Option<u64>,
    /// Bytes of log; beyond it the run ends, or with `--best-effort log` the rest is dropped
    #[arg(long, value_name = "SIZE", value_parser = byte_count, help_heading = "Limits (those named are strict)")]
    pub log_limit: Option<u64>,
    /// Limits that a machine may leave unenforced
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        value_enum,
        help_heading = "Limits (those named are strict)"
    )]
    pub best_effort: Vec<LimitName>,
}

/// Which jobs are listed.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct ListOptions {
    /// Only those that stand here
    #[arg(long, value_enum)]
    pub status: Option<StatusName>,
    /// Only those that ended so
    #[arg(long, value_enum)]
    pub outcome: Option<OutcomeName>,
    /// Only those of this queue
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Only those of this node
    #[arg(long, value_name = "NODE")]
    pub author: Option<NodeId>,
    /// Those of this ledger; of the default one without
    #[arg(long, value_name = "RID")]
    pub ledger: Option<RepoId>,
    /// How many, 1 to 500
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: Option<u32>,
    /// From the page before
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

/// How much of a log is printed.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct LogsOptions {
    /// The job's id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
    /// Go on until the job ends
    #[arg(long, short)]
    pub follow: bool,
    /// Begin at this byte
    #[arg(long, value_name = "BYTE", default_value_t = 0)]
    pub offset: u64,
}

/// How a job is cancelled.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct CancelOptions {
    /// Its id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// To whom a job is handed over.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct HandoverOptions {
    /// The job's id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
    /// One of those that stand by for it; the next without
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
}

/// How a job is taken over.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct TakeoverOptions {
    /// The job's id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
    /// Who decides from now on; this machine without
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// The machine that decides now is dead; if it is not, the job may run twice at once
    #[arg(long)]
    pub dead: bool,
    /// The longest lease it may have granted; 10m without
    #[arg(long, value_name = "TIME", value_parser = span_ms)]
    pub lease: Option<u64>,
    /// The run that holds the job without a lease is dead as well
    #[arg(long)]
    pub abandon: bool,
    /// Why, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Which artifacts are fetched.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct ArtifactsOptions {
    /// The job's id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
    /// Fetch these; without any they are listed, or with --output all fetched
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Write what is fetched below this directory; here without
    #[arg(long, short, value_name = "DIRECTORY")]
    pub output: Option<PathBuf>,
}

/// How a run is given back.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct EvictOptions {
    /// The job's id, or the beginning of it
    #[arg(value_name = "JOB")]
    pub id: String,
    /// Time between the polite signal and the kill; 10s without
    #[arg(long, value_name = "TIME", value_parser = span_ms)]
    pub grace: Option<u64>,
}

macro_rules! typed {
    ($(#[$doc:meta])* $name:ident for $target:ty { $($variant:ident),* }) => {
        $(#[$doc])*
        #[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name { $($variant),* }

        impl From<$name> for $target {
            fn from(name: $name) -> Self {
                match name { $($name::$variant => Self::$variant),* }
            }
        }
    };
}

typed!(
    /// [`Mode`], as it is typed.
    ModeName for Mode { Exclusive, Idempotent }
);
typed!(
    /// [`RunnerKind`], as it is typed.
    RunnerName for RunnerKind { Sandbox, Container, Pod, Vm }
);
typed!(
    /// [`Dirty`], as it is typed.
    DirtyName for Dirty { Refuse, Snapshot, Ignore }
);
typed!(
    /// [`Status`], as it is typed.
    StatusName for Status { Queued, Granted, Provisional, Settled }
);
typed!(
    /// [`RetryPlace`], as it is typed.
    PlaceName for RetryPlace { Any, SameNode, OtherNode }
);
typed!(
    /// [`Outcome`], as it is typed.
    OutcomeName for Outcome { Succeeded, Failed, Cancelled, Expired, Lost, Superseded }
);
