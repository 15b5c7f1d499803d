//! The writer: batches, refusals, other processes that write beside it, and storage that fails.

use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cobs::adapter::writer::{
    BATCH_DRAFTS_MAX, Draft, LIVE_MAX, QUEUE_DRAFTS_MAX, WriteError, Writer, WriterConfig, WriterHandle, Written,
};
use cobs::id::{Epoch, JobId, Oid, Seq, Term, Token};
use cobs::job::action::{Action, Digests, Done, Grant, GrantKind, Settle, TAIL_BYTES_MAX};
use cobs::job::outcome::{RunOutcome, Settlement};
use radicle::storage::ReadStorage as _;
use radicle::storage::git::Repository;

use crate::home::{Home, bid, operation, publish, sign, sign_refs, store};

fn settle(job: JobId) -> Action {
    Action::Settle(Settle { job, seq: Seq(0), epoch: Epoch(0), outcome: Settlement::Cancelled })
}

/// A writer whose first announcement waits until something is sent, and a count of its announcements.
fn held_back(home: &Home) -> (WriterHandle, std::sync::mpsc::SyncSender<()>, Arc<Mutex<Vec<usize>>>) {
    let (release, wait) = sync_channel(1);
    let announced = Arc::new(Mutex::new(Vec::new()));
    let (count, repo, me) = (Arc::clone(&announced), home.repo(), home.node());
    let announce = move |_, _| {
        count.lock().unwrap().push(signatures(&repo, &me));
        if count.lock().unwrap().len() == 1 {
            wait.recv().unwrap();
        }
    };
    let config = WriterConfig {
        storage: home.storage.clone(),
        signer: home.key.clone(),
        home: home.dir.path().to_owned(),
        passed: cobs::adapter::writer::nobody,
    };
    (Writer::spawn(config, Box::new(announce), Box::new(|_| {})).unwrap(), release, announced)
}

/// How often the references of `node` were signed.
fn signatures(repo: &Repository, node: &cobs::id::NodeId) -> usize {
    let head = repo.backend.refname_to_id(&format!("refs/namespaces/{node}/refs/rad/sigrefs")).unwrap();
    let mut walk = repo.backend.revwalk().unwrap();
    walk.push(head).unwrap();
    walk.simplify_first_parent().unwrap();
    walk.count()
}

#[test]
fn what_arrives_while_it_writes_is_one_batch_with_one_signature_and_one_announcement() {
    let home = Home::new();
    let (writer, release, announced) = held_back(&home);
    let (sender, replies) = channel();
    let submit = |draft| {
        let sender = sender.clone();
        writer.submit(draft, Box::new(move |result| sender.send(result).unwrap()));
    };
    submit(home.draft(0, &[home.node()]));
    while announced.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    for nonce in 1..=BATCH_DRAFTS_MAX as u64 {
        submit(home.draft(nonce, &[home.node()]));
    }
    assert!(replies.try_recv().is_err(), "no reply before the announcement has returned");
    release.send(()).unwrap();
    let jobs: Vec<JobId> =
        replies.iter().take(1 + BATCH_DRAFTS_MAX).map(|reply| reply.unwrap().operation().unwrap().job).collect();
    let announced = announced.lock().unwrap().clone();
    assert_eq!(announced.len(), 2, "one announcement for each batch");
    assert_eq!(announced[1] - announced[0], 1, "one signature for the batch");
    assert_eq!(signatures(&home.repo(), &home.node()), announced[1]);
    assert!(jobs.iter().all(|job| home.read(*job).is_ok()));
}

#[test]
fn a_full_queue_and_a_stopped_writer_refuse_at_once() {
    let home = Home::new();
    let (writer, release, announced) = held_back(&home);
    let (sender, replies) = channel();
    let publish = || {
        let sender = sender.clone();
        let draft = Draft::Publish { ledger: home.ledger };
        writer.submit(draft, Box::new(move |result| sender.send(result).unwrap()));
    };
    publish();
    while announced.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    (0..QUEUE_DRAFTS_MAX + 1).for_each(|_| publish());
    assert!(matches!(replies.recv().unwrap(), Err(WriteError::Busy)));
    release.send(()).unwrap();
    let taken = replies.iter().take(QUEUE_DRAFTS_MAX + 1);
    assert!(taken.map(Result::unwrap).all(|written| matches!(written, Written::Published { .. })));
    writer.stop();
    assert!(matches!(writer.write(home.draft(1, &[home.node()])), Err(WriteError::Stopped)));
}

#[test]
fn numbers_run_out_with_the_last_one_kept_for_a_settle() {
    let home = Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 0);
    let repo = home.repo();
    let near = sign(&repo, &home.key, vec![job.0], &bid(job, 1).with_seq(Seq(Seq::MAX.0 - 2)));
    publish(&repo, &home.node(), job, near);
    assert_eq!(operation(&writer, home.append(bid(job, 1))).seq, Seq(Seq::MAX.0 - 1));
    assert!(matches!(writer.write(home.append(bid(job, 1))), Err(WriteError::SequenceExhausted(_))));
    assert_eq!(operation(&writer, home.append(settle(job))).seq, Seq::MAX);
    assert!(matches!(writer.write(home.append(settle(job))), Err(WriteError::SequenceExhausted(_))));
    assert!(home.read(job).unwrap().job.settled.is_some());
}

#[test]
fn an_equal_root_is_refused_and_the_job_keeps_its_operations() {
    let home = Home::new();
    let writer = home.writer();
    // equal content is one object only within one second
    let refused = (0..20).any(|nonce| {
        let job = home.job(&writer, nonce, &[home.node()], 1);
        let again = writer.write(home.draft(nonce, &[home.node()]));
        assert_eq!(home.read(job).unwrap().ops, 2);
        matches!(again, Err(WriteError::Exists(existing)) if existing == job)
    });
    assert!(refused);
}

#[test]
fn what_cannot_be_written_is_refused_for_its_reason() {
    let home = Home::new();
    let writer = home.writer();
    let absent = JobId(Oid::from_sha1([7; 20]));
    assert!(matches!(writer.write(home.append(bid(absent, 1))), Err(WriteError::UnknownJob(job)) if job == absent));
    let job = home.job(&writer, 1, &[home.node()], 0);
    assert!(matches!(writer.write(home.append(bid(job, 1001))), Err(WriteError::Invalid(_))));
    let other = Draft::Append {
        ledger: home.ledger,
        job,
        action: bid(absent, 1),
        urgency: cobs::adapter::writer::Urgency::Now,
    };
    assert!(matches!(writer.write(other), Err(WriteError::Invalid(_))));
    let nowhere = cobs::id::RepoId::from(Oid::from_sha1([7; 20]));
    assert!(matches!(writer.write(Draft::Publish { ledger: nowhere }), Err(WriteError::Ledger { .. })));
    assert_eq!(home.read(job).unwrap().ops, 1);
}

#[test]
fn text_is_stored_as_it_was_given() {
    // Radicle's encoder composes text: a path would name another file, and this tail grow past its bound
    let home = Home::new();
    let writer = home.writer();
    let decomposed = "e\u{301}";
    let mut create = home.create(1, &[home.node()]);
    create.spec.artifacts = vec![decomposed.to_owned()];
    let job = operation(&writer, Draft::Create { ledger: home.ledger, create: Box::new(create) }).job;
    let tail = "\u{1d160}".repeat(TAIL_BYTES_MAX / 4);
    let granted = Grant {
        job,
        seq: Seq(0),
        epoch: Epoch(0),
        term: Term(1),
        node: home.node(),
        kind: GrantKind::Held,
        lease_ms: 1_000,
    };
    operation(&writer, home.append(Action::Grant(granted)));
    let done = Done {
        job,
        seq: Seq(0),
        epoch: Epoch(0),
        term: Term(1),
        outcome: RunOutcome::Lost,
        digests: Digests::default(),
        tail: tail.clone(),
        reason: String::new(),
        duration_ms: 0,
    };
    operation(&writer, home.append(Action::Done(done)));
    let read = home.read(job).unwrap().job;
    assert_eq!(read.create.spec.artifacts, [decomposed]);
    assert_eq!(read.dones[&Token::new(0, 1)].tail, tail);
    assert!(read.ignored.is_empty());
}

#[test]
fn a_full_ledger_refuses_new_jobs_and_no_other_operation() {
    let home = Home::new();
    let first = home.writer();
    let job = home.job(&first, 1, &[home.node()], 0);
    first.stop();
    let repo = home.repo();
    for number in 1..LIVE_MAX {
        let id = format!("{number:040x}");
        publish(&repo, &home.node(), id.parse().unwrap(), job.0);
    }
    let writer = home.writer();
    let error = writer.write(home.draft(2, &[home.node()])).unwrap_err();
    assert!(matches!(error, WriteError::LedgerFull { live: LIVE_MAX, .. }), "{error}");
    assert_eq!(writer.live(&home.ledger), Some(LIVE_MAX));
    operation(&writer, home.append(bid(job, 1)));
}

#[test]
fn another_process_on_the_same_namespace_loses_us_nothing() {
    // as `rad` does: no lock, no compare-and-swap, its signature retried by hand
    let home = Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 0);
    let (storage, ledger, key, me) = (home.storage.clone(), home.ledger, home.key.clone(), home.node());
    let foreign = std::thread::spawn(move || {
        let repo = storage.repository(ledger).unwrap();
        let name = format!("refs/namespaces/{me}/refs/cobs/io.rhizome.job/{job}");
        for number in 0..60 {
            let tip: Oid = repo.backend.refname_to_id(&name).unwrap().into();
            let note = serde_json::json!({"type": "note", "number": number}).to_string();
            let commit = store(&repo, &key, None, vec![tip], vec![note.into_bytes()]);
            // both fail whenever the writer does the same at the same moment
            drop(repo.backend.reference(&name, commit.into(), true, "foreign"));
            drop(radicle::storage::SignRepository::sign_refs(&repo, &key));
        }
    });
    let mut acknowledged = Vec::new();
    for score in 0..60 {
        acknowledged.push(operation(&writer, home.append(bid(job, score))));
    }
    foreign.join().unwrap();
    acknowledged.push(operation(&writer, home.append(bid(job, 999))));
    let read = home.read(job).unwrap();
    let repo = home.repo();
    let tip = *read.reading.tips[&home.node()].first().unwrap();
    for written in &acknowledged {
        let commit = written.commit;
        let held = tip == commit || repo.backend.graph_descendant_of(tip.into(), commit.into()).unwrap();
        assert!(held, "{written:?} is lost");
    }
    let seqs: std::collections::BTreeSet<Seq> = acknowledged.iter().map(|written| written.seq).collect();
    assert_eq!(seqs.len(), acknowledged.len(), "no number twice");
    assert!(!read.job.ignored.contains_key(&cobs::job::state::Ignored::SequenceReused));
    sign_refs(&repo, &home.key);
}

#[test]
fn storage_that_fails_is_an_error_to_every_caller_and_the_writer_lives_on() {
    let home = Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 0);
    let objects = home.repo().backend.path().join("objects");
    let aside = objects.with_extension("aside");
    std::fs::rename(&objects, &aside).unwrap();
    std::fs::write(&objects, "in the way").unwrap();
    for _ in 0..2 {
        assert!(writer.write(home.append(bid(job, 1))).is_err());
        assert!(writer.write(home.draft(2, &[home.node()])).is_err());
    }
    std::fs::remove_file(&objects).unwrap();
    std::fs::rename(&aside, &objects).unwrap();
    assert_eq!(operation(&writer, home.append(bid(job, 2))).seq, Seq(1));
    assert_eq!(home.read(job).unwrap().ops, 2);
}

#[test]
fn what_cannot_be_signed_is_taken_back() {
    let home = Home::new();
    let writer = home.writer();
    let job = home.job(&writer, 1, &[home.node()], 1);
    let before = home.read(job).unwrap();
    let path = home.repo().backend.path().to_owned();
    let lock = path.join(format!("refs/namespaces/{}/refs/rad/sigrefs.lock", home.node()));
    std::fs::write(&lock, "").unwrap();
    let (sender, replies) = channel();
    for draft in [home.append(bid(job, 7)), home.append(bid(job, 8)), home.draft(2, &[home.node()])] {
        let sender = sender.clone();
        writer.submit(draft, Box::new(move |result| sender.send(result).unwrap()));
    }
    for _ in 0..3 {
        let error = replies.recv_timeout(Duration::from_secs(60)).unwrap().unwrap_err();
        assert!(matches!(error, WriteError::Storage { doing: "sign references", .. }), "{error}");
    }
    let after = home.read(job).unwrap();
    assert_eq!(after.reading.tips, before.reading.tips);
    assert_eq!(writer.live(&home.ledger), Some(1));
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(operation(&writer, home.append(bid(job, 9))).seq, Seq(2));
    assert_eq!(home.read(job).unwrap().ops, 3);
}

/// Whatever packs references beside the writer, none drops out of its signature: peers would let it go.
#[test]
fn references_that_are_packed_meanwhile_stay_signed() {
    const JOBS: u64 = 100;
    let home = Home::new();
    let writer = home.writer();
    let path = home.repo().backend.path().to_owned();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let mut git = std::process::Command::new("git");
                // it fails while the writer holds a lock
                git.arg("-C").arg(&path).args(["pack-refs", "--all"]).output().unwrap();
            }
        });
        let mut dropped = Vec::new();
        for nonce in 0..JOBS {
            let Ok(Written::Operation(written)) = writer.write(home.draft(nonce, &[home.node()])) else { continue };
            let repo = home.repo();
            let signed = radicle::storage::refs::SignedRefs::load(home.node(), &repo).unwrap().unwrap();
            let is_signed = |job: &JobId| {
                let name = format!("refs/cobs/{}/{job}", cobs::job::TYPE_NAME);
                signed.refs().iter().any(|(known, _)| known.as_str() == name)
            };
            let live = cobs::adapter::reader::live_jobs(&repo, &home.node()).unwrap();
            dropped.extend(live.iter().chain([&written.job]).filter(|job| !is_signed(job)).map(|job| (nonce, *job)));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(dropped.is_empty(), "{dropped:?}");
        assert!(writer.live(&home.ledger).is_some_and(|live| live > 10), "too few were written to show anything");
    });
}
