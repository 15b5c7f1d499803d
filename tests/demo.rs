//! `rhizome demo`, as a person starts it: what it shows, how it ends, and that nothing is left of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::home::Home;
use crate::support::process::Process;
use crate::support::skip::skip;
use crate::support::{cli, repository, wait};

/// How long a demo may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Every step of the timeline.
const STEPS: [&str; 7] =
    ["submit acknowledged", "granted", "running", "first log line", "ended", "artifact home", "settled"];

/// A machine that may show a demo, in a home whose temporary files are its own.
struct Stage {
    home: Home,
    groups: BTreeSet<PathBuf>,
}

impl Stage {
    /// None, and said so, where the sandbox is missing.
    fn new(test: &str) -> Option<Self> {
        if !Path::new("/usr/bin/bwrap").exists() {
            skip(test, "bubblewrap is missing");
            return None;
        }
        let home = Home::new();
        fs::create_dir(home.join("tmp")).unwrap();
        Some(Self { home, groups: BTreeSet::new() })
    }

    fn command(&self, directory: &Path, arguments: &[&str]) -> Command {
        let mut command = cli::rhizome();
        command.arg("demo").args(arguments).current_dir(directory).env("TMPDIR", self.home.join("tmp"));
        command
    }

    fn show(&self, directory: &Path, arguments: &[&str]) -> cli::Output {
        cli::finish(&self.home, &mut self.command(directory, arguments))
    }

    fn start(&self, arguments: &[&str]) -> Process {
        Process::start(&self.home, "demo", &mut self.command(self.home.path(), arguments))
    }

    /// The control groups of the homes that the demo made; to be called while it runs.
    fn note_groups(&mut self) {
        for name in ["alice", "bob"] {
            let demo = fs::read_dir(self.home.join("tmp")).unwrap().next().unwrap().unwrap().path();
            let status = cli::run(&self.home, &["--home", demo.join(name).to_str().unwrap(), "status", "--json"]).ok();
            let status: serde_json::Value = serde_json::from_str(&status).unwrap();
            let id: String = status["node"].as_str().unwrap().chars().rev().take(16).collect();
            self.groups.extend(groups_named(&format!("rhizome-{id}")));
        }
    }

    /// Waits until nothing is left of a demo: neither a process, nor a file, nor a control group.
    #[track_caller]
    fn is_clean(&self) {
        let left = || fs::read_dir(self.home.join("tmp")).unwrap().flatten().map(|entry| entry.path()).collect();
        let ended = wait::poll(wait::LIMIT, || {
            let files: Vec<PathBuf> = left();
            let groups = self.groups.iter().any(|group| group.exists());
            (files.is_empty() && !groups && self.home.processes().is_empty()).then_some(())
        });
        let (files, processes): (Vec<PathBuf>, _) = (left(), self.home.processes());
        let groups: Vec<_> = self.groups.iter().filter(|group| group.exists()).collect();
        assert!(ended.is_some(), "left behind: {files:?}, processes {processes:?}, groups {groups:?}");
    }
}

/// The control groups of this name, in every hierarchy.
fn groups_named(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let at = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    at.flat_map(|at| [Path::new(at).join(name), Path::new(at).join(own).join(name)])
        .filter(|group| group.exists())
        .collect()
}

/// All that could tell that somebody was at a repository: references, configuration, index, changes, and the files of
/// its git directory by size and time.
fn traces(home: &Home, directory: &Path) -> String {
    let mut seen = String::new();
    for arguments in [&["for-each-ref"][..], &["--no-optional-locks", "status", "--porcelain"], &["config", "--list"]] {
        seen.push_str(&repository::git(home, directory, arguments));
    }
    let git = directory.join(".git");
    let list = Command::new("find").arg(&git).args(["-printf", "%p %s %T@\n"]).output().unwrap();
    let mut lines: Vec<String> = String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    seen + &lines.join("\n")
}

/// The words of a timeline's lines, with the time of each.
fn timeline(output: &str) -> Vec<(u64, String)> {
    let lines = output.lines().skip_while(|line| !line.contains("ms since the submit")).skip(1);
    lines
        .map_while(|line| line.trim().split_once("  "))
        .map(|(ms, step)| (ms.parse().unwrap(), step.to_owned()))
        .collect()
}

/// In a repository: its commit is what the job sees, everything that happens is told with its time, the artifact is
/// checked by its digest, and the original, changes and all, is as it was.
#[test]
fn shows_the_commit_and_leaves_the_repository_alone() {
    let Some(stage) = Stage::new("demo::shows_the_commit_and_leaves_the_repository_alone") else { return };
    let source = stage.home.join("garden");
    let commit = repository::create(&stage.home, &source, &[("README", "hello\n"), ("src/one", "1\n")]);
    repository::git(&stage.home, &source, &["remote", "add", "rad", "rad://z3gqcJUoA1n9HaHKufZs5FCSGazv5"]);
    fs::write(source.join("README"), "changed\n").unwrap();
    fs::write(source.join("new"), "new\n").unwrap();
    let before = traces(&stage.home, &source);

    let told = stage.show(&source.join("src"), &[]).ok();
    assert_eq!(traces(&stage.home, &source), before);
    for words in [
        &format!("cloned garden at {}, 2 files: Begin", &commit[..12]),
        "changed files, 2 in all",
        &format!("job |  commit   {commit}"),
        "job |  working  part 3 of 3",
        "files    2 in",
        "its digest is right: sha256 ",
        "settles it, once and for all: succeeded",
        "exit code is 0",
        "rhizome init",
    ] {
        assert!(told.contains(words), "no {words:?} in:\n{told}");
    }
    // the digest that alice found is the one that the job saw
    let seen = told.lines().find_map(|line| line.split_once("report   sha256 ")?.1.split(' ').next()).unwrap();
    assert!(told.contains(&format!("right: sha256 {seen}")), "{told}");
    let timeline = timeline(&told);
    let steps: BTreeSet<&str> = timeline.iter().map(|(_, step)| step.as_str()).collect();
    assert_eq!(steps, STEPS.into(), "{told}");
    let times: Vec<u64> = timeline.iter().map(|(ms, _)| *ms).collect();
    assert!(times.is_sorted(), "{told}");
    stage.is_clean();
}

/// Outside of any repository it makes a small one, and a command's exit code is its own.
#[test]
fn ends_with_the_exit_code_of_the_command() {
    let Some(stage) = Stage::new("demo::ends_with_the_exit_code_of_the_command") else { return };
    let command = ["--", "sh", "-c", "ls; echo oops >&2; exit 7"];
    let told = stage.show(stage.home.path(), &command);
    assert_eq!(told.code, 7, "{}{}", told.stdout, told.stderr);
    for words in ["a small repository is made", "job |  hello.sh", "job |  oops", "failed", "exit code is 7"] {
        assert!(told.stdout.contains(words), "no {words:?} in:\n{}", told.stdout);
    }
    stage.is_clean();
}

/// With `--json` standard output is one object; a shallow clone's files are shown all the same.
#[test]
fn tells_programs_one_object() {
    let Some(stage) = Stage::new("demo::tells_programs_one_object") else { return };
    let source = stage.home.join("deep");
    repository::create(&stage.home, &source, &[("README", "hello\n")]);
    repository::git(&stage.home, &source, &["commit", "--quiet", "--allow-empty", "--message", "Go on"]);
    let shallow = stage.home.join("shallow");
    let from = format!("file://{}", source.display());
    repository::git(&stage.home, stage.home.path(), &["clone", "-q", "--depth=1", &from, shallow.to_str().unwrap()]);

    let told = stage.show(stage.home.path(), &["--json", "--repo", shallow.to_str().unwrap(), "--", "cat", "README"]);
    assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
    let object: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&object["exitCode"], &object["outcome"]), (&0.into(), &"succeeded".into()));
    assert_eq!(object["timeline"].as_array().unwrap().len(), STEPS.len() - 1, "{object}");
    assert!(told.stderr.contains("is no whole clone") && told.stderr.contains("job |  hello"), "{}", told.stderr);
    stage.is_clean();
}

/// A repository that is not there is told with what to do, and nothing is left.
#[test]
fn says_which_step_failed() {
    let Some(stage) = Stage::new("demo::says_which_step_failed") else { return };
    let told = stage.show(stage.home.path(), &["--repo", stage.home.path().to_str().unwrap()]);
    assert_eq!(told.code, 66, "{}", told.stderr);
    for words in ["error: cannot clone the repository: ", "is in no git repository", "hint: "] {
        assert!(told.stderr.contains(words), "no {words:?} in:\n{}", told.stderr);
    }
    stage.is_clean();
}

/// Ctrl-C and a kill that nobody can catch end a running job with all that was started for it.
#[test]
fn leaves_nothing_behind_when_it_is_ended() {
    let Some(mut stage) = Stage::new("demo::leaves_nothing_behind_when_it_is_ended") else { return };
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut demo = stage.start(&["--", "sh", "-c", "echo begun; sleep 600"]);
        demo.wait_for("job |  begun\n", LIMIT);
        stage.note_groups();
        assert!(stage.home.processes().len() > 4, "{:?}", stage.home.processes());
        demo.signal(signal);
        assert_eq!(demo.wait(LIMIT).code(), code, "{}", demo.output());
        stage.is_clean();
        drop(demo);
        fs::remove_file(stage.home.join("demo.log")).unwrap();
    }
    assert!(!stage.groups.is_empty() || !Path::new("/sys/fs/cgroup").exists());
}
