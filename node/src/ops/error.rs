//! The one error of all operations: what, why, what next. One place turns it into HTTP, one into an exit code.

use serde::{Deserialize, Serialize};

use super::Scope;

/// What went wrong, as a stable word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request itself is wrong.
    BadRequest,
    /// No or a wrong token.
    Unauthorized,
    /// A token without the scope, or an operation for the owner alone.
    Forbidden,
    /// There is no such thing here.
    NotFound,
    /// A prefix that fits several jobs.
    Ambiguous,
    /// The repository is not on this node.
    RepositoryNotFound,
    /// The repository may not be read.
    RepositoryUnreadable,
    /// The commit is not in the repository.
    CommitNotFound,
    /// The work tree has changes that no commit holds.
    DirtyTree,
    /// The repository has no Radicle identity, and publishing it was not asked for.
    NotPublished,
    /// No node that may run it can.
    Infeasible,
    /// An artifact pattern or path leaves the work tree.
    PathEscapes,
    /// The idempotency key was used with another request.
    IdempotencyConflict,
    /// A body or a field is over its limit.
    TooLarge,
    /// Too many calls.
    RateLimited,
    /// The link of an invitation was used before.
    InvitationUsed,
    /// The link of an invitation came too late.
    InvitationExpired,
    /// The other side presented another transport key.
    WrongTransportKey,
    /// The peer cannot be reached now.
    PeerUnreachable,
    /// No ledger is set up here.
    NoLedger,
    /// A peer holds newer operations of this node than its home does.
    RestoredHome,
    /// Only a delegate of the ledger may do it.
    NotDelegate,
    /// Too many unfinished jobs of this node.
    LedgerFull,
    /// A queue is full; try again.
    Busy,
    /// No daemon answers.
    NoDaemon,
    /// Another daemon runs on this home.
    AlreadyRunning,
    /// A port is in use.
    PortInUse,
    /// The home was written by a newer version.
    NewerVersion,
    /// The home's state cannot be read.
    StateCorrupt,
    /// The configuration is wrong.
    Config,
    /// The disk is full, or storage failed.
    Storage,
    /// It is stored, and whether it will count is not known yet.
    Unconfirmed,
    /// The key is locked, or its passphrase is wrong.
    Locked,
    /// The artifact or log is not available any more.
    Gone,
    /// Somebody else has changed it meanwhile.
    Conflict,
    /// There is nothing to search.
    NoVault,
    /// Our own fault.
    Internal,
}

impl Code {
    /// As it stands on the wire.
    pub fn word(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(word)) => word,
            Ok(_) | Err(_) => String::from("internal"),
        }
    }

    /// What to do next where an error says nothing of its own.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::BadRequest | Self::Ambiguous => {
                "correct the request; rhizome --help and the README say what it may be"
            }
            Self::Unauthorized | Self::Forbidden | Self::NotDelegate => "ask the operator of that node to allow it",
            Self::NotFound | Self::RepositoryNotFound | Self::CommitNotFound => "look for what is there, and name that",
            Self::RepositoryUnreadable => "ask a delegate of the repository to allow this node",
            Self::DirtyTree | Self::NotPublished => "commit or publish it first",
            Self::Infeasible => "loosen what the job asks for",
            Self::PathEscapes => "give a path below the work tree",
            Self::IdempotencyConflict => "use a new key for a new request",
            Self::TooLarge => "send less, or upload it as an input",
            Self::RateLimited | Self::LedgerFull | Self::Busy => "try again later",
            Self::InvitationUsed | Self::InvitationExpired => "ask the inviter for a new one: rhizome invite",
            Self::WrongTransportKey => "ask its operator who answers there",
            Self::PeerUnreachable => "see which peers are connected: rhizome peers",
            Self::NoLedger => "make one with: rhizome init; or join one with: rhizome join LINK",
            Self::RestoredHome => "take back what peers hold of this node: rhizome recover",
            Self::NoDaemon => "start it with: rhizome up",
            Self::AlreadyRunning => "look at it with: rhizome status",
            Self::PortInUse => "stop the program that has it, or choose another port",
            Self::NewerVersion => "run the newer rhizome that wrote it",
            Self::StateCorrupt => "bring the file back from a copy of this very disk",
            Self::Config => "correct the configuration, and try again",
            Self::Storage => "look at the disk of this node",
            Self::Unconfirmed => {
                "look at the disk of this node; once it can be written, rhizome job list shows the job"
            }
            Self::Locked => "give the passphrase in RAD_PASSPHRASE, or on a terminal",
            Self::Gone => "it was not kept; run the job again",
            Self::Conflict => "read it again, and repeat the change",
            Self::NoVault => "start the node with one: rhizome up --vault PATH",
            Self::Internal => "look into the daemon's log, and report it",
        }
    }
}

/// An error of an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The stable word.
    pub code: Code,
    /// What went wrong and why.
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// An error without a hint.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), hint: None, retry_after_ms: None }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, span: u64) -> Self {
        self.retry_after_ms = Some(span);
        self
    }

    /// A token without the scope.
    pub fn forbidden(scope: Scope) -> Self {
        Self::new(Code::Forbidden, format!("the token lacks the scope {scope}"))
            .hint(format!("make one with: rhizome token create NAME --scope {scope}"))
    }

    /// No or a wrong token.
    pub fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "no valid token was given")
            .hint("send 'authorization: Bearer TOKEN'; make a token with: rhizome token create NAME")
    }

    /// For the unix socket alone.
    pub fn owner_only() -> Self {
        Self::new(Code::Forbidden, "only the owner of the node may do this")
            .hint("use the rhizome command on the node's machine")
    }
}
