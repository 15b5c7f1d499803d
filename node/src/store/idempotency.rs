//! Idempotency keys: submitting twice with one key gives one job, also when the two race or the daemon dies between.
//!
//! The nonce of the job's root is chosen before, and kept with the reservation. So whoever finds a reservation of an
//! earlier incarnation looks in the ledger for its own job with that nonce, and submits again with it if there is none.

use std::fmt;
use std::str::FromStr;

use cobs::digest::Digest;
use cobs::id::JobId;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::state::{Incarnation, State};
use super::tokens::TokenName;
use super::{StoreError, UnixMs, decode, encode};

/// Token name and key to JSON of [`Row`].
pub(super) const KEYS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("idempotency-keys-v1");

/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 255;
/// Most keys kept.
pub const KEYS_MAX: u64 = 1_000_000;
/// How long a key is kept after its job has ended, in milliseconds: 24 hours.
pub const KEY_KEEP_MS: u64 = 24 * 60 * 60 * 1000;

/// A client's key: 1 to [`KEY_BYTES_MAX`] visible ASCII characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IdempotencyKey(String);

/// The text is no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an idempotency key is 1 to {KEY_BYTES_MAX} visible ASCII characters")]
pub struct IdempotencyKeyError;

/// Whose key it is. Two tokens may use the same text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScopedKey {
    /// The token; [`TokenName::node`] on the unix socket.
    pub token: TokenName,
    /// The key.
    pub key: IdempotencyKey,
}

/// What is submitted under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Digest of the request's content.
    pub digest: Digest,
    /// The nonce that the job's root will have if the key is new.
    pub nonce: String,
}

/// What came of reserving a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reservation {
    /// The caller submits with its own nonce, then calls `finish_key` or `release_key`.
    New,
    /// As [`Self::New`], but an earlier incarnation may have submitted: look for the job with this nonce first, and
    /// submit with this nonce if there is none. Only one caller is told so.
    Interrupted {
        /// The nonce reserved then.
        nonce: String,
    },
    /// Another caller of this incarnation is submitting.
    InFlight,
    /// This job came of it.
    Done(JobId),
    /// The key was used for other content.
    Conflict,
}

#[derive(Serialize, Deserialize)]
struct Row {
    request: Digest,
    nonce: String,
    reserved: UnixMs,
    stage: Stage,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "camelCase")]
enum Stage {
    InFlight { incarnation: Incarnation },
    Done { job: JobId },
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(IdempotencyKeyError)
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ScopedKey {
    fn parts(&self) -> (&str, &str) {
        (self.token.as_str(), &self.key.0)
    }
}

impl State {
    /// Reserves a key, durably before the caller writes anything to the ledger. Of racing callers exactly one is told
    /// [`Reservation::New`].
    pub fn reserve_key(&self, key: &ScopedKey, request: &Request, now: UnixMs) -> Result<Reservation, StoreError> {
        let ours = self.incarnation();
        // Answered without a write where it can be: a retry loop costs no sync.
        let known = self.read(|txn| Ok(txn.open_table(KEYS)?.get(key.parts())?.map(|row| row.value().to_vec())))?;
        if let Some(bytes) = known
            && let Some(answer) = answer(&decode("idempotency keys", &bytes)?, request, ours)
        {
            return Ok(answer);
        }
        self.write(|txn| {
            let mut table = txn.open_table(KEYS)?;
            let known: Option<Row> =
                table.get(key.parts())?.map(|row| decode("idempotency keys", row.value())).transpose()?;
            let stage = Stage::InFlight { incarnation: ours };
            let Some(row) = known else {
                if table.len()? >= KEYS_MAX {
                    return Err(StoreError::Full { what: "idempotency keys", limit: KEYS_MAX });
                }
                let row = Row { request: request.digest, nonce: request.nonce.clone(), reserved: now, stage };
                table.insert(key.parts(), encode(&row).as_slice())?;
                return Ok(Reservation::New);
            };
            if let Some(answer) = answer(&row, request, ours) {
                return Ok(answer);
            }
            let nonce = row.nonce.clone();
            table.insert(key.parts(), encode(&Row { stage, ..row }).as_slice())?;
            Ok(Reservation::Interrupted { nonce })
        })
    }

    /// The job of a reserved key. Need not reach the disk: losing it reads as interrupted, which finds the job.
    pub fn finish_key(&self, key: &ScopedKey, job: JobId) -> Result<(), StoreError> {
        self.write_soon(|txn| {
            let mut table = txn.open_table(KEYS)?;
            let known: Option<Row> =
                table.get(key.parts())?.map(|row| decode("idempotency keys", row.value())).transpose()?;
            let Some(row) = known else { return Ok(()) };
            table.insert(key.parts(), encode(&Row { stage: Stage::Done { job }, ..row }).as_slice())?;
            Ok(())
        })
    }

    /// Gives a reserved key back because nothing was submitted. Never call it when the job may have been written.
    pub fn release_key(&self, key: &ScopedKey) -> Result<(), StoreError> {
        self.write_soon(|txn| {
            txn.open_table(KEYS)?.remove(key.parts())?;
            Ok(())
        })
    }

    /// Drops the keys whose job ended [`KEY_KEEP_MS`] ago, by `ended`, and those that an earlier incarnation left in
    /// flight that long ago. Gives how many.
    pub fn sweep_keys(&self, now: UnixMs, mut ended: impl FnMut(JobId) -> Option<UnixMs>) -> Result<u64, StoreError> {
        let ours = self.incarnation();
        self.write_soon(|txn| {
            let mut table = txn.open_table(KEYS)?;
            let mut stale = Vec::new();
            for entry in table.iter()? {
                let (key, row) = entry?;
                let row: Row = decode("idempotency keys", row.value())?;
                let since = match row.stage {
                    Stage::Done { job } => ended(job),
                    Stage::InFlight { incarnation } if incarnation == ours => None,
                    Stage::InFlight { .. } => Some(row.reserved),
                };
                if since.is_some_and(|since| since.plus_ms(KEY_KEEP_MS) <= now) {
                    let (token, key) = key.value();
                    stale.push((token.to_owned(), key.to_owned()));
                }
            }
            for (token, key) in &stale {
                table.remove((token.as_str(), key.as_str()))?;
            }
            Ok(stale.len() as u64)
        })
    }
}

/// What a known key answers without being written; none when it is to be taken over.
fn answer(row: &Row, request: &Request, ours: Incarnation) -> Option<Reservation> {
    if row.request != request.digest {
        return Some(Reservation::Conflict);
    }
    match row.stage {
        Stage::Done { job } => Some(Reservation::Done(job)),
        Stage::InFlight { incarnation } if incarnation == ours => Some(Reservation::InFlight),
        Stage::InFlight { .. } => None,
    }
}
