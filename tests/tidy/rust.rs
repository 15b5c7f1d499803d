//! Rules of Rust files. They read text and not syntax: enough for code that rustfmt has laid out.

use super::Source;

const LINES_MAX: usize = 400;

/// Each foreign crate and the one part of ours (by the beginning of its path) that may name it.
const FOREIGN: &[(&str, &[&str])] = &[
    ("radicle", &["cobs/src/adapter", "node/src/replication", "node/src/source"]),
    ("git2", &["cobs/src/adapter", "node/src/replication", "node/src/source"]),
    ("radicle_node", &["node/src/replication"]),
    ("radicle_signals", &["node/src/replication"]),
    (
        "redb",
        &[
            "node/src/store",
            "vault/src/derived",
            "vault/src/documents",
            "vault/src/handle",
            "vault/src/embed/cache",
            "vault/src/meaning/",
            "vault/src/vectors/local",
        ],
    ),
    ("yamux", &["node/src/link"]),
    ("rustls", &["node/src/link"]),
    ("tokio_rustls", &["node/src/link"]),
    ("rcgen", &["node/src/link"]),
    ("axum", &["node/src/api", "node/src/link", "node/src/peering", "node/src/pairing"]),
    ("clap", &["node/src/cli", "node/src/main.rs"]),
    ("figment", &["node/src/config"]),
    ("seccompiler", &["scheduler/src/runner"]),
    ("nvml_wrapper", &["scheduler/src/probe"]),
    ("sysinfo", &["scheduler/src/probe"]),
    ("pulldown_cmark", &["vault/src/parse"]),
    ("saphyr", &["vault/src/parse"]),
    ("instant_distance", &["vault/src/vectors/sealed"]),
    ("postcard", &["vault/src/vectors/sealed"]),
    ("rayon", &["vault/src/vectors/sealed"]),
    ("deadpool_postgres", &["vault/src/vectors/postgres"]),
    ("tokio_postgres", &["vault/src/vectors/postgres"]),
    ("reqwest", &["node/src/llm", "vault/src/vectors/weaviate"]),
    ("prost", &["vault/src/vectors/milvus"]),
    ("tonic", &["vault/src/vectors/milvus"]),
    ("tantivy", &["vault/src/index/"]),
    ("frostem", &["vault/src/index/words/kin"]),
    ("stop_words", &["vault/src/index/words/kin"]),
    ("notify", &["vault/src/ingest/watch"]),
    ("ignore", &["vault/src/ingest/rules"]),
    ("tree_sitter", &["vault/src/code/"]),
    ("gemm", &["vault/src/embed/minilm/"]),
    ("safetensors", &["vault/src/embed/minilm/"]),
    ("tokenizers", &["vault/src/embed/minilm"]),
    ("tonic_prost", &["vault/src/vectors/milvus"]),
];

/// A file says what it is for before anything else.
pub fn module_doc(source: &Source) -> Option<String> {
    (!source.text.starts_with("//! ")).then(|| "does not begin with `//! ` and what it is for".to_owned())
}

/// A file is one noun: longer ones hold two.
pub fn length(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LINES_MAX).then(|| format!("{lines} lines, {LINES_MAX} are the most"))
}

/// What has no place in committed code.
pub fn forbidden(source: &Source) -> Vec<String> {
    // in two pieces each, since this file is looked at too
    let words = [
        (concat!("#[", "ignore"), "a test runs, or says that it is skipped"),
        (concat!("#[", "allow("), "use `#[expect(lint, reason = \"..\")]`"),
        (concat!("#![", "allow("), "use `#![expect(lint, reason = \"..\")]`"),
        (concat!("todo", "!("), "finish it or leave it out"),
    ];
    let found = words.iter().flat_map(|(word, instead)| {
        lines_with(&source.text, move |line| line.contains(word))
            .map(move |line| format!("line {line}: `{word}`: {instead}"))
    });
    found.collect()
}

/// A test waits for what it needs, by `support::wait`, and never for time to pass.
pub fn sleeps(source: &Source) -> Vec<String> {
    if source.path == "tests/support/wait.rs" {
        return Vec::new();
    }
    let calls = [concat!("thread::", "sleep"), concat!("time::", "sleep(")];
    let first = first_test_line(source);
    let found = lines_with(&source.text, |line| calls.iter().any(|call| line.contains(call)));
    found
        .filter(|line| *line >= first)
        .map(|line| format!("line {line}: a test sleeps: wait for what it needs"))
        .collect()
}

/// A foreign system is named in one part of the code.
pub fn foreign(source: &Source) -> Vec<String> {
    if !source.path.contains("/src/") {
        return Vec::new();
    }
    let away = FOREIGN.iter().filter(|(_, homes)| !homes.iter().any(|home| source.path.starts_with(home)));
    let found = away.flat_map(|(name, homes)| {
        let fault = move |line| format!("line {line}: names the crate {name}, which belongs to {}", homes.join(", "));
        lines_with(&source.text, |line| names_crate(line, name)).map(fault)
    });
    found.collect()
}

/// The number of the first line of a file that only its tests use; past its end where it has none.
pub fn first_test_line(source: &Source) -> usize {
    let path = &source.path;
    if path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") {
        return 1;
    }
    let mut lines = source.text.lines();
    // a declaration, `mod tests;`, begins nothing here
    let inline = lines.position(|line| line.starts_with("mod ") && line.contains("tests") && line.ends_with('{'));
    inline.map_or(usize::MAX, |index| index + 1)
}

/// The numbers of the lines that hold code and match.
pub fn lines_with<'a>(text: &'a str, matches: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = usize> + 'a {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    numbered.filter(move |(_, line)| matches(line)).map(|(index, _)| index + 1)
}

/// Whether a line of code begins a path with this crate: `name::..`, `use name;` or `use name as ..`.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + name.len()..]);
        let inside_word = before.ends_with(is_word) || after.starts_with(is_word);
        let below_another = before.strip_suffix("::").is_some_and(|path| path.ends_with(is_word));
        let imported = before.trim_end().ends_with("use") && (after.starts_with(';') || after.starts_with(" as "));
        !inside_word && !below_another && (after.starts_with("::") || imported)
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn a_file_must_say_what_it_is_for() {
        assert_eq!(module_doc(&source("a.rs", "//! A noun.\n")), None);
        assert!(module_doc(&source("a.rs", "use std::fs;\n//! A noun.\n")).is_some());
    }

    #[test]
    fn a_file_may_not_grow_without_end() {
        assert_eq!(length(&source("a.rs", &"\n".repeat(LINES_MAX))), None);
        assert_eq!(length(&source("a.rs", &"\n".repeat(LINES_MAX + 1))).unwrap(), "401 lines, 400 are the most");
    }

    #[test]
    fn what_is_unfinished_or_silenced_is_seen() {
        for line in [concat!("#[", "ignore]"), concat!("    #[", "allow(dead_code)]"), concat!("todo", "!()")] {
            let faults = forbidden(&source("a.rs", &format!("//! A noun.\n{line}\n")));
            assert!(faults.len() == 1 && faults[0].starts_with("line 2: "), "{line}: {faults:?}");
        }
        assert!(forbidden(&source("a.rs", "#[expect(dead_code, reason = \"..\")]\n")).is_empty());
    }

    #[test]
    fn only_tests_may_not_sleep() {
        let call = concat!("std::thread::", "sleep(PERIOD);\n");
        assert_eq!(sleeps(&source("tests/link.rs", call)).len(), 1);
        assert_eq!(sleeps(&source("cobs/src/job/tests.rs", call)).len(), 1);
        assert_eq!(sleeps(&source("scheduler/tests/escape.rs", call)).len(), 1);
        assert!(sleeps(&source("node/src/daemon.rs", call)).is_empty());
        assert!(sleeps(&source("node/src/daemon.rs", &format!("{call}mod tests;\n"))).is_empty());
        let inline = format!("{call}#[cfg(test)]\nmod tests {{\n{call}}}\n");
        assert_eq!(sleeps(&source("node/src/daemon.rs", &inline)), ["line 4: a test sleeps: wait for what it needs"]);
    }

    #[test]
    fn a_foreign_crate_has_one_home() {
        for line in ["use redb::Database;", "let d = redb::open()?;", "use redb;", "use redb as r;", "x(::redb::Y)"] {
            assert_eq!(foreign(&source("node/src/api/jobs.rs", line)).len(), 1, "{line}");
            assert!(foreign(&source("node/src/store/view.rs", line)).is_empty(), "{line}");
        }
        for line in ["use crate::redb::X;", "// redb::X", "let redb = 1;", "my_redb::X", "redb_x::Y", "\"redb\""] {
            assert!(foreign(&source("node/src/api/jobs.rs", line)).is_empty(), "{line}");
        }
        assert!(foreign(&source("tests/link.rs", "use rustls::X;")).is_empty());
    }
}
