//! How far somebody has what a namespace signed.

use cobs::adapter::signed::{brings, follows, head, listed, present};
use cobs::adapter::writer::Draft;

use crate::home::{Home, bid, key, node, operation, publish};

/// An earlier list brings what had been signed by then and nothing later; what moved to the archive is brought by it.
#[test]
fn a_list_brings_what_was_signed_by_then() {
    let home = Home::new();
    let (writer, repo, us) = (home.writer(), home.repo(), home.node());
    let first = operation(&writer, home.draft(1, &[us])).job;
    let before = head(&repo, &us).unwrap().unwrap();
    let tip = |job| *home.read(job).unwrap().reading.tips[&us].first().unwrap();
    let root = tip(first);
    operation(&writer, home.append(bid(first, 1)));
    let second = operation(&writer, home.draft(2, &[us])).job;
    let after = head(&repo, &us).unwrap().unwrap();
    assert!(follows(&repo, after, before).unwrap() && !follows(&repo, before, after).unwrap());
    let (old, new) = (listed(&repo, before).unwrap().unwrap(), listed(&repo, after).unwrap().unwrap());
    let brought = |list, job, tip| brings(&repo, list, job, tip).unwrap();
    assert!(brought(&old, first, root) && !brought(&old, first, tip(first)) && !brought(&old, second, tip(second)));
    assert!(brought(&new, first, root) && brought(&new, first, tip(first)) && brought(&new, second, tip(second)));
    assert_eq!(present(&repo, &us).unwrap(), new);

    writer.write(Draft::Archive { ledger: home.ledger, jobs: vec![first] }).unwrap();
    let archived = listed(&repo, head(&repo, &us).unwrap().unwrap()).unwrap().unwrap();
    assert!(brought(&archived, first, tip(first)), "{archived:?}");
    assert!(archived.keys().all(|name| !name.ends_with(&first.to_string())), "{archived:?}");
}

/// What stands in the namespace and is not signed shows as present only; a stranger's namespace has nothing.
#[test]
fn what_is_not_signed_is_present_only() {
    let home = Home::new();
    let (writer, repo, us) = (home.writer(), home.repo(), home.node());
    let job = operation(&writer, home.draft(1, &[us])).job;
    let signed = listed(&repo, head(&repo, &us).unwrap().unwrap()).unwrap().unwrap();
    let tip = crate::home::sign(&repo, &home.key, vec![job.0], &bid(job, 3));
    publish(&repo, &us, job, tip);
    let now = present(&repo, &us).unwrap();
    let differs: Vec<_> = now.iter().filter(|(name, at)| signed.get(*name) != Some(*at)).collect();
    assert_eq!(differs.iter().map(|(_, at)| **at).collect::<Vec<_>>(), [tip]);
    assert!(!brings(&repo, &signed, job, tip).unwrap());
    let stranger = node(&key(9));
    assert_eq!((head(&repo, &stranger).unwrap(), present(&repo, &stranger).unwrap().len()), (None, 0));
    assert_eq!(listed(&repo, job.0).unwrap(), None, "an operation is no list");
}
