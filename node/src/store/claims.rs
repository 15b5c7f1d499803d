//! What this node has promised about runs: a token starts at most once, some terms are never confirmed, and no other is
//! before it is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use cobs::id::{JobId, Token};
use redb::{ReadableTable, TableDefinition};
use scheduler::fault;
use scheduler::machine::Note;

use super::state::State;
use super::{StoreError, UnixMs, view};

/// Job, epoch and term; ordered as tokens are.
type ClaimKey = ([u8; 20], u32, u32);

/// A run that was started here, to when.
pub(super) const STARTS: TableDefinition<ClaimKey, u64> = TableDefinition::new("starts-v1");
/// A leased term that this node as arbiter replaced before confirming it.
pub(super) const NEVER_CONFIRM: TableDefinition<ClaimKey, ()> = TableDefinition::new("never-confirm-v1");

/// A leased term that this node as arbiter may have confirmed.
pub(super) const CONFIRMED: TableDefinition<ClaimKey, ()> = TableDefinition::new("confirmed-v1");

const NOTES: [Note; 2] = [Note::NeverConfirm, Note::Confirmed];

/// What came of recording a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The run may start.
    First,
    /// The token was started before, here and at this time: it must not start again.
    Again(UnixMs),
}

impl State {
    /// Records that `token` starts, on disk before the run may. After an error it may have been recorded, and must
    /// not start.
    pub fn record_start(&self, job: JobId, token: Token, now: UnixMs) -> Result<Start, StoreError> {
        fault::pass("start.asked");
        let recorded = self.write(|txn| {
            let mut table = txn.open_table(STARTS)?;
            let before = table.get(key(job, token))?.map(|at| UnixMs(at.value()));
            if let Some(at) = before {
                return Ok(Start::Again(at));
            }
            table.insert(key(job, token), now.0)?;
            Ok(Start::First)
        });
        fault::pass("start.recorded");
        recorded
    }

    /// All starts recorded, by job and token.
    pub fn starts(&self) -> Result<BTreeMap<(JobId, Token), UnixMs>, StoreError> {
        self.read(|txn| {
            let mut starts = BTreeMap::new();
            for entry in txn.open_table(STARTS)?.iter()? {
                let (key, at) = entry?;
                starts.insert(claim(key.value()), UnixMs(at.value()));
            }
            Ok(starts)
        })
    }

    /// Jobs that anything is kept of here.
    pub fn claimed_jobs(&self) -> Result<BTreeSet<JobId>, StoreError> {
        self.read(|txn| {
            let mut jobs = BTreeSet::new();
            for entry in txn.open_table(STARTS)?.iter()? {
                jobs.insert(claim(entry?.0.value()).0);
            }
            for note in NOTES {
                for entry in txn.open_table(table(note))?.iter()? {
                    jobs.insert(claim(entry?.0.value()).0);
                }
            }
            Ok(jobs)
        })
    }

    /// Forgets what was kept of jobs that are over. A power cut may bring it back.
    pub fn forget_claims(&self, jobs: &BTreeSet<JobId>) -> Result<(), StoreError> {
        self.write_soon(|txn| {
            for job in jobs {
                txn.open_table(STARTS)?.retain_in(of(*job), |_, _| false)?;
                for note in NOTES {
                    txn.open_table(table(note))?.retain_in(of(*job), |_, ()| false)?;
                }
            }
            Ok(())
        })
    }

    /// Notes something about `token`, on disk when this returns: before another term is granted, or this one confirmed.
    pub fn note(&self, job: JobId, token: Token, note: Note) -> Result<(), StoreError> {
        fault::pass("note.asked");
        self.write(|txn| {
            txn.open_table(table(note))?.insert(key(job, token), ())?;
            Ok(())
        })?;
        fault::pass("note.written");
        Ok(())
    }

    /// What is noted about the tokens of one job.
    pub fn notes_of(&self, job: JobId) -> Result<BTreeSet<(Note, Token)>, StoreError> {
        self.read(|txn| {
            let mut notes = BTreeSet::new();
            for note in NOTES {
                for entry in txn.open_table(table(note))?.range(of(job))? {
                    notes.insert((note, claim(entry?.0.value()).1));
                }
            }
            Ok(notes)
        })
    }
}

fn table(note: Note) -> TableDefinition<'static, ClaimKey, ()> {
    match note {
        Note::NeverConfirm => NEVER_CONFIRM,
        Note::Confirmed => CONFIRMED,
    }
}

/// All keys of a job.
fn of(job: JobId) -> RangeInclusive<ClaimKey> {
    key(job, Token::new(0, 0))..=key(job, Token::new(u32::MAX, u32::MAX))
}

fn key(job: JobId, token: Token) -> ClaimKey {
    (view::job_bytes(job), token.epoch.0, token.term.0)
}

fn claim((job, epoch, term): ClaimKey) -> (JobId, Token) {
    (view::job_id(job), Token::new(epoch, term))
}
