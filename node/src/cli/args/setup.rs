//! The options of setting up: the home, the daemon, peers, tokens, the demo.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use cobs::id::RepoId;

use crate::cli::quantity::span_ms;
use crate::ops::Scope;
use crate::ops::types::{Arbiter, PeerGrant};

/// How `init` sets a machine up.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct InitOptions {
    /// What people call this machine; the host's name without
    #[arg(long, value_name = "NAME")]
    pub alias: Option<String>,
    /// What people call the ledger
    #[arg(long, value_name = "NAME")]
    pub ledger: Option<String>,
}

/// How the daemon differs from its configuration file.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct UpOptions {
    /// The Obsidian vault that is indexed: the folder that Obsidian opens
    #[arg(long, value_name = "PATH")]
    pub vault: Option<PathBuf>,
    /// Set a value of the configuration for this run, such as api.listen=127.0.0.1:0
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// How a pairing link is made.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct InviteOptions {
    /// What the other machine may do here, besides reading
    #[arg(long, value_delimiter = ',', value_name = "GRANT", value_enum)]
    pub grant: Vec<GrantName>,
    /// How long the link is good for; an hour without
    #[arg(long, value_name = "TIME", value_parser = span_ms)]
    pub expires: Option<u64>,
    /// The ledger; the default one without
    #[arg(long, value_name = "RID")]
    pub ledger: Option<RepoId>,
}

/// How a pairing link is used.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct JoinOptions {
    /// The link that `rhizome invite` printed
    #[arg(value_name = "LINK")]
    pub link: String,
    /// What the other machine may do here, besides reading
    #[arg(long, value_delimiter = ',', value_name = "GRANT", value_enum)]
    pub grant: Vec<GrantName>,
    /// What people call this machine, where it is set up by this
    #[arg(long, value_name = "NAME")]
    pub alias: Option<String>,
    /// Who decides about this machine's jobs: itself, or the inviter, which is always on; asked on a battery
    #[arg(long, value_name = "WHO", value_enum)]
    pub arbiter: Option<ArbiterName>,
}

/// Who decides about a joining machine's jobs, as it is typed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArbiterName {
    /// The machine itself
    Itself,
    /// The inviter, so that this machine may sleep
    Inviter,
}

impl From<ArbiterName> for Arbiter {
    fn from(name: ArbiterName) -> Self {
        match name {
            ArbiterName::Itself => Self::Unchanged,
            ArbiterName::Inviter => Self::Inviter,
        }
    }
}

/// What to do with peers.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum PeersVerb {
    /// List approved and pending peers with what each may do here
    List,
    /// Let a peer do more here
    Grant(GrantOptions),
    /// Let a peer do less here
    Revoke(GrantOptions),
    /// Remove a peer: its link is cut and it is granted no more jobs
    Remove {
        /// Its id or alias
        #[arg(value_name = "NODE")]
        peer: String,
    },
}

/// What a peer may do more or less.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct GrantOptions {
    /// Its id or alias
    #[arg(value_name = "NODE")]
    pub peer: String,
    /// What it may, or may no longer, do here
    #[arg(value_delimiter = ',', value_name = "GRANT", value_enum, required = true)]
    pub grants: Vec<GrantName>,
}

/// What a peer may do here, as it is typed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GrantName {
    /// Logs and artifacts
    Read,
    /// Its jobs may run here
    Submit,
    /// It may run ours
    Run,
    /// Its jobs may name us as arbiter, and ours may name it
    Arbitrate,
}

impl From<GrantName> for PeerGrant {
    fn from(name: GrantName) -> Self {
        match name {
            GrantName::Read => Self::Read,
            GrantName::Submit => Self::Submit,
            GrantName::Run => Self::Run,
            GrantName::Arbitrate => Self::Arbitrate,
        }
    }
}

/// What to do with tokens.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub enum TokenVerb {
    /// Make a token; it is shown this once
    Create {
        /// Its name; unique on the node
        #[arg(value_name = "NAME")]
        name: String,
        /// What it may do
        #[arg(long = "scope", value_delimiter = ',', value_name = "SCOPE", value_enum, required = true)]
        scopes: Vec<ScopeName>,
        /// How long it is good for; for ever without
        #[arg(long, value_name = "TIME", value_parser = span_ms)]
        expires: Option<u64>,
    },
    /// List tokens, without their secrets
    List,
    /// Make a token worthless
    Revoke {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// What a token may do, as it is typed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ScopeName {
    /// See jobs, logs and artifacts, and the whole of health
    #[value(name = "read:jobs")]
    ReadJobs,
    /// Submit, cancel, evict, upload inputs
    #[value(name = "write:jobs")]
    WriteJobs,
    /// Search the vault and read its notes
    #[value(name = "context:read")]
    ContextRead,
    /// Push documents, and change notes of the vault
    #[value(name = "context:write")]
    ContextWrite,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::ReadJobs => Self::ReadJobs,
            ScopeName::WriteJobs => Self::WriteJobs,
            ScopeName::ContextRead => Self::ContextRead,
            ScopeName::ContextWrite => Self::ContextWrite,
        }
    }
}

/// How much of the audit is listed.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditOptions {
    /// How many, 1 to 10000
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// What the demo shows.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub struct DemoOptions {
    /// The git repository that the job reads; the one around you without, or a small one
    #[arg(long, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// What the job runs
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `KEY=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("'{text}' is not of the form KEY=VALUE")),
    }
}
