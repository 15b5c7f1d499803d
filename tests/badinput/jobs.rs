//! Commands that are typed wrong, and jobs that cannot be.

use std::collections::BTreeMap;

use super::check::{Row, refused};
use super::machine::Machine;
use crate::support::repository;

const fn row(typed: &'static [&'static str], exit: i32, code: &'static str, words: &'static [&'static str]) -> Row {
    Row { typed, exit, code, words }
}

/// SOURCE is a repository without changes, DIRTY one with, HOME no repository.
const JOBS: &[Row] = &[
    row(
        &["run", "--repo", "SOURCE", "--publish", "--commit", "1111111111111111111111111111111111111111", "--", "true"],
        66,
        "commit_not_found",
        &["no commit '1111111111111111111111111111111111111111'", "git log"],
    ),
    row(
        &["run", "--repo", "SOURCE", "--publish", "--commit", "no such branch", "--", "true"],
        66,
        "commit_not_found",
        &["no commit 'no such branch'", "SOURCE"],
    ),
    row(
        &["run", "--repo", "HOME", "--publish", "--", "true"],
        66,
        "repository_not_found",
        &["is in no git repository", "--repo"],
    ),
    row(
        &["run", "--repo", "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5", "--", "true"],
        66,
        "repository_not_found",
        &["rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5 is not on this node", "rad seed"],
    ),
    row(&["run", "--repo", "rad:odd", "--", "true"], 64, "bad_request", &["'rad:odd' is no repository id"]),
    row(
        &["run", "--repo", "SOURCE", "--", "true"],
        65,
        "not_published",
        &["has no Radicle identity", "--publish", "rad init --private"],
    ),
    row(
        &["run", "--repo", "DIRTY", "--publish", "--", "true"],
        65,
        "dirty_tree",
        &["has changes that no commit holds: new file", "--dirty"],
    ),
    row(
        &["run", "--repo", "DIRTY", "--publish", "--dirty", "--commit", "main", "--", "true"],
        64,
        "bad_request",
        &["changes are taken along with HEAD", "leave out"],
    ),
    row(
        &["run", "--ledger", "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5", "--", "true"],
        78,
        "no_ledger",
        &["rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5 is no ledger of this node", "rhizome status"],
    ),
    row(
        &["job", "list", "--ledger", "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5"],
        78,
        "no_ledger",
        &["is no ledger of this node", "rhizome status"],
    ),
    row(
        &["run", "--cpu", "4000", "--", "true"],
        65,
        "infeasible",
        &["alpha: the cpu limit of 4000000 is beyond", "loosen"],
    ),
    row(&["run", "--memory", "900T", "--", "true"], 65, "infeasible", &["alpha: the memory limit of", "is beyond"]),
    row(&["run", "--disk", "900T", "--", "true"], 65, "infeasible", &["alpha: the disk limit of", "is beyond"]),
    row(
        &["run", "--on", "nobody", "--", "true"],
        65,
        "infeasible",
        &["alpha: it is not 'nobody' and has no such label"],
    ),
    row(&["run", "--dir", "rust", "--", "true"], 65, "infeasible", &["it names no directory 'rust'"]),
    row(&["run", "--arbiter", "nobody", "--", "true"], 66, "not_found", &["no peer 'nobody'", "rhizome peers"]),
    row(
        &["run", "--artifact", "../*", "--", "true"],
        65,
        "path_escapes",
        &["pattern '../*' leaves the work tree", "'..'"],
    ),
    row(&["run", "--artifact", "a/../../b", "--", "true"], 65, "path_escapes", &["'a/../../b' leaves the work tree"]),
    row(
        &["run", "--artifact", "/etc/passwd", "--", "true"],
        65,
        "path_escapes",
        &["'/etc/passwd' leaves the work tree"],
    ),
    row(&["run", "--input", "/etc/hostname=../x", "--", "true"], 65, "path_escapes", &["the input '../x' leaves"]),
    row(&["run", "--input", "/no/such/file", "--", "true"], 66, "not_found", &["/no/such/file cannot be read"]),
    row(&["run", "--attempts", "0", "--", "true"], 64, "bad_request", &["attempts"]),
    row(
        &["run", "--private", "--on", "alpha", "--", "true"],
        64,
        "bad_request",
        &["a private job runs on its author's node"],
    ),
    row(
        &["run", "--key", "used", "--", "false"],
        65,
        "idempotency_conflict",
        &["'used' was used with another request", "use a new key"],
    ),
    row(&["run", "--env", "LARGE=VALUE", "--", "true"], 65, "too_large", &["at most 65536", "--input"]),
    row(&["job", "show", "0123"], 66, "not_found", &["no job '0123'", "rhizome job list"]),
    row(&["job", "logs", "0123"], 66, "not_found", &["no job '0123'"]),
    row(&["job", "explain", "0123"], 66, "not_found", &["no job '0123'", "rhizome job list"]),
    row(&["job", "explain", "../x"], 66, "not_found", &["no job '../x'", "rhizome job list"]),
    row(&["why", "0123"], 66, "not_found", &["no job '0123'", "rhizome job list"]),
    row(&["why", "../x"], 66, "not_found", &["no job '../x'", "rhizome job list"]),
    row(&["why", "0123456789abcdef0123456789abcdef01234567"], 66, "not_found", &["no job '0123456789abcdef"]),
    row(&["job", "cancel", "../x"], 66, "not_found", &["no job '../x'"]),
    row(&["job", "list", "--cursor", "odd"], 64, "bad_request", &["'odd' is no cursor"]),
    row(&["peers", "grant", "nobody", "run"], 66, "not_found", &["no peer 'nobody'"]),
    row(&["peers", "remove", "nobody"], 66, "not_found", &["no peer 'nobody'"]),
    row(&["token", "revoke", "nobody"], 66, "not_found", &["nobody"]),
];

/// Each job that cannot be is refused before anything is written, with what to do next.
#[test]
fn refuses_jobs_that_cannot_be() {
    let machine = Machine::start("alpha");
    let (clean, dirty) = (machine.home.join("clean"), machine.home.join("dirty"));
    repository::create(&machine.home, &clean, &[("greeting", "hello\n")]);
    repository::create(&machine.home, &dirty, &[("greeting", "hello\n")]);
    std::fs::write(dirty.join("new file"), "new\n").unwrap();
    machine.run(&["run", "--key", "used", "--", "true"]).ok();
    let before = machine.json(&["job", "list"])["items"].as_array().unwrap().len();
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let replace = BTreeMap::from([
        ("SOURCE", text(clean.clone())),
        ("DIRTY", text(dirty)),
        ("HOME", text(machine.home.path().to_owned())),
        ("VALUE", "x".repeat(100_000)),
    ]);
    for row in JOBS {
        let words: Vec<&str> = row.words.iter().copied().filter(|word| *word != "SOURCE").collect();
        let row = Row { words: words.leak(), ..*row };
        refused(&machine, &row, &replace);
    }
    assert_eq!(machine.json(&["job", "list"])["items"].as_array().unwrap().len(), before, "a refused job was written");
    // the person's repository is as it was
    assert_eq!(repository::git(&machine.home, &clean, &["status", "--porcelain"]), "");
    assert_eq!(repository::git(&machine.home, &clean, &["for-each-ref", "--format=%(refname)"]), "refs/heads/main\n");
}

const TYPED: &[Row] = &[
    row(&["frobnicate"], 64, "bad_request", &["frobnicate", "rhizome --help"]),
    row(&[], 64, "bad_request", &["rhizome --help"]),
    row(&["run"], 64, "bad_request", &["<COMMAND>"]),
    row(&["run", "--memory", "lots", "--", "true"], 64, "bad_request", &["'lots' is no size"]),
    row(&["run", "--odd", "--", "true"], 64, "bad_request", &["--odd"]),
    row(&["run", "--env", "A", "--", "true"], 64, "bad_request", &["KEY=VALUE"]),
    row(&["token", "create", "ci"], 64, "bad_request", &["--scope"]),
    row(&["job", "list", "--limit", "501"], 64, "bad_request", &["501 is not in 1..=500"]),
    row(&["status"], 69, "no_daemon", &["no daemon answers at", "rhizome up"]),
    row(&["run", "--", "true"], 69, "no_daemon", &["no daemon answers at", "rhizome up"]),
    row(&["job", "list"], 69, "no_daemon", &["no daemon answers at", "rhizome up"]),
    row(&["why"], 69, "no_daemon", &["no daemon answers at", "rhizome up"]),
    row(&["why", "abc"], 69, "no_daemon", &["no daemon answers at", "rhizome up"]),
    row(&["job", "explain", "abc"], 69, "no_daemon", &["no daemon answers at", "rhizome up"]),
    row(&["why", "abc", "def"], 64, "bad_request", &["unexpected argument 'def'", "rhizome why --help"]),
    row(&["join", "https://example.org"], 64, "bad_request", &["is no pairing link", "rhizome invite"]),
    row(&["join", "rhizome://pair/1/AAAA"], 64, "bad_request", &["is no pairing link", "rhizome invite"]),
];

/// A command line that means nothing, and one that needs a daemon where none is, say so in the same form.
#[test]
fn refuses_what_is_typed_wrong() {
    let machine = Machine::bare();
    for row in TYPED {
        refused(&machine, row, &BTreeMap::new());
    }
    assert!(!machine.path().exists(), "a refused command made a home");
}

/// A program that does not exist is a job that could not start: the run is named, and ends with 125.
#[test]
fn names_a_program_that_does_not_exist() {
    let machine = Machine::start("alpha");
    let output = machine.run(&["run", "--", "frobnicate", "--fast"]);
    assert_eq!(output.code, 125, "{output:?}");
    assert!(output.stderr.contains("'frobnicate' was not found"), "{output:?}");
    let job = machine.run(&["--json", "run", "--", "frobnicate"]);
    assert_eq!(job.code, 125, "{job:?}");
    let job: serde_json::Value = serde_json::from_str(&job.stdout).unwrap();
    assert_eq!(job["runOutcome"]["type"], "couldNotStart", "{job}");
    assert_eq!(job["exitCode"], 125, "{job}");
    assert!(job["reason"].as_str().unwrap().contains("'frobnicate' was not found"), "{job}");
}

/// The beginning of an id that fits several jobs names them, whatever is asked of it.
#[test]
fn refuses_an_id_that_fits_several_jobs() {
    let machine = Machine::start("alpha");
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    // there are sixteen digits to begin with
    let (digit, pair) = (0..17)
        .find_map(|_| {
            let id = machine.run(&["run", "--detach", "--", "true"]).ok().trim().to_owned();
            let before = first.insert(id[..1].to_owned(), id.clone())?;
            Some((id[..1].to_owned(), [before, id]))
        })
        .unwrap();
    let (quoted, replace) = (format!("'{digit}'"), BTreeMap::from([("DIGIT", digit)]));
    let words = [quoted, pair[0].clone(), pair[1].clone(), "give more digits".into()].map(|word| &*word.leak());
    for typed in [&["why", "DIGIT"][..], &["job", "explain", "DIGIT"], &["job", "show", "DIGIT"]] {
        refused(&machine, &Row { typed, exit: 64, code: "ambiguous", words: words.to_vec().leak() }, &replace);
    }
}
