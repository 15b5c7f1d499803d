//! Which jobs have a value that lists filter by, newest first. Where several values are asked for, it is gone from each to
//! the next place of another, so that a rare value costs as much as there are jobs with it, whatever it is asked with.

use std::ops::RangeInclusive;

use redb::{ReadableTable, Table, TableDefinition};

use super::{JobRow, outcome_code, status_code};
use crate::store::StoreError;

/// Ledger and value, then the place.
pub(super) const INDEX: TableDefinition<Key, ()> = TableDefinition::new("view-index-v1");
/// Most looks at the index for one page.
pub const LOOKS_MAX: usize = 4_000;

type Key = (&'static [u8], u64, [u8; 20]);

/// What jobs are found by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// That they are there.
    Any,
    /// Its code.
    Status(u8),
    /// Its code.
    Outcome(u8),
    Queue(&'a str),
    Author([u8; 32]),
}

impl<'a> Value<'a> {
    /// All values of a job.
    pub fn all_of(row: &'a JobRow) -> [Self; 5] {
        let (status, outcome) = (status_code(row.status), outcome_code(row.outcome));
        let author = row.author.into_inner();
        [Self::Any, Self::Status(status), Self::Outcome(outcome), Self::Queue(&row.queue), Self::Author(author)]
    }

    /// The first part of its keys.
    pub fn key(self, ledger: [u8; 20]) -> Vec<u8> {
        let mut key = ledger.to_vec();
        match self {
            Self::Any => {}
            Self::Status(code) => key.extend([b's', code]),
            Self::Outcome(code) => key.extend([b'o', code]),
            Self::Queue(queue) => key.extend([b"q", queue.as_bytes()].concat()),
            Self::Author(author) => key.extend([b"a".as_slice(), &author].concat()),
        }
        key
    }
}

/// A place in the order of all lists: inverted creation time, job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place(pub u64, pub [u8; 20]);

impl Place {
    pub const FIRST: Self = Self(0, [0; 20]);

    /// The one after it; none after the last.
    pub fn next(self) -> Option<Self> {
        let mut job = self.1;
        for byte in job.iter_mut().rev() {
            let (more, over) = byte.overflowing_add(1);
            *byte = more;
            if !over {
                return Some(Self(self.0, job));
            }
        }
        Some(Self(self.0.checked_add(1)?, job))
    }

    /// The one before it; the first is before itself.
    pub fn before(self) -> Self {
        let mut job = self.1;
        for byte in job.iter_mut().rev() {
            let (less, under) = byte.overflowing_sub(1);
            *byte = less;
            if !under {
                return Self(self.0, job);
            }
        }
        self.0.checked_sub(1).map_or(Self::FIRST, |age| Self(age, job))
    }
}

/// Where a job with all values is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Here.
    At(Place),
    /// Nowhere.
    Nothing,
    /// Not before this place; [`LOOKS_MAX`] were not enough to say more.
    NotBefore(Place),
}

/// A search for jobs that have one value of each set.
pub(super) struct Search<T> {
    index: T,
    sets: Vec<Vec<Vec<u8>>>,
    looks: usize,
}

impl<T: ReadableTable<Key, ()>> Search<T> {
    /// Keys of values, as [`Value::key`] gives them.
    pub fn new(index: T, sets: Vec<Vec<Vec<u8>>>) -> Self {
        Self { index, sets, looks: 0 }
    }

    /// The first place from `at` on.
    pub fn from(&mut self, mut at: Place) -> Result<Found, StoreError> {
        loop {
            let mut first = None;
            for set in &self.sets {
                if self.looks >= LOOKS_MAX {
                    return Ok(Found::NotBefore(at));
                }
                self.looks += set.len();
                // each begins where the one before it ended, so the last is where all are, or none is before it
                let Some(next) = next(&self.index, set, at)? else { return Ok(Found::Nothing) };
                at = next;
                first.get_or_insert(next);
            }
            if first == Some(at) {
                return Ok(Found::At(at));
            }
        }
    }
}

fn next(index: &impl ReadableTable<Key, ()>, set: &[Vec<u8>], at: Place) -> Result<Option<Place>, StoreError> {
    let mut first: Option<Place> = None;
    for value in set {
        let Some(entry) = index.range::<(&[u8], u64, [u8; 20])>(range(value, at))?.next() else { continue };
        let (key, _) = entry?;
        let (_, age, job) = key.value();
        let place = Place(age, job);
        if first.is_none_or(|first| place < first) {
            first = Some(place);
        }
    }
    Ok(first)
}

/// All keys of a value from a place on.
pub(super) fn range(value: &[u8], from: Place) -> RangeInclusive<(&[u8], u64, [u8; 20])> {
    (value, from.0, from.1)..=(value, u64::MAX, [0xff; 20])
}

/// Adds a job, or takes it away.
pub(super) fn change(index: &mut Table<'_, Key, ()>, row: &JobRow, add: bool) -> Result<(), StoreError> {
    let (ledger, id) = (super::ledger_bytes(row.ledger), super::job_bytes(row.id));
    for value in Value::all_of(row) {
        let value = value.key(ledger);
        let key = (value.as_slice(), !row.created.0, id);
        if add {
            index.insert(key, ())?;
        } else {
            index.remove(key)?;
        }
    }
    Ok(())
}
