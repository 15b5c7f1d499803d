//! A job's work tree.
//!
//! It must not know sandboxes: it makes a directory that needs nothing outside itself.

use std::fs;
use std::path::Path;

use cobs::adapter::profile::NodeHome;
use cobs::id::{CommitId, RepoId};

use super::git::{self, History};
use super::{SourceError, has_commit, open};

/// Writes the tree of `commit` to `into`, which must be absent or empty, with a `.git` of its own: detached at the
/// commit, without remotes and without history before it. On an error nothing is left in it.
pub fn export_tree(home: &NodeHome, rid: RepoId, commit: CommitId, into: &Path) -> Result<(), SourceError> {
    if !has_commit(home, rid, commit)? {
        return Err(SourceError::NoCommit { commit, place: rid.to_string() });
    }
    let repository = open(home, rid)?;
    let existed = into.exists();
    require_empty(into)?;
    fs::create_dir_all(into).map_err(|source| SourceError::Io { action: "create", path: into.to_owned(), source })?;
    let written = match write_small(&repository.backend, commit, into) {
        Ok(true) => Ok(()),
        Ok(false) => write(repository.backend.path(), commit, into),
        Err(source) => Err(SourceError::Read { what: format!("commit {commit}"), source }),
    };
    if written.is_err() {
        clear(into, existed);
    }
    written
}

/// Most entries, and bytes of files, of a tree that is written in this process.
const SMALL_ENTRIES_MAX: usize = 500;
const SMALL_BYTES_MAX: usize = 16 << 20;
/// Most entries of any tree that is written: a few objects can name one another more often than could ever be written.
const ENTRIES_MAX: usize = 1_000_000;
/// Settings that a person's or the machine's git configuration must not decide; they are not left in the work tree.
const SETTINGS: [(&str, &str); 2] = [("core.autocrlf", "false"), ("core.attributesFile", "/dev/null")];

/// As [`write()`] without a process: five of them cost more than a small tree. False, and nothing written, for a large
/// one, whose objects git copies as they are packed.
fn write_small(storage: &git2::Repository, commit: CommitId, into: &Path) -> Result<bool, git2::Error> {
    let id: git2::Oid = commit.0.into();
    if !is_within(storage, commit, SMALL_ENTRIES_MAX, SMALL_BYTES_MAX)? {
        return Ok(false);
    }
    let mut options = git2::RepositoryInitOptions::new();
    let target = git2::Repository::init_opts(into, options.external_template(false).initial_head("main"))?;
    let mut pack = storage.packbuilder()?;
    pack.insert_commit(id)?;
    pack.write(&target.path().join("objects/pack"), 0)?;
    let io = |error: std::io::Error| git2::Error::from_str(&error.to_string());
    fs::write(target.path().join("shallow"), format!("{commit}\n")).map_err(io)?;
    // opened anew it knows the pack
    let target = git2::Repository::open(into)?;
    let mut config = target.config()?.open_level(git2::ConfigLevel::Local)?;
    for (name, value) in SETTINGS {
        config.set_str(name, value)?;
    }
    target.set_head_detached(id)?;
    target.checkout_head(Some(git2::build::CheckoutBuilder::new().force()))?;
    SETTINGS.iter().try_for_each(|(name, _)| config.remove(name))?;
    Ok(true)
}

/// Whether the tree of `commit` has no more bytes of files than these, nor more entries than a million. Objects are
/// read and nothing is written.
pub fn tree_fits(home: &NodeHome, rid: RepoId, commit: CommitId, bytes_max: u64) -> Result<bool, SourceError> {
    let repository = open(home, rid)?;
    let within = is_within(&repository.backend, commit, ENTRIES_MAX, usize::try_from(bytes_max).unwrap_or(usize::MAX));
    within.map_err(|source| SourceError::Read { what: format!("commit {commit}"), source })
}

/// Whether a tree has no more entries, and bytes of files, than these. An object that is missing has too many. Without
/// recursion, since whoever wrote the tree chose its depth.
fn is_within(
    storage: &git2::Repository,
    commit: CommitId,
    entries_max: usize,
    bytes_max: usize,
) -> Result<bool, git2::Error> {
    let objects = storage.odb()?;
    let mut left = vec![storage.find_commit(commit.0.into())?.tree_id()];
    let (mut entries, mut bytes) = (0_usize, 0_usize);
    while let Some(tree) = left.pop() {
        let tree = storage.find_tree(tree)?;
        for entry in &tree {
            entries += 1;
            match entry.kind() {
                Some(git2::ObjectType::Tree) => left.push(entry.id()),
                Some(git2::ObjectType::Blob) => {
                    let size = objects.read_header(entry.id()).map_or(usize::MAX, |(size, _)| size);
                    bytes = bytes.saturating_add(size);
                }
                _ => {}
            }
            if entries > entries_max || bytes > bytes_max {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn write(storage: &Path, commit: CommitId, into: &Path) -> Result<(), SourceError> {
    let id = commit.to_string();
    let failed = |action| move |source| SourceError::Git { action, source };
    git::run(into, ["init", "--quiet", "--template=", "--initial-branch=main"]).map_err(failed("make a work tree"))?;
    git::fetch(into, storage, &id, History::Tip).map_err(failed("copy the commit"))?;
    git::run(into, ["checkout", "--quiet", "--detach", &id]).map_err(failed("check the commit out"))?;
    Ok(())
}

fn require_empty(into: &Path) -> Result<(), SourceError> {
    let io = |source| SourceError::Io { action: "read", path: into.to_owned(), source };
    match fs::read_dir(into) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(SourceError::NotEmpty(into.to_owned())),
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io(source)),
    }
}

fn clear(into: &Path, existed: bool) {
    let removed = fs::remove_dir_all(into).and_then(|()| if existed { fs::create_dir(into) } else { Ok(()) });
    if let Err(error) = removed {
        tracing::warn!(path = %into.display(), %error, "cannot clear a torn work tree");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn git(directory: &Path, words: &[&str]) -> String {
        let who = ["-c", "user.name=T", "-c", "user.email=t@example.org"];
        let output = Command::new("git").arg("-C").arg(directory).args(who).args(words).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Every file with its mode and content, and what git says of the whole.
    fn state(tree: &Path) -> Vec<String> {
        let listed = git(tree, &["ls-files", "--stage"]);
        let files = git(tree, &["ls-files"]);
        let files = files.lines().map(|name| {
            let path = tree.join(name);
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            format!("{name} {:o} {:?} {content:?}", meta.permissions().mode(), fs::read_link(&path).ok())
        });
        let words = [&["status", "--porcelain"][..], &["rev-list", "HEAD"], &["fsck"], &["for-each-ref"]];
        let mut settings: Vec<String> = git(tree, &["config", "-l", "--local"]).lines().map(str::to_owned).collect();
        settings.sort();
        files.chain(words.iter().map(|words| git(tree, words))).chain(settings).chain([listed]).collect()
    }

    /// A small tree written here is the one that git writes: modes, links, line ends, submodules, history.
    #[test]
    fn a_small_tree_is_as_git_writes_it() {
        let directory = tempfile::tempdir().unwrap();
        let person = directory.path().join("person");
        fs::create_dir_all(person.join("deep/er")).unwrap();
        git(&person, &["init", "-q", "-b", "main"]);
        git(&person, &["commit", "-q", "--allow-empty", "-m", "before"]);
        fs::write(person.join(".gitattributes"), "*.bat text eol=crlf\n").unwrap();
        fs::write(person.join("run.bat"), "one\r\ntwo\r\n").unwrap();
        fs::write(person.join("deep/er/bytes"), [0, 255, 10, 13, 10]).unwrap();
        fs::write(person.join("empty"), "").unwrap();
        fs::write(person.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(person.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("deep/er", person.join("link")).unwrap();
        git(&person, &["add", "-A"]);
        let module = format!("160000,{},module", git(&person, &["rev-parse", "HEAD"]));
        git(&person, &["update-index", "--add", "--cacheinfo", &module]);
        git(&person, &["commit", "-q", "-m", "all"]);
        let commit: CommitId = git(&person, &["rev-parse", "HEAD"]).parse().unwrap();

        let (small, large) = (directory.path().join("small"), directory.path().join("large"));
        fs::create_dir(&small).unwrap();
        fs::create_dir(&large).unwrap();
        let storage = git2::Repository::open(&person).unwrap();
        assert!(write_small(&storage, commit, &small).unwrap());
        write(&person.join(".git"), commit, &large).unwrap();
        for (small, large) in state(&small).iter().zip(state(&large)) {
            assert_eq!(*small, large);
        }
        assert_eq!(state(&small).len(), state(&large).len());

        for number in 0..=SMALL_ENTRIES_MAX {
            fs::write(person.join(number.to_string()), "").unwrap();
        }
        git(&person, &["add", "-A"]);
        git(&person, &["commit", "-q", "-m", "many"]);
        let many: CommitId = git(&person, &["rev-parse", "HEAD"]).parse().unwrap();
        let none = directory.path().join("none");
        assert!(!write_small(&storage, many, &none).unwrap());
        assert!(!none.exists());
    }

    fn commit_of(repository: &git2::Repository, tree: git2::Oid) -> CommitId {
        let who = git2::Signature::now("T", "t@example.org").unwrap();
        let tree = repository.find_tree(tree).unwrap();
        CommitId(repository.commit(None, &who, &who, "x", &tree, &[]).unwrap().into())
    }

    fn tree_of(repository: &git2::Repository, entries: &[(&str, i32, git2::Oid)]) -> git2::Oid {
        let mut builder = repository.treebuilder(None).unwrap();
        for (name, mode, id) in entries {
            builder.insert(name, *id, *mode).unwrap();
        }
        builder.write().unwrap()
    }

    /// A tree that names the same few objects a hundred million times, and one that is a hundred thousand deep, are
    /// measured within a small stack and little time.
    #[test]
    fn a_hostile_tree_is_measured_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init(directory.path()).unwrap();
        repository.odb().unwrap().add_new_mempack_backend(1000).unwrap();
        let empty = repository.blob(b"").unwrap();
        let names: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        let mut bomb = tree_of(&repository, &[("file", 0o100_644, empty)]);
        for _ in 0..8 {
            let entries: Vec<_> = names.iter().map(|name| (name.as_str(), 0o040_000, bomb)).collect();
            bomb = tree_of(&repository, &entries);
        }
        let bomb = commit_of(&repository, bomb);
        assert!(!is_within(&repository, bomb, ENTRIES_MAX, usize::MAX).unwrap());
        let mut deep = tree_of(&repository, &[("file", 0o100_644, empty)]);
        for _ in 0..100_000 {
            deep = tree_of(&repository, &[("d", 0o040_000, deep)]);
        }
        let deep = commit_of(&repository, deep);
        assert!(is_within(&repository, deep, ENTRIES_MAX, usize::MAX).unwrap());
        assert!(!write_small(&repository, deep, &directory.path().join("none")).unwrap());
    }

    /// A tree that holds one name twice, as a link that leads out and as a directory, writes nothing where the link leads.
    #[test]
    fn a_link_and_a_directory_of_one_name_do_not_lead_out() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, into) = (directory.path().join("outside"), directory.path().join("into"));
        fs::create_dir(&outside).unwrap();
        fs::create_dir(&into).unwrap();
        let repository = git2::Repository::init(directory.path().join("storage")).unwrap();
        let link = repository.blob(outside.to_str().unwrap().as_bytes()).unwrap();
        let inner = tree_of(&repository, &[("file", 0o100_644, repository.blob(b"out").unwrap())]);
        let mut raw = Vec::new();
        for (mode, id) in [("120000", link), ("40000", inner)] {
            raw.extend_from_slice(format!("{mode} a\0").as_bytes());
            raw.extend_from_slice(id.as_bytes());
        }
        let tree = repository.odb().unwrap().write(git2::ObjectType::Tree, &raw).unwrap();
        // refused or written, but never there
        let _either = write_small(&repository, commit_of(&repository, tree), &into);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
