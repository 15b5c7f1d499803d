//! Small git repositories whose commits are the same in every run.

use std::path::Path;
use std::process::Command;

use super::cli;
use super::home::Home;

/// Every commit's date, so that its id depends on its content alone.
const DATE: &str = "2026-01-01T00:00:00Z";

/// Runs git in `directory` with a fixed identity and date, and returns what it printed.
#[track_caller]
pub fn git(home: &Home, directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(["-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(directory);
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Tester").env(format!("GIT_{role}_EMAIL"), "tester@example.org");
        command.env(format!("GIT_{role}_DATE"), DATE);
    }
    cli::finish(home, &mut command).ok()
}

/// Makes a repository of one commit with these files (path and content) at `directory`, and returns the commit's id.
#[track_caller]
pub fn create(home: &Home, directory: &Path, files: &[(&str, &str)]) -> String {
    std::fs::create_dir_all(directory).expect("the home is writable");
    git(home, directory, &["init", "--quiet"]);
    for (path, content) in files {
        let path = directory.join(path);
        let parent = path.parent().expect("a file has a directory");
        std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, content)).expect("the home is writable");
    }
    git(home, directory, &["add", "--all"]);
    git(home, directory, &["commit", "--quiet", "--allow-empty", "--message", "Begin"]);
    git(home, directory, &["rev-parse", "HEAD"]).trim().to_owned()
}

/// The same files give the same commit in another home.
#[test]
fn commits_do_not_depend_on_the_machine() {
    let commits = [(); 2].map(|()| {
        let home = Home::new();
        create(&home, &home.join("source"), &[("src/greeting", "hello\n")])
    });
    assert_eq!(commits[0], commits[1]);
    assert_eq!(commits[0].len(), 40);
}
