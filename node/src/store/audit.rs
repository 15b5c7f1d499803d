//! Who asked this node for what, and what came of it: a bounded record of the operations that change something.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::state::State;
use super::{StoreError, UnixMs, decode, encode};

/// Number of the record, counted up, to JSON of [`Entry`].
pub(super) const AUDIT: TableDefinition<u64, &[u8]> = TableDefinition::new("audit-v1");

/// Most records kept; the oldest go first.
pub const ENTRIES_MAX: u64 = 10_000;

/// One operation that was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When it was over.
    pub at: UnixMs,
    /// The owner, or the name of a token.
    pub caller: String,
    /// Its name in the list of operations.
    pub operation: String,
    /// The job, peer, token or blob that it was about, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `ok`, the code of its error, or `abandoned` when the caller hung up.
    pub result: String,
}

impl State {
    /// Adds a record. It may be lost with the power, and with nothing else.
    pub fn record(&self, entry: &Entry) -> Result<(), StoreError> {
        self.write_soon(|txn| {
            let mut table = txn.open_table(AUDIT)?;
            let next = table.last()?.map_or(0, |(number, _)| number.value() + 1);
            table.insert(next, encode(entry).as_slice())?;
            while table.len()? > ENTRIES_MAX {
                table.pop_first()?;
            }
            Ok(())
        })
    }

    /// The newest records, newest first.
    pub fn records(&self, most: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(|txn| {
            let table = txn.open_table(AUDIT)?;
            let newest = table.iter()?.rev().take(most);
            newest.map(|row| decode("audit", row?.1.value())).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> Entry {
        let [caller, operation, result] = ["owner", "cancel", "ok"].map(str::to_owned);
        Entry { at: UnixMs(number), caller, operation, subject: None, result }
    }

    #[test]
    fn the_newest_records_are_kept() {
        let state = State::in_memory();
        for number in 0..ENTRIES_MAX + 3 {
            state.record(&entry(number)).unwrap();
        }
        let kept = state.records(usize::MAX).unwrap();
        assert_eq!(kept.len() as u64, ENTRIES_MAX);
        assert_eq!((kept.first(), kept.last()), (Some(&entry(ENTRIES_MAX + 2)), Some(&entry(3))));
        assert_eq!(state.records(2).unwrap(), [entry(ENTRIES_MAX + 2), entry(ENTRIES_MAX + 1)]);
    }
}
