//! Lists of jobs: newest first, filtered, page by page. Summaries are spliced as bytes, never decoded.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use cobs::id::{JobId, NodeId, RepoId};
use cobs::job::outcome::Outcome;
use cobs::job::state::Status;

use super::{BY_AGE, SUMMARIES, View, job_bytes, job_id, ledger_bytes, outcome_code, status_code};
use crate::store::{StoreError, UnixMs};

/// Most jobs on a page.
pub const PAGE_MAX: usize = 1_000;
/// Most rows looked at for one page; a rarer match is found on a later page.
pub const SCAN_ROWS_MAX: usize = 20_000;

/// What is asked for. Empty sets and nothing filter nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The ledger.
    pub ledger: RepoId,
    /// Only jobs with one of these.
    pub status: BTreeSet<Status>,
    /// Only jobs that ended so.
    pub outcome: BTreeSet<Outcome>,
    /// Only jobs of this queue.
    pub queue: Option<String>,
    /// Only jobs by this node.
    pub author: Option<NodeId>,
    /// Only jobs after this one.
    pub after: Option<Cursor>,
    /// Jobs on the page, 1 to [`PAGE_MAX`].
    pub limit: usize,
}

/// A place in a list: the job that a page ended with. Jobs that arrive later do not move it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    created: UnixMs,
    job: JobId,
}

/// The text is no cursor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no cursor; use one that a page gave as its next")]
pub struct CursorError(String);

/// A page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// A JSON array of the summaries.
    pub json: Vec<u8>,
    /// How many it holds.
    pub count: usize,
    /// Where to go on; none at the end. A page that ends early for [`SCAN_ROWS_MAX`] has one too.
    pub next: Option<Cursor>,
}

impl Query {
    /// The first page of `limit` jobs of a ledger, unfiltered.
    pub fn newest(ledger: RepoId, limit: usize) -> Self {
        Self {
            ledger,
            status: BTreeSet::new(),
            outcome: BTreeSet::new(),
            queue: None,
            author: None,
            after: None,
            limit,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.created.0, self.job)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CursorError(text.chars().take(80).collect());
        let (created, job) = text.split_once('-').ok_or_else(error)?;
        let created = u64::from_str_radix(created, 16).map_err(|_| error())?;
        Ok(Self { created: UnixMs(created), job: job.parse().map_err(|_| error())? })
    }
}

impl View {
    /// A page of jobs, newest first.
    pub fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let ledger = ledger_bytes(query.ledger);
        let limit = query.limit.clamp(1, PAGE_MAX);
        let status: BTreeSet<u8> = query.status.iter().copied().map(status_code).collect();
        let outcome: BTreeSet<u8> = query.outcome.iter().copied().map(|outcome| outcome_code(Some(outcome))).collect();
        let author = query.author.map(NodeId::into_inner);
        let from = query.after.map_or((ledger, 0, [0; 20]), |at| (ledger, !at.created.0, job_bytes(at.job)));
        self.handle.read(|txn| {
            let summaries = txn.open_table(SUMMARIES)?;
            let by_age = txn.open_table(BY_AGE)?;
            let mut page = Page { json: vec![b'['], count: 0, next: None };
            let mut last = None;
            for (scanned, entry) in by_age.range(from..=(ledger, u64::MAX, [0xff; 20]))?.enumerate() {
                let (key, value) = entry?;
                let (_, age, id) = key.value();
                let here = Cursor { created: UnixMs(!age), job: job_id(id) };
                if query.after == Some(here) {
                    continue;
                }
                if page.count == limit || scanned >= SCAN_ROWS_MAX {
                    page.next = last;
                    break;
                }
                last = Some(here);
                let (its_status, its_outcome, its_author, its_queue) = value.value();
                let matches = (status.is_empty() || status.contains(&its_status))
                    && (outcome.is_empty() || outcome.contains(&its_outcome))
                    && author.is_none_or(|author| author == its_author)
                    && query.queue.as_deref().is_none_or(|queue| queue == its_queue);
                if !matches {
                    continue;
                }
                let Some(summary) = summaries.get(id)? else { continue };
                if page.count > 0 {
                    page.json.push(b',');
                }
                page.json.extend_from_slice(summary.value());
                page.count += 1;
            }
            page.json.push(b']');
            Ok(page)
        })
    }
}
