//! Invitations that this node has given out: one use each, until they expire.

use std::collections::BTreeSet;

use cobs::id::{NodeId, RepoId};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::peers::Grant;
use super::secret::Secret;
use super::state::State;
use super::{StoreError, UnixMs, decode, encode};

/// SHA-256 of the secret to JSON of [`Invitation`].
pub(super) const INVITATIONS: TableDefinition<[u8; 32], &[u8]> = TableDefinition::new("invitations-v1");

/// Most invitations kept, used and expired ones included.
pub const INVITATIONS_MAX: u64 = 1_000;
/// How long an expired invitation is kept, so that a late joiner is told why, in milliseconds: 7 days.
pub const INVITATION_KEEP_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What a joiner gets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// The ledger it opens.
    pub ledger: RepoId,
    /// What the joiner may do here.
    pub grants: BTreeSet<Grant>,
    /// When it was given out.
    pub created: UnixMs,
    /// When it ends.
    pub expires: UnixMs,
    /// Who used it.
    #[serde(default)]
    pub used_by: Option<NodeId>,
}

/// What came of redeeming a secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redemption {
    /// Used by this node now.
    Accepted(Invitation),
    /// Used by this same node before: its answer may have been lost, so it may be given again.
    Repeated(Invitation),
    /// Used by another node.
    Used(NodeId),
    /// Its time is over.
    Expired(UnixMs),
    /// None of ours.
    Unknown,
}

impl State {
    /// Writes an invitation down and gives its one-time secret, which cannot be had again.
    pub fn create_invitation(&self, invitation: &Invitation) -> Result<Secret, StoreError> {
        let secret = Secret::invitation();
        self.write(|txn| {
            let mut table = txn.open_table(INVITATIONS)?;
            if table.len()? >= INVITATIONS_MAX {
                return Err(StoreError::Full { what: "invitations", limit: INVITATIONS_MAX });
            }
            table.insert(secret.hash().bytes(), encode(invitation).as_slice())?;
            Ok(())
        })?;
        Ok(secret)
    }

    /// Uses an invitation for `node`. It is looked up by its hash, so the time taken tells nothing of the secret.
    pub fn redeem_invitation(&self, presented: &Secret, node: NodeId, now: UnixMs) -> Result<Redemption, StoreError> {
        let hash = presented.hash();
        // A guess costs a read and no sync.
        let known = self.read(|txn| Ok(txn.open_table(INVITATIONS)?.get(hash.bytes())?.is_some()))?;
        if !known {
            return Ok(Redemption::Unknown);
        }
        self.write(|txn| {
            let mut table = txn.open_table(INVITATIONS)?;
            let known: Option<Invitation> =
                table.get(hash.bytes())?.map(|row| decode("invitations", row.value())).transpose()?;
            let Some(mut invitation) = known else { return Ok(Redemption::Unknown) };
            match invitation.used_by {
                Some(by) if by != node => return Ok(Redemption::Used(by)),
                _ if invitation.expires <= now => return Ok(Redemption::Expired(invitation.expires)),
                Some(_) => return Ok(Redemption::Repeated(invitation)),
                None => {}
            }
            invitation.used_by = Some(node);
            table.insert(hash.bytes(), encode(&invitation).as_slice())?;
            Ok(Redemption::Accepted(invitation))
        })
    }

    /// All invitations kept, oldest first.
    pub fn invitations(&self) -> Result<Vec<Invitation>, StoreError> {
        let mut invitations: Vec<Invitation> = self.read(|txn| {
            let table = txn.open_table(INVITATIONS)?;
            table.iter()?.map(|entry| decode("invitations", entry?.1.value())).collect()
        })?;
        invitations.sort_by_key(|invitation| (invitation.created, invitation.expires));
        Ok(invitations)
    }

    /// Drops what expired [`INVITATION_KEEP_MS`] ago and gives how many.
    pub fn sweep_invitations(&self, now: UnixMs) -> Result<u64, StoreError> {
        self.write_soon(|txn| {
            let mut table = txn.open_table(INVITATIONS)?;
            let mut stale = Vec::new();
            for entry in table.iter()? {
                let (hash, row) = entry?;
                let invitation: Invitation = decode("invitations", row.value())?;
                if invitation.expires.plus_ms(INVITATION_KEEP_MS) <= now {
                    stale.push(hash.value());
                }
            }
            for hash in &stale {
                table.remove(hash)?;
            }
            Ok(stale.len() as u64)
        })
    }
}
