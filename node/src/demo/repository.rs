//! The repository that a demo's job reads: a temporary clone of the user's, which is only looked at.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::output::plain;
use crate::ops::error::{Code, Error};

/// What would lead git away from the repository that is meant.
const LOCAL_VARIABLES: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
];
/// Before any command: no hook runs, and a commit needs neither the user's name nor their key.
const SETTINGS: [&str; 10] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "user.name=rhizome",
    "-c",
    "user.email=rhizome@localhost",
    "-c",
    "commit.gpgSign=false",
    "-c",
    "protocol.version=2",
];
/// Where the head of a clone is when the original's is on no branch.
const BRANCH: &str = "main";
/// Most characters of a commit's subject.
const SUBJECT_CHARS_MAX: usize = 72;
/// The files of the repository that is made where there is none.
const SMALL: [(&str, &str); 2] =
    [("README.md", "# Small\n\nMade by `rhizome demo`.\n"), ("hello.sh", "#!/bin/sh\necho hello\n")];

/// A repository of ours with the commit that is shown.
pub struct Cloned {
    /// Where it is.
    pub path: PathBuf,
    /// What the original is called.
    pub name: String,
    /// The commit, in full.
    pub commit: String,
    /// Its first line.
    pub subject: String,
    /// How many files it holds.
    pub files: usize,
    /// What a person may wonder about.
    pub notes: Vec<String>,
}

/// The user's repository.
struct Original {
    /// Its git directory, shared by all of its work trees.
    git: PathBuf,
    name: String,
    commit: String,
    branch: Option<String>,
    changed: usize,
    history: History,
}

/// Whether every commit of the history, with its files, is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum History {
    Whole,
    Partial,
}

/// Clones the repository at `asked`, or the one around us, below `below`; makes a small one where there is none.
///
/// # Errors
/// When there is no repository with a commit at `asked`, or git fails.
pub async fn prepare(below: &Path, asked: Option<&Path>) -> Result<Cloned, Error> {
    let mut notes = Vec::new();
    let (path, name) = match (look(asked.unwrap_or(Path::new("."))).await, asked) {
        (Ok(original), _) => {
            let path = below.join(&original.name);
            match original.history {
                History::Whole => clone(&original, &path).await?,
                History::Partial => {
                    snapshot(&original, &path).await?;
                    notes.push(format!(
                        "{} is no whole clone: its files at {} become a commit of their own",
                        original.name, original.commit
                    ));
                }
            }
            if original.changed > 0 {
                notes.push(format!("not committed, so not part of it: changed files, {} in all", original.changed));
            }
            (path, original.name)
        }
        (Err(error), Some(_)) => return Err(error),
        (Err(error), None) => {
            notes.push(format!("{}: a small repository is made instead", error.detail));
            let path = below.join("small");
            make(&path).await?;
            (path, String::from("small"))
        }
    };
    let commit = git(&path, &["rev-parse", "HEAD"]).await?;
    let subject = git(&path, &["log", "-1", "--format=%s"]).await?;
    let subject = plain(&subject).chars().take(SUBJECT_CHARS_MAX).collect();
    let files = git(&path, &["ls-tree", "-r", "--name-only", "HEAD"]).await?.lines().count();
    Ok(Cloned { path, name, commit, subject, files, notes })
}

/// Looks at the repository around `start`, and writes nothing: not even the cache of its index.
async fn look(start: &Path) -> Result<Original, Error> {
    let ask = |arguments: &'static [&'static str]| git(start, arguments);
    let place = start.canonicalize().unwrap_or_else(|_| start.to_owned()).display().to_string();
    let common =
        ask(&["rev-parse", "--path-format=absolute", "--git-common-dir"]).await.map_err(|error| match error {
            Error { code: Code::Storage, .. } if !start.exists() => {
                Error::new(Code::RepositoryNotFound, format!("there is no {place}"))
                    .hint("name a git repository by --repo")
            }
            Error { code: Code::Storage, detail, .. } if detail.contains("not a git repository") => {
                Error::new(Code::RepositoryNotFound, format!("{place} is in no git repository"))
                    .hint("name a git repository by --repo, or leave it out")
            }
            error => error,
        })?;
    let commit = ask(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await.map_err(|_| {
        Error::new(Code::CommitNotFound, format!("the repository of {place} has no commit yet"))
            .hint("commit something")
    })?;
    if ask(&["rev-parse", "--show-object-format"]).await.is_ok_and(|format| format != "sha1") {
        return Err(Error::new(Code::BadRequest, format!("the repository of {place} names its objects by SHA-256"))
            .hint("Radicle takes repositories with SHA-1 names only: name another by --repo"));
    }
    let git = PathBuf::from(common);
    let shallow = ask(&["rev-parse", "--is-shallow-repository"]).await? == "true";
    let lazy = ask(&["config", "--get-regexp", r"^remote\..*\.promisor$"]).await.is_ok();
    // fails in a bare one, which has no files to change
    let status = ["--no-optional-locks", "status", "--porcelain", "--ignore-submodules=all"];
    let changed = self::git(start, &status).await.map_or(0, |text| text.lines().count());
    let top = ask(&["rev-parse", "--show-toplevel"]).await.map_or_else(|_| git.clone(), PathBuf::from);
    Ok(Original {
        name: name_of(&top),
        git,
        commit,
        branch: ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await.ok(),
        changed,
        history: if shallow || lazy { History::Partial } else { History::Whole },
    })
}

/// The directory's name, as far as it is plain.
fn name_of(top: &Path) -> String {
    let name = top.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let name = name.trim_end_matches(".git").trim_matches('.');
    if name.is_empty() { "repository".to_owned() } else { name.to_owned() }
}

/// A clone that borrows the original's objects: nothing is copied, however large it is.
async fn clone(original: &Original, path: &Path) -> Result<(), Error> {
    let (from, to) = (text(&original.git)?, text(path)?);
    let options = ["clone", "--quiet", "--shared", "--no-checkout", "--no-tags", "--template="];
    git(Path::new("/"), &[&options[..], &["--", from, to]].concat()).await?;
    head(path, original.branch.as_deref(), &original.commit).await
}

/// The files of the commit as a first commit of their own, for a history that is not all there.
async fn snapshot(original: &Original, path: &Path) -> Result<(), Error> {
    init(path).await?;
    let from = text(&original.git)?;
    git(path, &["fetch", "--quiet", "--no-tags", "--depth=1", from, &original.commit]).await?;
    let tree = format!("{}^{{tree}}", original.commit);
    let message = format!("The files of {}", original.commit);
    let commit = git(path, &["commit-tree", "-m", &message, &tree]).await?;
    // the new commit's history is whole, so git may forget that another one's is not; a first commit's is, too
    match std::fs::remove_file(path.join(".git/shallow")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::new(Code::Storage, format!("the clone cannot be written: {error}")));
        }
        Ok(()) | Err(_) => {}
    }
    head(path, original.branch.as_deref(), &commit).await
}

/// A repository of one commit.
async fn make(path: &Path) -> Result<(), Error> {
    init(path).await?;
    for (file, content) in SMALL {
        let unwritten = |error| Error::new(Code::Storage, format!("{file} cannot be written: {error}"));
        std::fs::write(path.join(file), content).map_err(unwritten)?;
    }
    git(path, &["add", "--all"]).await?;
    git(path, &["commit", "--quiet", "--message", "Begin small"]).await.map(drop)
}

async fn init(path: &Path) -> Result<(), Error> {
    git(Path::new("/"), &["init", "--quiet", "--template=", "--initial-branch", BRANCH, "--", text(path)?])
        .await
        .map(drop)
}

/// Puts the head of ours where it is shown.
async fn head(path: &Path, branch: Option<&str>, commit: &str) -> Result<(), Error> {
    let branch = format!("refs/heads/{}", branch.unwrap_or(BRANCH));
    git(path, &["update-ref", &branch, commit]).await?;
    git(path, &["symbolic-ref", "HEAD", &branch]).await.map(drop)
}

fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::new(Code::BadRequest, format!("{} is no UTF-8", path.display())))
}

/// What git prints, without the last line's end.
async fn git(directory: &Path, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(SETTINGS).args(arguments);
    for name in LOCAL_VARIABLES {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(Code::Config, "git is missing")
            .hint("install it with: sudo apt-get install git; or all that is needed with: deploy/install.sh"),
        _ => Error::new(Code::Internal, format!("git cannot be run: {error}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let verb = arguments.iter().find(|word| !word.starts_with('-')).unwrap_or(&"");
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Code::Storage, format!("git {verb}: {}", words.trim())))
}
