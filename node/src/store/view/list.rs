//! Lists of jobs: newest first, filtered, page by page. Summaries are spliced as bytes, never decoded.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use cobs::id::{JobId, NodeId, RepoId};
use cobs::job::outcome::Outcome;
use cobs::job::state::Status;

use super::index::{Found, INDEX, Place, Search, Value};
use super::{SUMMARIES, View, job_bytes, job_id, ledger_bytes, outcome_code, status_code};
use crate::store::{StoreError, UnixMs};

pub use super::index::LOOKS_MAX;

/// Most jobs on a page.
pub const PAGE_MAX: usize = 1_000;

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
    /// Where to go on; none at the end. A page that ends early for [`LOOKS_MAX`] has one too.
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

impl Cursor {
    fn place(self) -> Place {
        Place(!self.created.0, job_bytes(self.job))
    }

    fn at(Place(age, job): Place) -> Self {
        Self { created: UnixMs(!age), job: job_id(job) }
    }
}

impl Query {
    /// The keys of what is asked for, a set for each filter.
    fn sets(&self) -> Vec<Vec<Vec<u8>>> {
        let ledger = ledger_bytes(self.ledger);
        let status = self.status.iter().map(|status| Value::Status(status_code(*status)));
        let outcome = self.outcome.iter().map(|outcome| Value::Outcome(outcome_code(Some(*outcome))));
        let queue = self.queue.iter().map(|queue| Value::Queue(queue));
        let author = self.author.iter().map(|author| Value::Author(author.into_inner()));
        let sets: [Vec<Value<'_>>; 4] = [status.collect(), outcome.collect(), queue.collect(), author.collect()];
        let mut sets: Vec<_> = sets.into_iter().filter(|set| !set.is_empty()).collect();
        if sets.is_empty() {
            sets.push(vec![Value::Any]);
        }
        sets.into_iter().map(|set| set.into_iter().map(|value| value.key(ledger)).collect()).collect()
    }
}

impl View {
    /// A page of jobs, newest first.
    pub fn list(&self, query: &Query) -> Result<Page, StoreError> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        self.handle.read(|txn| {
            let summaries = txn.open_table(SUMMARIES)?;
            let mut search = Search::new(txn.open_table(INDEX)?, query.sets());
            let mut page = Page { json: vec![b'['], count: 0, next: None };
            let mut last = query.after;
            let mut from = query.after.map_or(Some(Place::FIRST), |after| after.place().next());
            while let Some(at) = from {
                let place = match search.from(at)? {
                    Found::At(place) => place,
                    Found::Nothing => break,
                    Found::NotBefore(place) => {
                        page.next = Some(Cursor::at(place.before()));
                        break;
                    }
                };
                if page.count == limit {
                    page.next = last;
                    break;
                }
                (last, from) = (Some(Cursor::at(place)), place.next());
                let Some(summary) = summaries.get(place.1)? else { continue };
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
