//! The identity documents of a home, by what they do to real storage.

use radicle::prelude::{ReadRepository as _, SignRepository as _};

use super::*;
use crate::adapter::ledger::{self, Members, NewLedger};
use crate::adapter::profile::tests::home;

const TEAM: NewLedger<'_> = NewLedger { name: "team", description: "our jobs" };

fn peer(seed: u8) -> NodeId {
    use radicle::crypto::{Seed, Signer as _, SigningKey};
    *SigningKey::from_seed(Seed::new([seed; 32])).public_key()
}

/// A sole delegate admits and removes at once, and the canonical identity follows.
#[test]
fn a_sole_delegate_decides_at_once() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    let rid = ledger::create(&home, TEAM).unwrap();
    let repository = repository::open(&home, rid).unwrap();
    let founding = accepted_revisions(&repository).unwrap();
    let us = BTreeSet::from([home.public_key]);
    assert_eq!(founding, [(RevisionId(repository.identity_head().unwrap()), us.clone())]);

    let allowed = allow(&home, &repository, &BTreeSet::from([peer(2), peer(3)])).unwrap();
    let Amendment::Accepted(first) = allowed else { panic!("{allowed:?}") };
    assert_eq!(repository.identity_head().unwrap(), first.0);
    let members = Members { delegates: us.clone(), allowed: BTreeSet::from([peer(2), peer(3)]) };
    assert_eq!(ledger::members(&repository).unwrap(), members);
    assert_eq!(allow(&home, &repository, &BTreeSet::from([peer(2)])).unwrap(), Amendment::Unchanged);

    let removed = disallow(&home, &repository, peer(2)).unwrap();
    let Amendment::Accepted(second) = removed else { panic!("{removed:?}") };
    assert_eq!(ledger::members(&repository).unwrap().allowed, BTreeSet::from([peer(3)]));
    assert_eq!(accepted_revisions(&repository).unwrap(), [founding[0].clone(), (first, us.clone()), (second, us)]);
}

/// With two delegates nothing moves until the other one votes, and a second proposal is not buried under the first.
#[test]
fn two_delegates_must_agree() {
    let tmp = tempfile::tempdir().unwrap();
    let home = home(tmp.path(), 1);
    let rid = ledger::create(&home, TEAM).unwrap();
    let repository = repository::open(&home, rid).unwrap();
    let added = amend_delegates(&home, &repository, peer(4));
    let delegates = BTreeSet::from([home.public_key, peer(4)]);
    assert_eq!(accepted_revisions(&repository).unwrap().last(), Some(&(added, delegates)));

    let admitted = BTreeSet::from([peer(2)]);
    let pending = allow(&home, &repository, &admitted).unwrap();
    assert!(matches!(pending, Amendment::Pending(_)), "{pending:?}");
    assert_eq!(repository.identity_head().unwrap(), added.0);
    assert!(!ledger::members(&repository).unwrap().contains(&peer(2)));
    assert_eq!(allow(&home, &repository, &admitted).unwrap(), pending);
    let second = allow(&home, &repository, &BTreeSet::from([peer(3)])).unwrap_err();
    assert!(matches!(second, IdentityError::PendingFirst { .. }), "{second}");
    let refused = disallow(&home, &repository, peer(4)).unwrap_err();
    assert!(matches!(refused, IdentityError::IsDelegate { .. }), "{refused}");
}

/// Who is no delegate is told so.
#[test]
fn a_stranger_cannot_amend() {
    let tmp = tempfile::tempdir().unwrap();
    let ours = home(&tmp.path().join("a"), 1);
    let rid = ledger::create(&ours, TEAM).unwrap();
    let repository = repository::open(&ours, rid).unwrap();
    let stranger = home(&tmp.path().join("b"), 2);
    let error = allow(&stranger, &repository, &BTreeSet::from([peer(3)])).unwrap_err();
    assert!(error.to_string().contains("is not a delegate of"), "{error}");
}

fn amend_delegates(home: &NodeHome, repository: &Repository, new: NodeId) -> RevisionId {
    let mut identity = Identity::load_mut(repository, &home.signer).unwrap();
    let doc = identity.doc().clone().with_edits(|doc| doc.delegate(Did::from(new))).unwrap();
    let id = identity.update(Title::new("Add a delegate").unwrap(), "", &doc).unwrap();
    repository.set_identity_head_to(id).unwrap();
    repository.sign_refs(&home.signer).unwrap();
    RevisionId(id)
}
