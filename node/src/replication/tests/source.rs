//! Source repositories between two real nodes.

use std::fs;

use cobs::id::{CommitId, JobId};

use super::super::source::{Audience, Publication, SourceError, export_tree, has_commit, name_of};
use super::*;

/// A person's repository with two commits; the second is on no branch that is pushed anywhere.
fn work(path: &Path) -> CommitId {
    fs::create_dir(path).unwrap();
    git(path, &["init", "-q", "-b", "trunk"]);
    fs::write(path.join("run.sh"), "#!/bin/sh\necho one\n").unwrap();
    git(path, &["add", "."]);
    git(path, &["commit", "-q", "-m", "one"]);
    commit_more(path, "two")
}

fn commit_more(path: &Path, text: &str) -> CommitId {
    fs::create_dir_all(path.join("src")).unwrap();
    fs::write(path.join("src/lib.txt"), text).unwrap();
    git(path, &["add", "."]);
    git(path, &["commit", "-q", "-m", text]);
    git(path, &["rev-parse", "HEAD"]).parse().unwrap()
}

fn job(byte: u8) -> JobId {
    JobId(Oid::from_sha1([byte; 20]))
}

fn keep(peer: &Peer, rid: RepoId, id: JobId, commit: CommitId, from: &Path) -> Result<(), SourceError> {
    peer.node.bring_commit(rid, commit, from)?;
    peer.node.keep_commit(rid, id, commit)
}

/// What makes up a repository: references, configuration, head.
fn state(path: &Path) -> String {
    format!(
        "{}\n{}\n{}",
        git(path, &["for-each-ref"]),
        fs::read_to_string(path.join(".git/config")).unwrap(),
        fs::read_to_string(path.join(".git/HEAD")).unwrap()
    )
}

/// An unpushed commit reaches another member as a work tree of its own, and the person's repository is untouched.
#[test]
fn an_unpushed_commit_becomes_a_work_tree_elsewhere() {
    let (a, mut b, _) = pair();
    let path = a.path("my project");
    work(&path);
    let first = work_head(&path);
    let before = state(&path);
    let name = name_of(&path);
    assert_eq!(name, "my-project");
    let published = a.node.publish_private(&path, &name, first, &BTreeSet::from([b.id])).unwrap();
    assert_eq!((published.publication, published.audience), (Publication::Now, Audience::Members));
    assert_eq!(state(&path), before);
    let rid = published.rid;

    b.node.obtain_commit(rid, first, a.id, PATIENCE).unwrap();
    let second = commit_more(&path, "three");
    assert!(!has_commit(&b.node.home(), rid, second).unwrap());
    let before = state(&path);
    git(&path, &["worktree", "add", "-q", "--detach", "../linked"]);
    keep(&a, rid, job(7), second, &a.path("linked")).unwrap();
    assert_eq!(state(&path), before);
    let kept = format!("refs/rhizome/source/{}", job(7));
    b.wait_fetched(&kept);

    let tree = b.path("tree");
    export_tree(&b.node.home(), rid, second, &tree).unwrap();
    assert_eq!(fs::read_to_string(tree.join("src/lib.txt")).unwrap(), "three");
    assert_eq!(git(&tree, &["rev-parse", "HEAD"]), second.to_string());
    assert_eq!(git(&tree, &["status", "--porcelain"]), "");
    assert_eq!(git(&tree, &["rev-list", "--count", "HEAD"]), "1");
    assert_eq!(git(&tree, &["remote"]), "");
    assert!(!tree.join(".git/objects/info/alternates").exists());
    let moved = b.path("moved");
    fs::rename(&tree, &moved).unwrap();
    drop(fs::remove_dir_all(b.node.home().home.storage()));
    git(&moved, &["fsck"]);

    a.node.drop_commits(rid, &[job(7), job(8)]).unwrap();
    a.node.drop_commits(rid, &[job(7)]).unwrap();
    let repository = repository::open(&a.node.home(), rid).unwrap();
    let name = format!("refs/namespaces/{}/{kept}", a.id);
    assert!(repository.backend.find_reference(&name).is_err());
}

/// A commit that peers can have already is kept without a word to them; any other is signed and announced.
#[test]
fn a_commit_that_is_signed_already_is_not_signed_again() {
    let (a, b, _) = pair();
    let path = a.path("project");
    let first = work(&path);
    let rid = a.node.publish_private(&path, "project", first, &BTreeSet::from([b.id])).unwrap().rid;
    let home = a.node.home();
    let repository = repository::open(&home, rid).unwrap();
    let signed = || {
        let name = format!("refs/namespaces/{}/refs/rad/sigrefs", a.id);
        repository.backend.refname_to_id(&name).unwrap()
    };
    let kept = |job: JobId| {
        let name = format!("refs/namespaces/{}/refs/rhizome/source/{job}", a.id);
        repository.backend.refname_to_id(&name).ok().map(|commit| commit.to_string())
    };

    let published = signed();
    keep(&a, rid, job(1), first, &path).unwrap();
    assert_eq!((signed(), kept(job(1))), (published, Some(first.to_string())));

    let second = commit_more(&path, "three");
    keep(&a, rid, job(2), second, &path).unwrap();
    let announced = signed();
    assert_ne!(announced, published);
    keep(&a, rid, job(3), second, &path).unwrap();
    assert_eq!((signed(), kept(job(3))), (announced, Some(second.to_string())));

    a.node.drop_commits(rid, &[job(1), job(2)]).unwrap();
    assert_eq!((kept(job(1)), kept(job(2)), kept(job(3))), (None, None, Some(second.to_string())));
    assert_ne!(signed(), announced);
    b.node.obtain_commit(rid, second, a.id, PATIENCE).unwrap();
}

fn work_head(path: &Path) -> CommitId {
    git(path, &["rev-parse", "HEAD"]).parse().unwrap()
}

/// Publishing the same project again finds it, from any clone, and admits new members; another project is another.
#[test]
fn a_published_project_is_found_again() {
    let a = Peer::start(1);
    let b: NodeId = "z6MkrLMMsiPWUcNPHcRajuMi9mDfYckSoJyPwwnknocNYPm7".parse().unwrap();
    let path = a.path("one");
    let head = work(&path);
    let published = a.node.publish_private(&path, "same", head, &BTreeSet::new()).unwrap();
    git(a.directory.path(), &["clone", "-q", "one", "clone"]);
    let again = a.node.publish_private(&a.path("clone"), "clone", head, &BTreeSet::from([b])).unwrap();
    assert_eq!((again.rid, again.publication), (published.rid, Publication::Earlier));
    let members = ledgers::members(&repository::open(&a.node.home(), again.rid).unwrap()).unwrap();
    assert_eq!(members.all(), BTreeSet::from([a.id, b]));

    let other = a.path("two");
    fs::create_dir(&other).unwrap();
    git(&other, &["init", "-q", "-b", "main"]);
    let head = commit_more(&other, "another beginning");
    let other = a.node.publish_private(&other, "same", head, &BTreeSet::new()).unwrap();
    assert_ne!(other.rid, published.rid);
    assert_eq!(other.publication, Publication::Now);
}

/// A repository with a Radicle identity is used as it is.
#[test]
fn an_identity_of_its_own_is_used() {
    let a = Peer::start(1);
    let path = a.path("own");
    let head = work(&path);
    let rid = ledgers::create(&a.node.home(), ledgers::NewLedger { name: "own", description: "" }).unwrap();
    git(&path, &["remote", "add", "rad", &format!("rad://{}", rid.canonical())]);
    let found = a.node.publish_private(&path, "own", head, &BTreeSet::new()).unwrap();
    assert_eq!((found.rid, found.publication, found.audience), (rid, Publication::Own, Audience::Members));
    keep(&a, rid, job(1), head, &path).unwrap();
    assert!(has_commit(&a.node.home(), rid, head).unwrap());

    git(&path, &["remote", "set-url", "rad", "rad://z3gqcJUoA1n9HaHKufZs5FCSGazv5"]);
    let error = a.node.publish_private(&path, "own", head, &BTreeSet::new()).unwrap_err();
    assert!(matches!(error, SourceError::IdentityNotHere { .. }), "{error}");
}

/// What is missing is told apart: the repository, the right to read it, the commit.
#[test]
fn what_is_missing_is_told_apart() {
    let (a, b, ledger) = pair();
    let path = a.path("work");
    let head = work(&path);
    let nowhere: CommitId = "1234567890123456789012345678901234567890".parse().unwrap();
    let error = |result: Result<(), SourceError>| result.unwrap_err();

    let missing = error(a.node.bring_commit(ledger, nowhere, &path));
    assert!(matches!(missing, SourceError::NoCommit { .. }), "{missing}");
    let missing = error(a.node.bring_commit(ledger, head, &a.path("absent")));
    assert!(matches!(missing, SourceError::NotGit(..)), "{missing}");
    let missing = error(a.node.keep_commit(ledger, job(1), head));
    assert!(matches!(missing, SourceError::NoCommit { .. }), "{missing}");
    let rid: RepoId = "rad:z3gqcJUoA1n9HaHKufZs5FCSGazv5".parse().unwrap();
    let missing = error(export_tree(&b.node.home(), rid, head, &b.path("tree")));
    assert!(matches!(missing, SourceError::NotHere(_)), "{missing}");
    let missing = error(export_tree(&b.node.home(), ledger, head, &b.path("tree")));
    assert!(matches!(missing, SourceError::NoCommit { .. }), "{missing}");
    assert!(!b.path("tree").exists());
    let missing = error(b.node.obtain_commit(ledger, nowhere, a.id, PATIENCE));
    assert!(matches!(missing, SourceError::NoCommit { .. }), "{missing}");

    let closed = a.node.publish_private(&path, "closed", head, &BTreeSet::new()).unwrap();
    let refused = error(b.node.obtain_commit(closed.rid, head, a.id, PATIENCE));
    assert!(matches!(refused, SourceError::Fetch(FetchError::Refused { .. })), "{refused}");
    assert!(refused.hint().unwrap().contains("allow"));

    git(a.directory.path(), &["clone", "-q", "--depth", "1", &format!("file://{}", path.display()), "shallow"]);
    let shallow = error(a.node.bring_commit(ledger, head, &a.path("shallow")));
    assert!(matches!(shallow, SourceError::Shallow(_)), "{shallow}");
    fs::create_dir(b.path("full")).unwrap();
    fs::write(b.path("full/file"), "mine").unwrap();
    keep(&a, ledger, job(1), head, &path).unwrap();
    let full = error(export_tree(&a.node.home(), ledger, head, &b.path("full")));
    assert!(matches!(full, SourceError::NotEmpty(_)), "{full}");
    assert_eq!(fs::read_to_string(b.path("full/file")).unwrap(), "mine");
}
