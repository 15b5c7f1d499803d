//! Logs: followed live, read again later, and capped both ways.

use std::time::{Duration, Instant};

use cobs::digest::Digest;
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::Limit;
use scheduler::runner::log::reader::LogEvent;
use scheduler::runner::log::{Stream, TAIL_BYTES_MAX};
use sha2::{Digest as _, Sha256};

use crate::harness::{END_WAIT, Tests, chunks, exited, finish, log, script, start, strict};

pub const TESTS: Tests = &[
    ("logs::a_line_reaches_a_follower_at_once", a_line_reaches_a_follower_at_once),
    ("logs::two_may_follow_from_different_places", two_may_follow_from_different_places),
    ("logs::both_streams_are_told_apart", both_streams_are_told_apart),
    ("logs::digest_and_tail_are_those_of_the_output", digest_and_tail_are_those_of_the_output),
    ("logs::a_strict_cap_ends_the_run", a_strict_cap_ends_the_run),
    ("logs::a_lenient_cap_drops_and_tells", a_lenient_cap_drops_and_tells),
    ("logs::a_full_disk_is_told", a_full_disk_is_told),
];

fn a_line_reaches_a_follower_at_once() {
    // The time in each line is the one at which it was written; a follower has it milliseconds later.
    let text = "import time\nfor _ in range(20):\n time.sleep(0.05)\n print(time.time_ns(), flush=True)";
    let kept = start(&crate::harness::command(&["python3", "-c", text]));
    let mut reader = kept.run.logs(0).unwrap();
    let mut late = Vec::new();
    loop {
        match reader.next(END_WAIT).unwrap() {
            LogEvent::Chunk(chunk) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
                let text = String::from_utf8(chunk.bytes).unwrap();
                late.extend(text.lines().map(|line| now.saturating_sub(line.parse().unwrap())));
            }
            LogEvent::End => break,
            LogEvent::Quiet => panic!("nothing came"),
        }
    }
    late.sort_unstable();
    assert_eq!(late.len(), 20);
    println!("log: a line is read after {} us, in the worst case {} us", late[10] / 1000, late[19] / 1000);
    assert!(late[10] < 50_000_000, "{late:?}");
}

fn two_may_follow_from_different_places() {
    // One from the start and one from the middle of a line see the same bytes, and both the end.
    let kept = start(&script("for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 0.02; done"));
    let follow = |from: u64| {
        let mut reader = kept.run.logs(from).unwrap();
        let mut seen = Vec::new();
        loop {
            match reader.next(END_WAIT).unwrap() {
                LogEvent::Chunk(chunk) => {
                    assert_eq!(chunk.offset, from + seen.len() as u64);
                    seen.extend(chunk.bytes);
                }
                LogEvent::End => return String::from_utf8(seen).unwrap(),
                LogEvent::Quiet => panic!("nothing came"),
            }
        }
    };
    let (whole, rest) = std::thread::scope(|scope| {
        let whole = scope.spawn(|| follow(0));
        let rest = scope.spawn(|| follow(10));
        (whole.join().unwrap(), rest.join().unwrap())
    });
    assert_eq!(whole.lines().count(), 9);
    assert_eq!(rest, whole[10..]);
    assert_eq!(kept.end().outcome, exited(0));
    assert_eq!(log(&kept.run), whole);
}

fn both_streams_are_told_apart() {
    // Each piece keeps the name of its stream.
    let kept = start(&script("echo out; sleep 0.05; echo err >&2"));
    kept.end();
    assert_eq!(chunks(&kept.run), [(Stream::Out, b"out\n".to_vec()), (Stream::Err, b"err\n".to_vec())]);
}

fn digest_and_tail_are_those_of_the_output() {
    // The digest is that of all bytes in their order, the tail the last 4 KiB of them.
    let (finished, log) = finish(&script("seq 1 5000"));
    let end = finished.log.unwrap();
    assert_eq!(end.blob.size, log.len() as u64);
    assert_eq!(end.blob.digest, Digest(Sha256::digest(log.as_bytes()).into()));
    assert_eq!(end.tail, log[log.len() - TAIL_BYTES_MAX..]);
}

fn a_strict_cap_ends_the_run() {
    // It is ended when it passes its cap, with exactly the cap in the log, and says so.
    let mut request = script("exec yes");
    request.limits.log_bytes = strict(100_000);
    let (finished, log) = finish(&request);
    assert_eq!(finished.outcome, RunOutcome::Signalled { signal: 25 });
    assert_eq!(finished.reason.as_deref(), Some("the log limit of 100000 bytes was reached"));
    assert!(log.starts_with("y\ny\n") && log[100_000..].contains("bytes dropped"), "{}", &log[99_990..]);
}

fn a_lenient_cap_drops_and_tells() {
    // A hundred megabytes neither stop the run nor fill the disk; the last line says how much is missing.
    let mut request = script("head -c 100000000 /dev/zero; echo end; exit 3");
    request.limits.log_bytes = Limit { value: 1 << 20, strict: false };
    let start = Instant::now();
    let (finished, log) = finish(&request);
    assert_eq!(finished.outcome, exited(3));
    let dropped = 100_000_004 - (1 << 20);
    assert_eq!(&log[1 << 20..], format!("{dropped} bytes dropped: the log limit is {} bytes\n", 1 << 20));
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A file system of a mebibyte, gone when dropped, or as soon as the supervisor that has just ended lets go of it.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "x"]).arg(dir.path());
        assert!(mount.status().unwrap().success());
        Self(dir)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn a_full_disk_is_told() {
    // Whether it is the log or an artifact that does not fit, the run ends with the reason, soon and in writing.
    let small = Small::new();
    let request = script("head -c 3000000 /dev/zero; sleep 60");
    let run = scheduler::runner::Runner::start(crate::harness::sandbox(), &small.0.path().join("log"), &request);
    let finished = crate::harness::end(&run.unwrap());
    assert_eq!(finished.outcome, RunOutcome::Lost);
    assert!(finished.reason.as_ref().unwrap().contains("No space left"), "{:?}", finished.reason);
    drop(small);
    let small = Small::new();
    let mut request = script("head -c 3000000 /dev/urandom >big; echo made");
    request.artifacts = vec!["big".into()];
    let run = scheduler::runner::Runner::start(crate::harness::sandbox(), &small.0.path().join("run"), &request);
    let finished = crate::harness::end(&run.unwrap());
    assert_eq!(finished.outcome, RunOutcome::Lost);
    let reason = finished.reason.unwrap();
    assert!(reason.contains("artifact 'big'") && reason.contains("No space left"), "{reason}");
}
