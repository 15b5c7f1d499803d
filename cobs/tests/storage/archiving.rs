//! Archived jobs read as before, for this node and for others.

use std::collections::BTreeSet;
use std::sync::Mutex;

use cobs::adapter::reader::{Archives, list_jobs, list_since, live_jobs, read_job};
use cobs::adapter::writer::{Draft, WriteError, Written};
use cobs::id::{JobId, Seq};

use crate::home::{Home, bid, identity, key, node, operation, sign_refs, writer};

fn archive(home: &Home, jobs: &[JobId]) -> Draft {
    Draft::Archive { ledger: home.ledger, jobs: jobs.to_vec() }
}

#[test]
fn an_archived_job_reads_as_before_and_can_be_written_again() {
    let home = Home::new();
    let writer = home.writer();
    let jobs: Vec<JobId> = (0..5).map(|nonce| home.job(&writer, nonce, &[home.node()], 2)).collect();
    let before: Vec<_> = jobs.iter().map(|job| home.read(*job).unwrap()).collect();
    assert_eq!(writer.live(&home.ledger), Some(5));
    let archived = |jobs| Written::Archived { ledger: home.ledger, jobs };
    assert_eq!(writer.write(archive(&home, &jobs[..3])).unwrap(), archived(3));
    assert_eq!(writer.write(archive(&home, &jobs[2..4])).unwrap(), archived(1));
    assert_eq!(writer.live(&home.ledger), Some(1));

    let listed = list_jobs(&home.repo()).unwrap();
    for (job, before) in jobs.iter().zip(&before) {
        let after = home.read(*job).unwrap();
        assert_eq!(after.job, before.job);
        assert_eq!(after.reading.tips, before.reading.tips, "a move to the archive needs no new reading");
        assert_eq!(listed[job], before.reading.tips);
    }
    let live = home.repo().backend.references_glob("refs/namespaces/*/refs/cobs/io.rhizome.job/*").unwrap().count();
    assert_eq!(live, 1);

    // a late operation lives again, beside the archive
    let late = operation(&writer, home.append(bid(jobs[0], 9)));
    assert_eq!(late.seq, Seq(3));
    assert_eq!(home.read(jobs[0]).unwrap().ops, 4);
    assert_eq!(writer.write(archive(&home, &jobs[..1])).unwrap(), archived(1));
    assert_eq!(home.read(jobs[0]).unwrap().ops, 4);
}

#[test]
fn an_archived_root_is_still_held_by_its_author_and_bars_its_copy() {
    let home = Home::new();
    let (own, other) = (home.writer(), key(2));
    let there = tempfile::tempdir().unwrap();
    let others = writer(there.path(), &home.storage, &other);
    let job = home.job(&own, 1, &[home.node(), node(&other)], 0);
    own.write(archive(&home, &[job])).unwrap();
    let bid = operation(&others, home.append(bid(job, 7)));
    assert_eq!(bid.seq, Seq(0));
    let read = home.read(job).unwrap();
    assert_eq!(read.job.bids[&node(&other)].score, 7);
    sign_refs(&home.repo(), &other);
    // equal content in the same second is the same commit: refused, also when it is archived
    let again = own.write(home.draft(1, &[home.node(), node(&other)]));
    if let Err(error) = &again {
        assert!(matches!(error, WriteError::Exists(existing) if *existing == job), "{error}");
    }
}

/// A job that is read at the very moment in which it moves into the archive is found, live or archived.
#[test]
fn a_job_on_its_way_into_the_archive_is_never_gone() {
    const JOBS: u64 = 150;
    let home = Home::new();
    let writer = home.writer();
    let current = Mutex::new(Some(home.job(&writer, 0, &[home.node()], 0)));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let repo = home.repo();
            let identity = identity(&repo);
            let mut reads = 0;
            loop {
                let Some(job) = *current.lock().unwrap() else { return reads };
                read_job(&repo, job, &identity).unwrap();
                reads += 1;
            }
        });
        for nonce in 1..=JOBS {
            let job = home.job(&writer, nonce, &[home.node()], 0);
            *current.lock().unwrap() = Some(job);
            writer.write(archive(&home, &[job])).unwrap();
        }
        *current.lock().unwrap() = None;
        assert!(reader.join().unwrap() > JOBS);
    });
}

/// A later listing leaves out what is archived and unchanged, and shows all else with all of its tips.
#[test]
fn a_later_listing_leaves_out_what_was_archived_before() {
    let home = Home::new();
    let writer = home.writer();
    let jobs: Vec<JobId> = (0..6).map(|nonce| home.job(&writer, nonce, &[home.node()], 0)).collect();
    let all = |some: &[JobId]| -> BTreeSet<JobId> { some.iter().copied().collect() };
    let listed = |since: &Archives| {
        let (listed, archives) = list_since(&home.repo(), since).unwrap();
        for (job, tips) in &listed {
            assert_eq!(*tips, home.read(*job).unwrap().reading.tips);
        }
        (listed.into_keys().collect::<BTreeSet<JobId>>(), archives)
    };
    let (seen, first) = listed(&Archives::new());
    assert_eq!((seen, first.len()), (all(&jobs), 0));
    assert_eq!(live_jobs(&home.repo(), &home.node()).unwrap(), all(&jobs));
    writer.write(archive(&home, &jobs[..4])).unwrap();
    let (seen, second) = listed(&first);
    assert_eq!((seen, second.len()), (all(&jobs), 1));
    assert_eq!(listed(&second).0, all(&jobs[4..]));
    operation(&writer, home.append(bid(jobs[0], 1)));
    assert_eq!(listed(&second).0, all(&[jobs[0], jobs[4], jobs[5]]));
    writer.write(archive(&home, &[jobs[0], jobs[4]])).unwrap();
    let (seen, third) = listed(&second);
    assert_eq!(seen, all(&[jobs[0], jobs[4], jobs[5]]));
    assert_eq!(listed(&third).0, all(&jobs[5..]));
    assert_eq!(listed(&Archives::new()).0, all(&jobs));
    assert_eq!(live_jobs(&home.repo(), &home.node()).unwrap(), all(&jobs[5..]));
}
