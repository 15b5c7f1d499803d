//! A home that was restored from a copy: it writes nothing until it has back what its peers hold of it.

use std::process::Command;

use cobs::adapter::reader::live_jobs;
use cobs::adapter::restored::{is_behind, signed_at};
use cobs::adapter::writer::{Draft, WriteError, WriterHandle, Written};
use cobs::id::{JobId, Oid, Seq};

use crate::home::{Home, bid, operation, storage};

/// A copy of a home as it stands.
fn copy(home: &Home) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-a").arg(home.dir.path().join("storage")).arg(dir.path()).status().unwrap();
    assert!(status.success());
    Home { storage: storage(dir.path(), &home.key), dir, key: home.key.clone(), ledger: home.ledger }
}

/// Brings the objects of what `from` holds, as a peer sends them.
fn bring(from: &Home, to: &Home) {
    let mut git = Command::new("git");
    git.arg("-C").arg(to.repo().backend.path()).args(["-c", "gc.auto=0", "fetch", "--quiet", "--no-write-fetch-head"]);
    git.arg(from.repo().backend.path()).arg("+refs/namespaces/*:refs/peer/*");
    assert!(git.status().unwrap().success());
}

fn signed(home: &Home) -> Oid {
    signed_at(&home.repo(), &home.node()).unwrap().unwrap()
}

fn archive(home: &Home, writer: &WriterHandle, jobs: &[JobId]) {
    writer.write(Draft::Archive { ledger: home.ledger, jobs: jobs.to_vec() }).unwrap();
}

/// What happens to jobs after the copy was made: new ones, operations on old ones, and archiving.
fn go_on(home: &Home, writer: &WriterHandle, jobs: &mut Vec<JobId>) {
    operation(writer, home.append(bid(jobs[0], 7)));
    jobs.extend((10..13).map(|nonce| home.job(writer, nonce, &[home.node()], 1)));
    archive(home, writer, &[jobs[1], jobs[4]]);
}

/// A home behind its own operations is refused every write, gets them back, and goes on where it had been.
#[test]
fn a_restored_home_takes_back_what_a_peer_holds() {
    let lived = Home::new();
    let writer = lived.writer();
    let mut jobs: Vec<JobId> = (0..3).map(|nonce| lived.job(&writer, nonce, &[lived.node()], 1)).collect();
    archive(&lived, &writer, &jobs[2..]);
    let restored = copy(&lived);
    assert!(!is_behind(&restored.repo(), &lived.node(), signed(&lived)).unwrap());
    go_on(&lived, &writer, &mut jobs);
    let head = signed(&lived);
    assert!(is_behind(&restored.repo(), &lived.node(), head).unwrap());
    assert!(!is_behind(&lived.repo(), &lived.node(), signed(&restored)).unwrap());

    let again = restored.writer();
    again.close(restored.ledger);
    let refused = again.write(restored.append(bid(jobs[0], 9)));
    assert!(matches!(refused, Err(WriteError::Behind(ledger)) if ledger == restored.ledger), "{refused:?}");
    let recover = || again.write(Draft::Recover { ledger: restored.ledger, head });
    assert!(matches!(recover(), Err(WriteError::Storage { .. })), "what is not here was taken over");
    assert!(again.is_closed(&restored.ledger));
    bring(&lived, &restored);
    assert_eq!(recover().unwrap(), Written::Recovered { ledger: restored.ledger });
    for job in &jobs {
        let (here, there) = (restored.read(*job).unwrap(), lived.read(*job).unwrap());
        assert_eq!((here.job, here.reading.tips), (there.job, there.reading.tips));
    }
    assert_eq!(signed(&restored), head, "nothing was to be signed again");
    let live = live_jobs(&lived.repo(), &lived.node()).unwrap();
    assert_eq!(live_jobs(&restored.repo(), &lived.node()).unwrap(), live);
    assert_eq!(again.live(&restored.ledger), Some(live.len()));
    let next = operation(&again, restored.append(bid(jobs[0], 9)));
    assert_eq!(next.seq, Seq(3), "a number was used twice");
    assert!(restored.repo().backend.graph_descendant_of(signed(&restored).into(), head.into()).unwrap());
}

/// Where the restored home had written before it knew, what it wrote stays beside what the peer holds.
#[test]
fn what_a_restored_home_wrote_is_kept_beside() {
    let lived = Home::new();
    let writer = lived.writer();
    let mut jobs: Vec<JobId> = (0..3).map(|nonce| lived.job(&writer, nonce, &[lived.node()], 1)).collect();
    archive(&lived, &writer, &jobs[2..]);
    let restored = copy(&lived);
    go_on(&lived, &writer, &mut jobs);
    let again = restored.writer();
    let own = operation(&again, restored.append(bid(jobs[0], 9)));
    operation(&again, restored.append(bid(jobs[1], 8)));
    let fresh = restored.job(&again, 50, &[restored.node()], 1);
    archive(&restored, &again, &[fresh]);
    let head = signed(&lived);
    assert!(is_behind(&restored.repo(), &lived.node(), head).unwrap());
    again.close(restored.ledger);
    bring(&lived, &restored);
    again.write(Draft::Recover { ledger: restored.ledger, head }).unwrap();
    for job in jobs.iter().chain([&fresh]) {
        let here = restored.read(*job).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(here.reading.missing, 0);
    }
    let tips = &restored.read(jobs[0]).unwrap().reading.tips[&lived.node()];
    assert!(tips.contains(&own.commit), "our own operation is gone: {tips:?}");
    let theirs = &lived.read(jobs[0]).unwrap().reading.tips[&lived.node()];
    assert!(theirs.is_subset(tips), "{theirs:?} {tips:?}");
    assert_eq!(restored.read(jobs[1]).unwrap().job.bids[&lived.node()].score, 8, "it lives again beside the archive");
    let repo = restored.repo();
    assert!(repo.backend.graph_descendant_of(signed(&restored).into(), head.into()).unwrap());
    operation(&again, restored.append(bid(jobs[0], 3)));
}
