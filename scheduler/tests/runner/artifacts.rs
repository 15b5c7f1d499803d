//! Artifacts: what matches comes out whole and by digest, and nothing else does.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use scheduler::runner::finished::{ARTIFACTS_DIR, Artifact, Manifest};
use scheduler::runner::request::RunRequest;

use crate::harness::{Tests, exited, script, start, strict};

pub const TESTS: Tests = &[
    ("artifacts::what_matches_is_kept_by_digest", what_matches_is_kept_by_digest),
    ("artifacts::links_are_not_followed", links_are_not_followed),
    ("artifacts::a_failed_job_keeps_them_too", a_failed_job_keeps_them_too),
    ("artifacts::more_than_the_disk_limit_is_refused", more_than_the_disk_limit_is_refused),
    ("artifacts::a_hundred_megabytes_take_little_time", a_hundred_megabytes_take_little_time),
];

fn with(text: &str, patterns: &[&str]) -> RunRequest {
    let mut request = script(text);
    request.artifacts = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    request
}

/// Runs and gives each artifact with its content.
fn artifacts(request: &RunRequest) -> BTreeMap<String, (Artifact, Vec<u8>)> {
    let kept = start(request);
    let finished = kept.end();
    assert_eq!(finished.outcome, exited(0), "{:?}", finished.reason);
    let manifest = Manifest::read(kept.dir(), &finished.artifacts.unwrap()).unwrap();
    let content =
        |artifact: &Artifact| fs::read(kept.dir().join(ARTIFACTS_DIR).join(artifact.blob.digest.to_string())).unwrap();
    manifest.artifacts.iter().map(|one| (one.path.clone(), (one.clone(), content(one)))).collect()
}

fn what_matches_is_kept_by_digest() {
    // Patterns, a directory that matches whole, an empty file and the executable bit; `.git` and the rest stay inside.
    let made = artifacts(&with(
        "mkdir -p out/deep .git; echo one >a.txt; echo two >b.bin; echo three >out/deep/c; : >out/empty; \
         echo x >.git/config; chmod 755 a.txt",
        &["*.txt", "out/", "**/config"],
    ));
    let paths: Vec<_> = made.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a.txt", "out/deep/c", "out/empty"]);
    assert_eq!((made["a.txt"].1.as_slice(), made["a.txt"].0.executable), (&b"one\n"[..], true));
    assert_eq!((made["out/deep/c"].1.as_slice(), made["out/deep/c"].0.executable), (&b"three\n"[..], false));
    assert!(artifacts(&with("true", &["none"])).is_empty());
}

fn links_are_not_followed() {
    // Neither a link to a file of the host nor one to a directory comes out, also when what it names exists inside.
    let made = artifacts(&with(
        "mkdir real; echo x >real/file; ln -s /etc/passwd stolen; ln -s real linked; ln -s real/file alias; mkfifo pipe",
        &["**"],
    ));
    assert_eq!(made.keys().collect::<Vec<_>>(), ["real/file"]);
}

fn a_failed_job_keeps_them_too() {
    // What a failed build wrote is what people look for.
    let kept = start(&with("echo report >r; exit 3", &["r"]));
    let finished = kept.end();
    assert_eq!(finished.outcome, exited(3));
    assert_eq!(Manifest::read(kept.dir(), &finished.artifacts.unwrap()).unwrap().artifacts.len(), 1);
}

fn more_than_the_disk_limit_is_refused() {
    // A file with a hole is larger than its disk: the host is not to be filled with zeros.
    let mut request = with("truncate -s 1T hole", &["hole"]);
    request.limits.disk_bytes = strict(1 << 20);
    let kept = start(&request);
    let finished = kept.end();
    assert!(finished.reason.unwrap().contains("larger than the disk limit"));
    assert_eq!(finished.artifacts, None);
}

fn a_hundred_megabytes_take_little_time() {
    // Well above the 50 MB/s of the design, hashing and syncing included, on a quiet machine.
    let mut request = with("head -c 100000000 /dev/urandom >big", &["big"]);
    request.limits.disk_bytes = strict(200 << 20);
    request.limits.memory_bytes = strict(400 << 20);
    let kept = start(&request);
    let finished = kept.end();
    let ended = finished.ended.unwrap();
    let took = Instant::now();
    let manifest = Manifest::read(kept.dir(), &finished.artifacts.unwrap()).unwrap();
    assert_eq!(manifest.artifacts[0].blob.size, 100_000_000);
    let millis = (scheduler::runner::clock::BootNs::now().0 - ended.0) / 1_000_000;
    println!("artifact: 100 MB stored in {millis} ms, {} MB/s ({:?} to read)", 100_000 / millis.max(1), took.elapsed());
    assert!(millis < 20_000);
}
