//! What the node decided by itself or was told once, and the config file does not say.

use std::collections::{BTreeMap, BTreeSet};

use cobs::id::{NodeId, RepoId};
use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::state::State;
use super::{StoreError, UnixMs, decode, encode};

/// One row: JSON of [`Settings`].
pub(super) const SETTINGS: TableDefinition<(), &[u8]> = TableDefinition::new("settings-v1");

/// Used where the config names none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The ledgers this node belongs to.
    pub ledgers: BTreeSet<RepoId>,
    /// The first one it created or joined.
    pub default_ledger: Option<RepoId>,
    /// Work trees of this machine that were published privately because their owner said so.
    pub published: BTreeSet<String>,
    /// When what a restored home had lost of a ledger was taken back.
    pub recovered: BTreeMap<RepoId, UnixMs>,
    /// The always-on arbiter chosen at the first pairing.
    pub arbiter: Option<NodeId>,
}

impl State {
    /// The settings now.
    pub fn settings(&self) -> Result<Settings, StoreError> {
        self.read(|txn| {
            let row = txn.open_table(SETTINGS)?.get(())?;
            Ok(row.map(|row| decode("settings", row.value())).transpose()?.unwrap_or_default())
        })
    }

    /// Changes the settings in one transaction and gives them as they are now.
    pub fn update_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<Settings, StoreError> {
        self.write(|txn| {
            let mut table = txn.open_table(SETTINGS)?;
            let known: Option<Settings> = table.get(())?.map(|row| decode("settings", row.value())).transpose()?;
            let mut settings = known.unwrap_or_default();
            change(&mut settings);
            table.insert((), encode(&settings).as_slice())?;
            Ok(settings)
        })
    }
}
