//! A writer killed at any moment leaves what it acknowledged, whole, and a home that the next one can use.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use cobs::adapter::writer::{Writer, WriterConfig, WriterError};
use cobs::id::{JobId, RepoId, Seq};

use crate::home::{Home, bid, key, operation, storage, writer};

const CHILD: &str = "RHIZOME_TEST_CRASH";

/// Not a test of its own: the process that is killed.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the parent tells its child what to do")]
fn child() {
    let Ok(arguments) = std::env::var(CHILD) else { return };
    let [home, ledger, job] = arguments.split('\n').collect::<Vec<_>>()[..] else { panic!("{arguments}") };
    let (home, key) = (PathBuf::from(home), key(1));
    let (ledger, job): (RepoId, JobId) = (ledger.parse().unwrap(), job.parse().unwrap());
    let writer = writer(&home, &storage(&home, &key), &key);
    for score in 0.. {
        let draft = cobs::adapter::writer::Draft::Append {
            ledger,
            job,
            action: bid(job, score % 1000),
            urgency: cobs::adapter::writer::Urgency::Now,
        };
        let written = operation(&writer, draft);
        println!("acknowledged {} {}", written.seq.0, written.commit);
    }
}

#[test]
fn kill_nine_leaves_every_acknowledged_operation_whole() {
    let home = Home::new();
    let first = home.writer();
    let job = home.job(&first, 1, &[home.node()], 0);
    first.stop();
    let mut acknowledged = Vec::new();
    for kills in 1..=3 {
        let arguments = [home.dir.path().display().to_string(), home.ledger.to_string(), job.to_string()].join("\n");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(CHILD, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acks =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned));
        acknowledged.extend(acks.by_ref().take(5 * kills));
        child.kill().unwrap();
        child.wait().unwrap();
        // what it managed to say before it died
        acknowledged.extend(acks);
    }
    let read = home.read(job).unwrap();
    assert_eq!((read.reading.unreadable, read.reading.missing), (0, 0));
    assert!(acknowledged.len() >= 30);
    let repo = home.repo();
    let tip = *read.reading.tips[&home.node()].first().unwrap();
    for line in &acknowledged {
        let (_, commit) = line.split_once(' ').unwrap();
        let commit = git2::Oid::from_str(commit).unwrap();
        let held = git2::Oid::from(tip) == commit || repo.backend.graph_descendant_of(tip.into(), commit).unwrap();
        assert!(held, "{line} is lost");
    }
    assert!(read.job.ignored.is_empty(), "no number was used twice: {:?}", read.job.ignored);
    let next = operation(&home.writer(), home.append(bid(job, 1)));
    assert_eq!(Some(next.seq), read.job.last_seq.get(&home.node()).map(|last| Seq(last.0 + 1)));
}

#[test]
fn a_second_writer_on_one_home_is_refused_and_told_who_holds_it() {
    let home = Home::new();
    let first = home.writer();
    let spawn = || {
        let config = WriterConfig {
            storage: home.storage.clone(),
            signer: home.key.clone(),
            home: home.dir.path().to_owned(),
            passed: cobs::adapter::writer::nobody,
        };
        Writer::spawn(config, Box::new(|_, _| {}), Box::new(|_| {}))
    };
    let error = spawn().err().unwrap();
    let me = std::process::id();
    assert!(matches!(error, WriterError::Locked { pid: Some(pid), .. } if pid == me), "{error}");
    assert!(error.to_string().ends_with(&format!("(process {me})")), "{error}");
    first.stop();
    assert!(spawn().is_ok());
}
