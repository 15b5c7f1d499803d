//! What a job must not leave behind on a machine once it is over.

use std::fs;
use std::path::{Path, PathBuf};

use super::node::Node;
use super::wait;

/// How deep control groups lie: a hierarchy, what this process is in, ours, a run's.
const GROUPS_DEPTH: usize = 12;

/// Waits until nothing of a job is left here but the directories of its runs, each with its end.
#[track_caller]
pub fn nothing(node: &Node, job: &str) {
    nothing_of(node, &[job]);
}

/// As [`nothing`], of all these jobs, which are all that the node has had.
#[track_caller]
pub fn nothing_of(node: &Node, jobs: &[&str]) {
    let mut seen = Vec::new();
    let gone = wait::poll(wait::LIMIT, || {
        seen = processes(node).into_iter().chain(groups(jobs)).chain(halves(node, jobs)).collect();
        seen.is_empty().then_some(())
    });
    assert!(gone.is_some(), "{} still has of {jobs:?}: {seen:#?}\n{}", node.alias, node.log());
}

/// Processes of the home besides its daemon.
fn processes(node: &Node) -> Vec<String> {
    let daemon = node.daemon().id();
    let others = node.home.processes().into_iter().filter(|pid| *pid != daemon);
    let line = |pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).replace('\0', " "))
    };
    others.filter_map(line).collect()
}

/// Control groups named after the jobs, in every hierarchy.
fn groups(jobs: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), jobs, GROUPS_DEPTH, &mut found);
    found.into_iter().map(|path| path.display().to_string()).collect()
}

fn walk(directory: &Path, jobs: &[&str], depth: usize, found: &mut Vec<PathBuf>) {
    // others' groups come and go meanwhile
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if is_of(&entry, jobs) {
                found.push(entry.path());
            } else if depth > 0 {
                walk(&entry.path(), jobs, depth - 1, found);
            }
        }
    }
}

fn is_of(entry: &fs::DirEntry, jobs: &[&str]) -> bool {
    let name = entry.file_name();
    jobs.iter().any(|job| name.to_string_lossy().starts_with(job))
}

/// Run directories of the jobs without an end, and files that were never finished.
fn halves(node: &Node, jobs: &[&str]) -> Vec<String> {
    let runs = fs::read_dir(node.place().join("rhizome/runs")).into_iter().flatten().flatten();
    let runs = runs.filter(|entry| is_of(entry, jobs));
    let half = |run: PathBuf| {
        let names = fs::read_dir(&run).into_iter().flatten().flatten();
        let partial = names.filter(|entry| entry.path().extension().is_some_and(|end| end == "partial"));
        let partial = partial.map(|entry| entry.path().display().to_string());
        let endless = (!run.join("outcome.json").exists()).then(|| format!("{} without an end", run.display()));
        partial.chain(endless).collect::<Vec<_>>()
    };
    runs.flat_map(|entry| half(entry.path())).collect()
}
