//! The form that every error has: what and why, what next, a stable word, an exit code; and the words it must hold.

use std::collections::BTreeMap;

use serde_json::Value;

use super::machine::{Answer, Machine, ask};
use crate::support::cli::Output;

/// A wrong command line, and what is said about it.
pub struct Row {
    pub typed: &'static [&'static str],
    pub exit: i32,
    pub code: &'static str,
    /// Words of the error; the first ones of what and why, the last of what next.
    pub words: &'static [&'static str],
}

/// Whether a person and a program each get the error of a row.
#[track_caller]
pub fn refused(machine: &Machine, row: &Row, replace: &BTreeMap<&str, String>) {
    let typed: Vec<String> = row
        .typed
        .iter()
        .map(|word| replace.iter().fold((*word).to_owned(), |word, (of, by)| word.replace(of, by)))
        .collect();
    let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
    told_a_person(&machine.run(&typed), row.exit, row.words, &typed);
    told_a_program(&machine.run(&[&["--json"], typed.as_slice()].concat()), row.exit, row.code, row.words, &typed);
}

#[track_caller]
pub fn told_a_person(output: &Output, exit: i32, words: &[&str], typed: &[&str]) {
    assert_eq!(output.code, exit, "{typed:?}: {output:?}");
    let error = output.stderr.lines().position(|line| line.starts_with("error: "));
    let hint = output.stderr.lines().position(|line| line.starts_with("hint: "));
    assert!(error.is_some() && hint > error, "{typed:?} has no error and hint: {output:?}");
    assert!(output.stdout.is_empty(), "{typed:?}: {output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "{typed:?} does not say {word:?}: {}", output.stderr);
    }
}

#[track_caller]
pub fn told_a_program(output: &Output, exit: i32, code: &str, words: &[&str], typed: &[&str]) {
    assert_eq!(output.code, exit, "{typed:?}: {output:?}");
    let error = output.stdout.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let error = error.unwrap_or_else(|| panic!("{typed:?} prints no JSON: {output:?}"))["error"].clone();
    assert_eq!(error["code"], code, "{typed:?}: {error}");
    assert_eq!(error["exitCode"], exit, "{typed:?}: {error}");
    said(&error, words, &format!("{typed:?}"));
}

/// Whether an answer is a problem of this status and code, with a hint and the id of the request.
#[track_caller]
pub fn problem(answer: &Answer, status: u16, code: &str, words: &[&str], what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{what}: {answer:?}");
    let problem = &answer.body;
    assert_eq!(problem["status"], status, "{what}: {problem}");
    assert_eq!(problem["code"], code, "{what}: {problem}");
    assert_eq!(problem["type"], format!("urn:rhizome:problem:{code}"), "{what}: {problem}");
    let id = problem["correlationId"].as_str().unwrap_or_default();
    assert!(!id.is_empty() && answer.head.contains(&format!("x-request-id: {id}")), "{what}: {answer:?}");
    said(problem, words, what);
}

/// Asks and checks in one.
#[track_caller]
pub fn asked(address: &str, head: &[&str], body: &[u8], (status, code, words): (u16, &str, &[&str])) {
    problem(&ask(address, head, body), status, code, words, &format!("{head:?}"));
}

#[track_caller]
fn said(error: &Value, words: &[&str], what: &str) {
    let of = |name: &str| error[name].as_str().unwrap_or_default();
    assert!(!of("detail").is_empty(), "{what} says not what: {error}");
    assert!(!of("hint").is_empty(), "{what} says not what next: {error}");
    for word in words {
        assert!(of("detail").contains(word) || of("hint").contains(word), "{what} does not say {word:?}: {error}");
    }
}
