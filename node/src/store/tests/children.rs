//! What needs a process of its own: one that is killed in the middle of writes, and one whose disk is full.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use cobs::id::Token;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::super::claims::Start;
use super::super::state::{Incarnation, State};
use super::super::{StoreError, UnixMs};
use super::{CHILD, child, job};

fn argument() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Not a test by itself: records starts for ever, from four threads, and prints each once it is acknowledged.
#[test]
fn child_that_is_killed() {
    let Some(path) = argument() else { return };
    let state = State::open(&path).unwrap();
    let base = state.incarnation().0 * 1_000_000;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let state = &state;
            scope.spawn(move || {
                for n in 0.. {
                    let number = base + thread * 100_000 + n;
                    assert_eq!(
                        state.record_start(job(number), Token::new(0, 1), UnixMs(number)).unwrap(),
                        Start::First
                    );
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "started {number}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    drop(State::create(&path).unwrap());
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let mut process = child("children::child_that_is_killed", &path).spawn().unwrap();
        let mut fresh = 0;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some((_, number)) = line.split_once("started ") else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            acknowledged.push(number);
            fresh += 1;
            if fresh == 100 {
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        assert!(fresh >= 100, "the child ended by itself");
        let state = State::open(&path).unwrap();
        assert_eq!(state.incarnation(), Incarnation(2 * round + 1));
        let starts = state.starts().unwrap();
        for number in &acknowledged {
            assert!(starts.contains_key(&(job(*number), Token::new(0, 1))), "start {number} was lost");
        }
    }
}

/// Not a test by itself: fills what it may write, is refused, gets more room and goes on.
#[test]
fn child_without_room() {
    let Some(path) = argument() else { return };
    let state = State::open(&path).unwrap();
    let room = |bytes| setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    room(Some(std::fs::metadata(&path).unwrap().len() + 64 * 1024));
    let mut written = 0;
    let error = loop {
        match state.update_settings(|settings| settings.ledgers.extend([super::ledger((written % 200) as u8)])) {
            Ok(_) => {}
            Err(error) => break error,
        }
        match state.record_start(job(written), Token::new(0, 1), UnixMs(written)) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    assert!(state.record_start(job(1_000_000), Token::new(0, 1), UnixMs(0)).is_err());
    room(None);
    assert_eq!(state.record_start(job(1_000_001), Token::new(0, 1), UnixMs(0)).unwrap(), Start::First);
    let starts = state.starts().unwrap();
    for n in 0..written {
        assert!(starts.contains_key(&(job(n), Token::new(0, 1))), "start {n} of {written} was lost");
    }
    println!("went on after {written} starts");
}

#[test]
fn a_full_disk_is_told_and_gone_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.redb");
    drop(State::create(&path).unwrap());
    let output = child("children::child_without_room", &path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("went on after"), "{text}");
}
