//! Files of other versions, and files that something else has written to.

use std::fs;
use std::path::Path;

use cobs::id::Token;
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::super::claims::Start;
use super::super::state::{MIGRATIONS, Migration, State};
use super::super::view::{Change, Opened, View};
use super::super::{StoreError, UnixMs};
use super::views::record;
use super::{job, ledger};

const EXTRA: TableDefinition<u64, u64> = TableDefinition::new("extra-v1");

fn known(txn: &redb::WriteTransaction) -> Result<(), StoreError> {
    drop(txn.open_table(EXTRA)?);
    panic!("a migration that was made is not made again");
}

fn adds_a_table(txn: &redb::WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(EXTRA)?.insert(1, 1)?;
    Ok(())
}

fn counts(txn: &redb::WriteTransaction) -> Result<(), StoreError> {
    let mut table = txn.open_table(EXTRA)?;
    let value = table.get(1)?.map_or(0, |value| value.value());
    table.insert(1, value + 1)?;
    Ok(())
}

fn fails(_: &redb::WriteTransaction) -> Result<(), StoreError> {
    Err(StoreError::Full { what: "migrations", limit: 0 })
}

/// A state of the time before notes of confirmations says that it lacks them, until they are made up for; a new one has
/// them from its start.
#[test]
fn a_state_from_before_the_notes_of_confirmations_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old.redb");
    drop(State::create_with(&old, &MIGRATIONS[..2]).unwrap());
    for _ in 0..2 {
        assert!(State::open(&old).unwrap().lacks_notes().unwrap(), "also after a life that ended before it was done");
    }
    State::open(&old).unwrap().has_notes().unwrap();
    assert!(!State::open(&old).unwrap().lacks_notes().unwrap());
    let new = directory.path().join("new.redb");
    drop(State::create(&new).unwrap());
    assert!(!State::open(&new).unwrap().lacks_notes().unwrap());
}

#[test]
fn migrations_run_once_each_and_keep_what_came_before_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    State::create(&path).unwrap().record_start(job(1), Token::new(0, 1), UnixMs(1)).unwrap();
    let all: &[Migration] = &[known, known, known, adds_a_table, counts];
    let broken: &[Migration] = &[known, known, known, adds_a_table, fails];
    assert!(matches!(State::open_with(&path, broken), Err(StoreError::Full { .. })));
    for _ in 0..2 {
        let state = State::open_with(&path, all).unwrap();
        assert_eq!(state.read(|txn| Ok(txn.open_table(EXTRA)?.get(1)?.unwrap().value())).unwrap(), 2);
        assert_eq!(state.record_start(job(1), Token::new(0, 1), UnixMs(2)).unwrap(), Start::Again(UnixMs(1)));
    }
    let newer = State::open(&path).unwrap_err();
    assert_eq!(
        newer.to_string(),
        format!("home of a newer version: {} has schema 5, this program knows 3", path.display())
    );
    let state = State::open_with(&path, all).unwrap();
    assert_eq!(state.incarnation().0, 4, "a refused opening counted");
}

/// A file with enough in it that it has inner pages, closed in order or as a crash leaves it.
fn filled(path: &Path) -> Vec<u8> {
    let state = State::create(path).unwrap();
    for n in 0..300 {
        state.record_start(job(n), Token::new(0, 1), UnixMs(n)).unwrap();
    }
    let crashed = fs::read(path).unwrap();
    drop(state);
    crashed
}

/// Opens the damaged file: either it is refused and stays as it is, or it holds all that it held.
fn refused_or_whole(path: &Path, bytes: &[u8]) -> &'static str {
    fs::write(path, bytes).unwrap();
    match State::open(path) {
        Ok(state) => {
            let starts = state.starts().unwrap();
            assert_eq!(starts.len(), 300);
            for n in 0..300 {
                assert_eq!(starts[&(job(n), Token::new(0, 1))], UnixMs(n));
            }
            "whole"
        }
        Err(StoreError::Corrupt { .. }) => {
            assert!(fs::read(path).unwrap() == bytes, "a refused file was changed");
            "refused"
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_state_is_refused_and_left_alone_or_lost_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    let crashed = filled(&path);
    let closed = fs::read(&path).unwrap();
    let mut refused = 0;
    let mut tried = 0;
    for original in [&closed, &crashed] {
        for at in (0..original.len()).step_by(original.len() / 60 + 1).chain((0..320).step_by(13)) {
            let mut bytes = original.clone();
            bytes[at] ^= 0x41;
            tried += 1;
            refused += usize::from(refused_or_whole(&path, &bytes) == "refused");
        }
        assert_eq!(refused_or_whole(&path, &original[..original.len() / 2]), "refused");
    }
    assert!(refused > tried / 10, "only {refused} of {tried} damaged files were refused");
    for bytes in [&b""[..], b"not a database at all", &[0; 8192]] {
        assert_eq!(refused_or_whole(&path, bytes), "refused");
    }
}

/// A view with fifty jobs, and its bytes.
fn filled_view(path: &Path) -> Vec<u8> {
    let (view, opened) = View::open(path).unwrap();
    assert_eq!(opened, Opened::Created);
    for n in 0..50 {
        view.apply(&[Change::Put(Box::new(record(n)))]).unwrap();
    }
    drop(view);
    fs::read(path).unwrap()
}

/// A damaged view stays as it is, in its place, until the new one beside it is whole, and is kept aside then.
#[test]
fn a_damaged_view_is_rebuilt_beside_and_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("view.redb");
    let whole = filled_view(&path);
    let (view, opened) = View::open(&path).unwrap();
    assert_eq!((opened, view.tips(ledger(1)).unwrap().len()), (Opened::Kept, 50));
    drop(view);
    let mut rebuilt = 0;
    let broken = (0..whole.len()).step_by(whole.len() / 40 + 1).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        bytes
    });
    for bytes in broken.chain([Vec::new(), b"not a database".to_vec(), whole[..whole.len() / 2].to_vec()]) {
        fs::write(&path, &bytes).unwrap();
        let (view, opened) = View::open(&path).unwrap();
        let kept = view.tips(ledger(1)).unwrap().len();
        match opened {
            Opened::Kept => assert_eq!(kept, 50),
            Opened::Created => panic!("there was a file"),
            Opened::Rebuilding { reason, aside } => {
                assert!(!reason.is_empty());
                assert_eq!(kept, 0);
                view.apply(&[Change::Put(Box::new(record(1)))]).unwrap();
                assert!(fs::read(&path).unwrap() == bytes, "the damaged file was changed before the new one was whole");
                view.complete().unwrap();
                assert!(fs::read(aside).unwrap() == bytes, "the damaged file was changed");
                view.apply(&[Change::Put(Box::new(record(2)))]).unwrap();
                drop(view);
                let (view, opened) = View::open(&path).unwrap();
                assert_eq!((opened, view.tips(ledger(1)).unwrap().len()), (Opened::Kept, 2));
                rebuilt += 1;
            }
        }
    }
    assert!(rebuilt >= 6, "only {rebuilt} were rebuilt");
}

/// However far a rebuilding came before it was killed, the next start finds the old file, or the whole new one.
#[test]
fn a_rebuilding_that_is_killed_is_begun_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("view.redb");
    let (beside, aside) = (directory.path().join("view.redb.rebuilding"), directory.path().join("view.redb.corrupt"));
    fs::write(&path, b"not a database").unwrap();
    // left by a process that was killed: half a file, or a link made and no more
    for left in [&b""[..], b"half", b"not a database either"] {
        fs::write(&beside, left).unwrap();
        fs::write(&aside, left).unwrap();
        let (view, opened) = View::open(&path).unwrap();
        assert!(matches!(opened, Opened::Rebuilding { .. }), "{opened:?}");
        view.apply(&[Change::Put(Box::new(record(1)))]).unwrap();
        // killed: nothing is completed
        drop(view);
        assert_eq!(fs::read(&path).unwrap(), b"not a database");
    }
    let (view, _) = View::open(&path).unwrap();
    assert_eq!(view.tips(ledger(1)).unwrap().len(), 0, "what was not completed counted");
    view.apply(&[Change::Put(Box::new(record(1)))]).unwrap();
    view.complete().unwrap();
    // killed right after: what took its place was on disk before
    std::mem::forget(view);
    assert!(!beside.exists());
    assert_eq!(fs::read(&aside).unwrap(), b"not a database");
    let copy = directory.path().join("copy.redb");
    fs::copy(&path, &copy).unwrap();
    let (view, opened) = View::open(&copy).unwrap();
    assert_eq!((opened, view.tips(ledger(1)).unwrap().len()), (Opened::Kept, 1));
}

/// A view of another version is not touched until the new one is whole: the program that wrote it may come back.
#[test]
fn a_view_of_another_version_is_rebuilt_beside() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("view.redb");
    filled_view(&path);
    let numbers: TableDefinition<&str, u64> = TableDefinition::new("view-numbers-v1");
    let database = redb::Database::open(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(numbers).unwrap().insert("format", 9).unwrap();
    txn.commit().unwrap();
    drop(database);
    let (view, opened) = View::open(&path).unwrap();
    let Opened::Rebuilding { reason, aside } = opened else { panic!("{opened:?}") };
    assert!(reason.contains("format 9"), "{reason}");
    assert_eq!(aside, directory.path().join("view.redb.other"));
    let format = |path: &Path| {
        let database = redb::Database::open(path).unwrap();
        let txn = database.begin_read().unwrap();
        txn.open_table(numbers).unwrap().get("format").unwrap().unwrap().value()
    };
    assert_eq!(format(&path), 9);
    view.complete().unwrap();
    drop(view);
    assert_eq!((format(&aside), format(&path)), (9, 2));
    assert_eq!(View::open(&path).unwrap().1, Opened::Kept);
}
