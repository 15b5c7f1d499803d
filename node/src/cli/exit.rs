//! The one place that turns an error into an exit code and into what a person or a program reads of it.

use std::io::{self, Write};

use serde::Serialize;

use super::output::Format;
use crate::ops::error::{Code, Error};

/// What `sysexits.h` calls a wrong command line.
pub const USAGE: u8 = 64;
/// A job was left before its end: as a shell tells of a process that SIGINT ended.
pub const LEFT: u8 = 130;
/// Nobody reads what we print: as a shell tells of a process that SIGPIPE ended.
const UNREAD: u8 = 141;
/// What `sysexits.h` calls a failed read or write.
const IO: u8 = 74;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The operation was refused or failed.
    #[error("{error}")]
    Refused {
        /// Why.
        error: Error,
        /// The request's id in the daemon's log.
        correlation: Option<String>,
    },
    /// What it has to say cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

/// An error of our own with `--json`. Wire form.
#[derive(Serialize)]
struct Printed {
    error: PrintedError,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrintedError {
    code: Code,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    exit_code: u8,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused { error, correlation: None }
    }
}

impl Failure {
    /// The stable word of it; none when the output failed.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { error, .. } => Some(error.code),
            Self::Output(_) => None,
        }
    }

    /// Tells it where a person or a program looks for it, and gives the exit code. Errors of the telling itself have
    /// nowhere to go.
    pub fn report(&self, format: Format) -> u8 {
        let (error, correlation) = match self {
            Self::Refused { error, correlation } => (error, correlation),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return UNREAD,
            Self::Output(error) => {
                eprintln!("error: cannot write the output: {error}");
                return IO;
            }
        };
        let exit_code = exit_code(error.code);
        if format == Format::Json {
            let Error { code, detail, hint, retry_after_ms } = error.clone();
            let hint = hint.or_else(|| Some(code.next_step().to_owned()));
            let correlation_id = correlation.clone();
            let error = PrintedError { code, detail, hint, retry_after_ms, correlation_id, exit_code };
            let printed = serde_json::to_string(&Printed { error }).expect("it holds only strings and numbers");
            // nobody to tell when nobody reads
            return writeln!(io::stdout(), "{printed}").map_or(exit_code, |()| exit_code);
        }
        eprintln!("error: {error}");
        if error.code == Code::Internal
            && let Some(id) = correlation
        {
            eprintln!("why: the daemon's log tells, under {} {id}", error.code.word());
        }
        eprintln!("hint: {}", error.hint.as_deref().unwrap_or(error.code.next_step()));
        exit_code
    }
}

/// The exit code of an error, as `sysexits.h` names them.
pub fn exit_code(code: Code) -> u8 {
    match code {
        Code::BadRequest | Code::Ambiguous => USAGE,
        Code::DirtyTree
        | Code::NotPublished
        | Code::Infeasible
        | Code::PathEscapes
        | Code::IdempotencyConflict
        | Code::Conflict
        | Code::TooLarge => 65,
        Code::NotFound | Code::RepositoryNotFound | Code::CommitNotFound | Code::Gone => 66,
        Code::PeerUnreachable | Code::NoDaemon => 69,
        Code::Internal => 70,
        Code::AlreadyRunning | Code::PortInUse => 73,
        Code::StateCorrupt | Code::Storage | Code::Unconfirmed => IO,
        Code::RateLimited | Code::LedgerFull | Code::Busy => 75,
        Code::WrongTransportKey => 76,
        Code::Unauthorized
        | Code::Forbidden
        | Code::RepositoryUnreadable
        | Code::InvitationUsed
        | Code::InvitationExpired
        | Code::NotDelegate
        | Code::Locked => 77,
        Code::NoLedger | Code::RestoredHome | Code::NewerVersion | Code::Config | Code::NoVault => 78,
    }
}
