//! What is noted of every operation: a count and its time, and of those that change something who asked for what.

use std::sync::Arc;
use std::time::Instant;

use super::Caller;
use super::error::{Code, Error};
use super::jobs::storage;
use super::types::{AuditEntry, AuditQuery};
use crate::clock::{rfc3339, unix_now};
use crate::node::Node;
use crate::store::audit::{ENTRIES_MAX, Entry};

/// Records that are listed without a wish.
const LISTED: u32 = 100;
/// Of an operation whose caller hung up before its end.
const ABANDONED: &str = "abandoned";

/// An operation under way. One that is dropped before its end is noted as abandoned: what it began may have happened.
pub(crate) struct Record<'a> {
    node: &'a Arc<Node>,
    operation: &'static str,
    caller: &'a Caller,
    kind: Kind,
    began: Instant,
    ended: bool,
}

/// Whether an operation is kept in the audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It only looks.
    Read,
    /// It changes something.
    Change,
}

impl<'a> Record<'a> {
    pub(crate) fn begin(node: &'a Arc<Node>, operation: &'static str, caller: &'a Caller, kind: Kind) -> Self {
        Self { node, operation, caller, kind, began: Instant::now(), ended: false }
    }

    /// Notes the end of an operation that only looks.
    pub(crate) fn looked(mut self, error: Option<Code>) {
        self.ended = true;
        self.count(&word(error));
    }

    /// Notes the end of an operation that changes something, and waits until the record is there.
    pub(crate) async fn changed(mut self, result: Result<String, Code>) {
        self.ended = true;
        let (subject, result) = match result {
            Ok(subject) => (Some(subject), word(None)),
            Err(code) => (None, word(Some(code))),
        };
        self.count(&result);
        // nobody in particular could push out what others did
        if *self.caller == Caller::Anonymous {
            return;
        }
        let (node, entry) = (Arc::clone(self.node), self.entry(subject, result));
        // the operation itself has its end already
        tokio::task::spawn_blocking(move || node.keep_record(&entry)).await.ok();
    }

    fn count(&self, result: &str) {
        let labels = [("operation", self.operation.to_owned()), ("result", result.to_owned())];
        metrics::counter!("rhizome_operations_total", &labels).increment(1);
        metrics::histogram!("rhizome_operation_seconds", "operation" => self.operation)
            .record(self.began.elapsed().as_secs_f64());
    }

    fn entry(&self, subject: Option<String>, result: String) -> Entry {
        let (caller, operation) = (self.caller.name().to_owned(), self.operation.to_owned());
        Entry { at: unix_now(), caller, operation, subject, result }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.count(ABANDONED);
        if self.kind == Kind::Change && *self.caller != Caller::Anonymous {
            let entry = self.entry(None, ABANDONED.to_owned());
            self.node.block(move |node| node.keep_record(&entry));
        }
    }
}

/// How an operation that only looks ended.
pub(crate) trait Ended {
    /// The code of its error.
    fn error(&self) -> Option<Code>;
}

impl<T> Ended for Result<T, Error> {
    fn error(&self) -> Option<Code> {
        self.as_ref().err().map(|error| error.code)
    }
}

impl Ended for super::types::Health {
    fn error(&self) -> Option<Code> {
        None
    }
}

fn word(error: Option<Code>) -> String {
    error.map_or_else(|| "ok".to_owned(), Code::word)
}

impl Node {
    /// The newest records of the audit, newest first.
    ///
    /// # Errors
    /// For anyone but the owner, or when the state cannot be read.
    pub async fn audit(self: &Arc<Self>, caller: &Caller, query: AuditQuery) -> Result<Vec<AuditEntry>, Error> {
        caller.require_owner()?;
        let limit = query.limit.unwrap_or(LISTED);
        if !(1..=ENTRIES_MAX).contains(&u64::from(limit)) {
            return Err(Error::new(Code::BadRequest, format!("limit is {limit}; it is 1 to {ENTRIES_MAX}")));
        }
        let node = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || node.state.records(limit as usize)).await;
        let entries = read.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        let shown = |entry: Entry| AuditEntry {
            at: rfc3339(entry.at),
            caller: entry.caller,
            operation: entry.operation,
            subject: entry.subject,
            result: entry.result,
        };
        Ok(entries.map_err(|error| storage(&error))?.into_iter().map(shown).collect())
    }

    fn keep_record(&self, entry: &Entry) {
        if let Err(error) = self.state.record(entry) {
            tracing::error!(%error, ?entry, "an operation is not in the audit");
        }
    }
}
