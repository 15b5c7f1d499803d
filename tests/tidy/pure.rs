//! The parts that decide know no clock, chance, environment, file or process, and nothing whose order is by chance.

use super::Source;
use super::rust::{first_test_line, lines_with};

/// The parts that decide, by the beginning of their paths.
const PURE: &[&str] = &["cobs/src/", "scheduler/src/machine", "scheduler/src/place"];

/// What stands at the edge inside those.
const EDGE: &[&str] = &["cobs/src/adapter", "cobs/src/lib.rs"];

/// What a pure part may not name, and what it does instead.
const IMPURE: &[(&str, &str)] = &[
    ("SystemTime", "time is an argument"),
    ("Instant::now", "time is an argument"),
    ("getrandom", "randomness is an argument"),
    ("rand::", "randomness is an argument"),
    ("std::env", "the environment is the node's"),
    ("env::var", "the environment is the node's"),
    ("std::fs", "files are the edge's"),
    ("std::net", "the network is the edge's"),
    ("std::process", "processes are the edge's"),
    ("std::thread", "threads are the edge's"),
    ("rustix", "the system is the edge's"),
    ("libc::", "the system is the edge's"),
    ("tokio", "waiting is the edge's"),
    ("async fn", "waiting is the edge's"),
    ("println!", "a library does not talk to the user"),
    ("HashMap", "use `BTreeMap`: what decides is ordered"),
    ("HashSet", "use `BTreeSet`: what decides is ordered"),
    ("f32", "no floats in what is signed or compared"),
    ("f64", "no floats in what is signed or compared"),
];

/// The impure things that a pure part names; its tests may name them.
pub fn impure(source: &Source) -> Vec<String> {
    let within = |parts: &[&str]| parts.iter().any(|part| source.path.starts_with(part));
    if !within(PURE) || within(EDGE) {
        return Vec::new();
    }
    let first = first_test_line(source);
    let found = IMPURE.iter().flat_map(|(name, instead)| {
        let lines = lines_with(&source.text, move |line| line.contains(name)).filter(|line| *line < first);
        lines.map(move |line| format!("line {line}: `{name}` in a pure part: {instead}"))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_deciding_part_is_pure() {
        let clock = "let now = std::time::SystemTime::now();\n";
        assert_eq!(impure(&source("cobs/src/job/fold.rs", clock)).len(), 1);
        assert_eq!(impure(&source("scheduler/src/machine/arbiter.rs", clock)).len(), 1);
        assert_eq!(impure(&source("scheduler/src/place.rs", "use std::collections::HashMap;\n")).len(), 1);
        for edge in ["cobs/src/adapter/writer.rs", "scheduler/src/runner.rs", "node/src/daemon.rs", "tests/job.rs"] {
            assert!(impure(&source(edge, clock)).is_empty(), "{edge}");
        }
    }

    #[test]
    fn the_tests_of_a_deciding_part_may_use_the_machine() {
        let file = "fn read() {}\n\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(impure(&source("cobs/src/job/fold.rs", file)).is_empty());
        assert!(impure(&source("cobs/src/job/fold/tests.rs", "use std::fs;\n")).is_empty());
        let before = format!("use std::fs;\n{file}");
        assert_eq!(
            impure(&source("cobs/src/job/fold.rs", &before)),
            ["line 1: `std::fs` in a pure part: files are the edge's"]
        );
    }
}
