//! The house rules, held over every file that git tracks: a rule is a function from a file to its faults.
//!
//! To add a rule, add a function to the area it belongs to, a line to [`faults`], and a test that sees it fail.

use std::fs;
use std::process::Command;

use crate::support::tools;

mod direction;
mod pure;
mod rust;
mod text;

/// A tracked text file.
struct Source {
    /// Its path from the root of the repository.
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// The faults of one file, each with the line it is on where there is one.
fn faults(source: &Source, paths: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    if source.is_rust() {
        faults.extend(rust::module_doc(source));
        faults.extend(rust::length(source));
        faults.extend(rust::forbidden(source));
        faults.extend(rust::sleeps(source));
        faults.extend(rust::foreign(source));
        faults.extend(pure::impure(source));
    }
    faults.extend(text::machine_paths(source));
    faults.extend(text::links(source, paths));
    faults.extend(text::shell(source));
    faults.extend(direction::wrong(source));
    faults
}

/// Every tracked file keeps the house rules.
#[test]
fn the_house_is_tidy() {
    let paths = tracked();
    let sources: Vec<Source> = paths.iter().filter_map(|path| read(path)).collect();
    assert!(sources.iter().any(Source::is_rust), "no Rust file was found: {paths:?}");
    let faults: Vec<String> = sources
        .iter()
        .flat_map(|source| faults(source, &paths).into_iter().map(|fault| format!("{}: {fault}", source.path)))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn tracked() -> Vec<String> {
    // the checkout may belong to another user than the one who runs the tests
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]).current_dir(tools::root());
    let output = git.output().expect("git is installed");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).expect("paths are UTF-8");
    list.split_terminator('\0').map(ToOwned::to_owned).collect()
}

/// The text of a tracked file; none for one that is no text, or deleted but not yet committed so.
fn read(path: &str) -> Option<Source> {
    let text = fs::read_to_string(tools::root().join(path)).ok()?;
    Some(Source { path: path.to_owned(), text })
}

/// A source as the tests of the rules write it.
#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}
