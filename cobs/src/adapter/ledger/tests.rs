//! The ledgers of a home, by what they do to real storage.

use radicle::prelude::{ReadRepository as _, ReadStorage as _};
use radicle::storage::ValidateRepository as _;

use super::*;
use crate::adapter::profile::tests::home;

const TEAM: NewLedger<'_> = NewLedger { name: "team", description: "our jobs" };

/// A created ledger is a valid private Radicle repository with us alone in it, seeded with scope `all`.
#[test]
fn a_new_ledger_is_private_seeded_and_listed() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    assert_eq!(list(&home).unwrap(), []);

    let rid = create(&home, TEAM).unwrap();

    let alone = Members { delegates: BTreeSet::from([home.public_key]), allowed: BTreeSet::new() };
    let ledger = Ledger { rid, name: "team".to_owned(), description: "our jobs".to_owned(), members: alone };
    assert_eq!(list(&home).unwrap(), std::slice::from_ref(&ledger));
    assert_eq!(get(&home, rid).unwrap(), ledger);
    let repository = repository::open(&home, rid).unwrap();
    assert!(repository.identity_doc().unwrap().is_private());
    assert!(home.storage.contains(&rid).unwrap());
    assert_eq!(repository.validate().unwrap().into_iter().count(), 0);
    let policy = home.home.policies_mut().unwrap().seed_policy(&rid).unwrap().unwrap();
    assert_eq!(policy.scope(), Some(radicle::node::policy::Scope::All));
}

/// The same ledger is not created twice, another name makes another, and an interrupted creation is repeated.
#[test]
fn creating_again_is_told_and_a_torn_creation_is_repeated() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    let rid = create(&home, TEAM).unwrap();
    match create(&home, TEAM) {
        Err(LedgerError::Repository(RepositoryFault::Exists(found))) => assert_eq!(found, rid),
        other => panic!("creating twice gave {other:?}"),
    }
    assert_ne!(create(&home, NewLedger { name: "other", ..TEAM }).unwrap(), rid);

    let signed = format!("refs/namespaces/{}/refs/rad/sigrefs", home.public_key);
    let repository = repository::open(&home, rid).unwrap();
    repository.backend.find_reference(&signed).unwrap().delete().unwrap();
    assert_eq!(create(&home, TEAM).unwrap(), rid);
}

/// What breaks Radicle's rules is refused by name, and leaves nothing behind.
#[test]
fn a_bad_name_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    let error = create(&home, NewLedger { name: "no spaces", ..TEAM }).unwrap_err();
    assert!(error.to_string().starts_with("invalid repository name \"no spaces\""), "{error}");
    let long = "x".repeat(256);
    assert!(create(&home, NewLedger { description: &long, ..TEAM }).is_err());
    assert_eq!(std::fs::read_dir(home.home.storage()).unwrap().count(), 0);
}

/// A founding that fails half-way leaves nothing.
#[test]
fn a_failed_founding_is_undone() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    let founding = Founding {
        name: "team",
        description: "",
        default_branch: DEFAULT_BRANCH,
        allow: BTreeSet::new(),
        payload: (payload_id(), json!({})),
    };
    let failed = repository::found(&home, founding, |repository| Err(RepositoryFault::NotHere(repository.id)));
    assert!(matches!(failed, Err(RepositoryFault::NotHere(_))), "{failed:?}");
    assert_eq!(std::fs::read_dir(home.home.storage()).unwrap().count(), 0);
}
