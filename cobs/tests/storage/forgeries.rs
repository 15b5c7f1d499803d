//! What a hostile peer can put into storage changes no job: its namespace is his, his signature is not another's.

use cobs::adapter::reader::{ReadError, WALK_COMMITS_MAX};
use cobs::id::{Epoch, JobId, RevisionId, Seq, Term};
use cobs::job::action::{Action, Digests, Done, Grant, GrantKind, Takeover};
use cobs::job::outcome::RunOutcome;
use cobs::job::state::{Ignored, NoJob};
use radicle::storage::ReadRepository as _;

use crate::home::{Home, bid, cancel, copy, identity, key, node, operation, publish, sign, store};

fn grant(job: JobId, term: u32, to: cobs::id::NodeId) -> Action {
    let (epoch, kind) = (Epoch(0), GrantKind::Leased);
    Action::Grant(Grant { job, seq: Seq(0), epoch, term: Term(term), node: to, kind, lease_ms: 30_000 })
}

fn done(job: JobId, term: u32, code: u8) -> Action {
    Action::Done(Done {
        job,
        seq: Seq(0),
        epoch: Epoch(0),
        term: Term(term),
        outcome: RunOutcome::Exited { code },
        digests: Digests::default(),
        tail: String::new(),
        reason: String::new(),
        duration_ms: 1,
    })
}

#[test]
fn a_copied_root_is_no_job_of_its_author() {
    let home = Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 0);
    let (repo, thief) = (home.repo(), key(2));
    let copied = JobId(copy(&repo, job.0, |text| text.replacen("author ", "author thief ", 1)));
    publish(&repo, &node(&thief), copied, copied.0);
    let error = home.read(copied).unwrap_err();
    assert!(
        matches!(error, ReadError::NotHeldByAuthor { job, author } if job == copied && author == home.node()),
        "{error}"
    );
    assert!(home.read(job).is_ok());
    // held by its author, it is a job again: the check is what refuses it, not the copy's text
    publish(&repo, &home.node(), copied, copied.0);
    assert!(home.read(copied).is_ok());
}

#[test]
fn a_signed_operation_copied_below_another_job_means_nothing_there() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let workers = [home.node(), node(&worker)];
    let (x, y) = (home.job(&writer, 1, &workers, 0), home.job(&writer, 2, &workers, 0));
    let granted = operation(&writer, home.append(grant(x, 1, node(&worker))));
    let repo = home.repo();
    let replayed = copy(&repo, granted.commit, |text| text.replace(&x.to_string(), &y.to_string()));
    publish(&repo, &node(&worker), y, replayed);
    let read = home.read(y).unwrap();
    assert_eq!(read.ops, 2, "the copy is found, with its true author");
    assert_eq!(read.job.ignored.get(&Ignored::WrongJob), Some(&1));
    assert!(read.job.grants.is_empty());
    assert_eq!(home.read(x).unwrap().job.grants.len(), 1);
}

#[test]
fn backdated_operations_of_a_worker_change_nothing() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[home.node(), node(&worker)], 1);
    operation(&writer, home.append(grant(job, 1, home.node())));
    let honest = operation(&writer, home.append(done(job, 1, 0)));
    let before = home.read(job).unwrap().job;

    let (repo, me) = (home.repo(), node(&worker));
    let early = |id| copy(&repo, id, |text| text.replace("> 1", "> 0"));
    let mut tip = job.0;
    for (seq, action) in [grant(job, 99, me), done(job, 99, 1), done(job, 1, 1)].into_iter().enumerate() {
        tip = early(sign(&repo, &worker, vec![tip], &action.with_seq(Seq(seq as u32))));
    }
    publish(&repo, &me, job, tip);
    let after = home.read(job).unwrap().job;
    assert_eq!((&after.grants, &after.dones), (&before.grants, &before.dones));
    assert_eq!(after.ignored.values().sum::<u32>(), 3);
    // what this node writes next keeps its own operations, and takes no stranger's as an ancestor
    let next = operation(&writer, home.append(bid(job, 5)));
    let parents: Vec<_> = repo.backend.find_commit(next.commit.into()).unwrap().parent_ids().collect();
    assert!(parents.contains(&honest.commit.into()) && !parents.contains(&tip.into()), "{parents:?}");
}

#[test]
fn a_self_made_identity_gives_no_authority() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[home.node(), node(&worker)], 0);
    let repo = home.repo();
    let fake = own_identity(&repo, &worker);
    let forged = store(&repo, &worker, Some(fake), vec![job.0], vec![cancel(job).encode()]);
    publish(&repo, &node(&worker), job, forged);
    let read = home.read(job).unwrap();
    assert!(read.job.cancels.is_empty());
    assert_eq!(read.job.ignored.get(&Ignored::PinUnknown), Some(&1));

    let root = Action::Create(Box::new(home.create(2, &[node(&worker)])));
    let own = JobId(store(&repo, &worker, Some(fake), vec![], vec![root.encode()]));
    publish(&repo, &node(&worker), own, own.0);
    assert!(matches!(home.read(own), Err(ReadError::NoJob { source: NoJob::Pin, .. })));
    assert!(identity(&repo).accepted.iter().all(|(revision, _)| *revision != RevisionId(fake)));
}

/// A document that names `key` as the delegate and that nobody accepted.
fn own_identity(repo: &radicle::storage::git::Repository, key: &radicle::crypto::SigningKey) -> cobs::id::Oid {
    let doc = repo.identity_doc().unwrap().doc;
    let edited = doc.with_edits(|doc| doc.delegates = vec![radicle::identity::Did::from(node(key))]).unwrap();
    let blob = repo.backend.blob(&edited.encode().unwrap().1).unwrap();
    let mut embeds = repo.backend.treebuilder(None).unwrap();
    embeds.insert("radicle.json", blob, 0o100_644).unwrap();
    let mut tree = repo.backend.treebuilder(None).unwrap();
    tree.insert("embeds", embeds.write().unwrap(), 0o040_000).unwrap();
    let tree = repo.backend.find_tree(tree.write().unwrap()).unwrap();
    let who = repo.backend.signature().unwrap();
    repo.backend.commit(None, &who, &who, "own", &tree, &[]).unwrap().into()
}

#[test]
fn a_long_hostile_chain_is_cut_and_delays_nobody() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[home.node(), node(&worker)], 3);
    let repo = home.repo();
    let mut tip = job.0;
    for seq in 0..WALK_COMMITS_MAX as u32 + 500 {
        tip = sign(&repo, &worker, vec![tip], &bid(job, seq % 1000).with_seq(Seq(seq % 256)));
    }
    publish(&repo, &node(&worker), job, tip);
    // a chain ten times as long overflows radicle's own evaluation at 2 MiB
    let (storage, ledger) = (home.storage.clone(), home.ledger);
    let small_stack = std::thread::Builder::new().stack_size(256 * 1024);
    let reader = small_stack.spawn(move || {
        let repo = radicle::storage::ReadStorage::repository(&storage, ledger).unwrap();
        let began = std::time::Instant::now();
        let read = cobs::adapter::reader::read_job(&repo, job, &identity(&repo)).unwrap();
        (read, began.elapsed())
    });
    let (read, took) = reader.unwrap().join().unwrap();
    eprintln!("{} operations in {took:?}", read.ops);
    assert!(read.ops <= WALK_COMMITS_MAX + 4);
    assert_eq!(read.reading.truncated, [node(&worker)].into());
    assert_eq!(read.job.last_seq[&home.node()], Seq(3), "all of this node's operations are there");
    operation(&writer, home.append(bid(job, 9)));
    assert_eq!(home.read(job).unwrap().job.last_seq[&home.node()], Seq(4));
}

#[test]
fn commits_of_a_stranger_below_ones_own_do_not_starve_ones_own() {
    // `rad cob update` takes all tips as parents, so a stranger's chain may come below ours
    let home = Home::new();
    let (writer, stranger) = (home.writer(), key(9));
    let job = home.job(&writer, 1, &[home.node()], 0);
    operation(&writer, home.append(cancel(job)));
    let own = operation(&writer, home.append(bid(job, 1)));
    let repo = home.repo();
    let mut tip = job.0;
    for seq in 0..WALK_COMMITS_MAX as u32 + 10 {
        tip = sign(&repo, &stranger, vec![tip], &bid(job, 1).with_seq(Seq(seq)));
    }
    let merged = sign(&repo, &home.key, vec![tip, own.commit], &bid(job, 2).with_seq(Seq(3)));
    publish(&repo, &home.node(), job, merged);
    let read = home.read(job).unwrap();
    assert_eq!(read.job.bids[&home.node()].score, 2);
    assert_eq!(read.job.last_seq[&home.node()], Seq(3));
    assert_eq!(read.job.cancels.len(), 1, "the oldest of our own is reached");
    assert!(read.reading.history.len() > 100, "the stranger's were met");
    assert_eq!(operation(&writer, home.append(bid(job, 3))).seq, Seq(4));
}

#[test]
fn a_signature_over_another_tree_names_no_author() {
    let home = Home::new();
    let (writer, worker) = (home.writer(), key(2));
    let job = home.job(&writer, 1, &[home.node(), node(&worker)], 1);
    let repo = home.repo();
    let tree = |id: cobs::id::Oid| repo.backend.find_commit(id.into()).unwrap().tree_id().to_string();
    let own = *home.read(job).unwrap().reading.tips[&home.node()].first().unwrap();
    let wanted = sign(&repo, &worker, vec![job.0], &grant(job, 1, node(&worker)));
    let forged = copy(&repo, own, |text| text.replace(&tree(own), &tree(wanted)));
    publish(&repo, &node(&worker), job, forged);
    let read = home.read(job).unwrap();
    assert!(read.job.grants.is_empty());
    assert_eq!(read.reading.unreadable, 1);
}

#[test]
fn a_takeover_is_followed_into_the_namespace_of_the_new_arbiter() {
    let home = Home::new();
    let (writer, new) = (home.writer(), key(3));
    let job = home.job(&writer, 1, &[home.node()], 0);
    let repo = home.repo();
    let own_grant = Grant {
        job,
        seq: Seq(0),
        epoch: Epoch(1),
        term: Term(1),
        node: home.node(),
        kind: GrantKind::Leased,
        lease_ms: 30_000,
    };
    publish(&repo, &node(&new), job, sign(&repo, &new, vec![job.0], &Action::Grant(own_grant)));
    let before = home.read(job).unwrap();
    assert_eq!(before.ops, 1, "a stranger's namespace is not looked at");
    let (to, last, reason) = (node(&new), Term(0), String::new());
    let takeover = Takeover { job, seq: Seq(0), epoch: Epoch(1), to, last, abandoned: None, lease_ms: None, reason };
    operation(&writer, home.append(Action::Takeover(takeover)));
    let after = home.read(job).unwrap();
    assert_eq!(after.ops, 3);
    assert_eq!(after.job.grants.len(), 1);
    assert!(after.reading.tips.contains_key(&node(&new)));
}
