//! The corpus of the fuzz target, replayed: each file shows what it is named for, and the laws hold of it and of
//! thousands of small changes to it. The fuzzer itself is run by hand, see `cobs/fuzz/README.md`.

use std::collections::BTreeMap;

use crate::coverage::EXPECTED;
use crate::fuzz::{check, job};

/// Changed inputs that are tried in a test run.
const MUTATIONS: u64 = 3_000;
/// Changes to one input at most.
const CHANGES_MAX: u64 = 4;

fn corpus() -> BTreeMap<String, Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/fold");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

/// The name that a word of ours has on the wire.
fn name(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap();
    value.as_str().or_else(|| value["type"].as_str()).unwrap().to_owned()
}

#[test]
fn each_file_shows_what_it_is_named_for() {
    for (file, bytes) in corpus() {
        let mut words = file.split('-');
        let (what, which) = (words.next().unwrap(), words.next().unwrap_or_default());
        let job = job(&bytes);
        match what {
            "noJob" => assert!(job.is_none(), "{file}"),
            "ignored" => {
                let reasons: Vec<String> = job.unwrap().ignored.keys().map(name).collect();
                assert_eq!(reasons, [which], "{file}");
            }
            "regression" => {}
            status => {
                let job = job.unwrap();
                assert_eq!(name(job.status()), status, "{file}");
                assert!(job.ignored.is_empty(), "{file}: {:?}", job.ignored);
                let end = job.settled.map(|settled| name(settled.outcome)).unwrap_or_default();
                let ends = ["result", "cancelled", "lost", "expired", "superseded"];
                assert!(!ends.contains(&which) || which == end, "{file}: {end}");
            }
        }
    }
}

#[test]
fn the_corpus_has_every_reason_to_ignore_an_operation() {
    let files = corpus();
    let reasons = EXPECTED.iter().filter_map(|name| name.strip_prefix("ignored "));
    let missing = reasons.filter(|reason| {
        !files.keys().any(|file| {
            file.strip_prefix("ignored-")
                .is_some_and(|name| name.split('-').next().unwrap().eq_ignore_ascii_case(reason))
        })
    });
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_laws_hold_of_the_corpus_and_of_what_is_near_it() {
    let files: Vec<Vec<u8>> = corpus().into_values().collect();
    files.iter().for_each(|bytes| check(bytes));
    for seed in 1..=MUTATIONS {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = files[random.below(files.len())].clone();
        for _ in 0..=random.below(CHANGES_MAX as usize) {
            let other = &files[random.below(files.len())];
            mutate(&mut bytes, other, &mut random);
        }
        let tried = bytes.clone();
        let result = std::panic::catch_unwind(|| check(&tried));
        assert!(result.is_ok(), "seed {seed} breaks a law: {}", String::from_utf8_lossy(&bytes));
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

/// One small change: a byte, a digit, a line of this or another input.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (mut own, foreign) = (lines(bytes), lines(other));
    let (from, to) = (random.below(foreign.len()), random.below(own.len()));
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => own.insert(to, foreign[from].clone()),
        1 => own.push(foreign[from].clone()),
        2 => drop(own.remove(to)),
        3 => {
            let last = own.len() - 1;
            own.swap(to, last);
        }
        4 => {
            // who says it, or under which pin
            if let Some(byte) = own[to].get_mut(from % 2) {
                *byte = b"ABCDEFGH0129-"[at % 13];
            }
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                let digit = byte.is_ascii_digit();
                *byte = if digit { b"0123456789"[from % 10] } else { random.below(256) as u8 };
            }
            return;
        }
    }
    *bytes = own.join(&b'\n');
}
