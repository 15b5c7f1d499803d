//! Objects `xyz.radworks.job` in real storage: one for a commit, this node's part of it, and what crashes and others leave.

use std::collections::BTreeSet;

use cobs::adapter::profile::{NewProfile, NodeHome, Unlock};
use cobs::adapter::radworks::{Known, RUNS_MAX, SourceObjects, Stored};
use cobs::adapter::repository::{self, Founding, RepositoryFault};
use cobs::adapter::signed;
use cobs::id::{CommitId, JobId, NodeId, Oid, RepoId};
use cobs::job::spec::Source;
use cobs::radworks::{Action, Line, Reason, RunUuid, Stage, TYPE_NAME, Voice};
use nonempty::NonEmpty;
use radicle::cob::Title;
use radicle::cob::change::{Storage as _, Template};
use radicle::crypto::SigningKey;
use radicle::identity::{Identity, Visibility};
use radicle::storage::git::Repository;
use radicle::storage::{ReadRepository as _, WriteRepository as _};
use tempfile::TempDir;

use crate::home::{key, node};

/// A home with a private source repository of one commit.
struct Place {
    _dir: TempDir,
    home: NodeHome,
    repo: RepoId,
    commit: CommitId,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let new = NewProfile { alias: "tester".into(), listen: vec![], passphrase: None, key_seed: [1; 32] };
        let unlock = Unlock { environment: None, prompt: &|| None };
        let home = NodeHome::open_or_create(dir.path(), new, &unlock).unwrap().0;
        let mut commit = None;
        let founding = Founding {
            name: "source",
            description: "",
            default_branch: "main",
            allow: BTreeSet::from([node(&key(9))]),
            payload: ("io.rhizome.source".parse().unwrap(), serde_json::json!({})),
        };
        let repo = repository::found(&home, founding, |repository| {
            let made = more(repository, "begin");
            commit = Some(made);
            Ok::<Oid, RepositoryFault>(made.0)
        });
        Self { _dir: dir, home, repo: repo.unwrap(), commit: commit.unwrap() }
    }

    fn repository(&self) -> Repository {
        repository::open(&self.home, self.repo).unwrap()
    }

    fn objects(&self) -> SourceObjects {
        SourceObjects::open(&self.home, self.repo).unwrap().unwrap()
    }

    fn line(&self, number: u8, stage: Stage) -> Line {
        Line {
            job: job(number),
            ledger: self.repo,
            author: self.home.public_key,
            source: Source { repo: self.repo, commit: self.commit },
            voice: Voice::Arbiter,
            stage,
        }
    }

    #[track_caller]
    fn store(&self, line: &Line) -> Stored {
        self.objects().store(&mut Known::default(), line).unwrap()
    }

    /// Each object with its tip in the namespace of `of`.
    fn tips(&self, of: &NodeId) -> Vec<(Oid, Oid)> {
        let (repository, glob) = (self.repository(), format!("refs/namespaces/{of}/refs/cobs/{TYPE_NAME}/*"));
        let found = repository.backend.references_glob(&glob).unwrap().map(|reference| {
            let reference = reference.unwrap();
            let object = reference.name().unwrap().rsplit_once('/').unwrap().1.parse().unwrap();
            (object, reference.target().unwrap().into())
        });
        found.collect()
    }

    /// The only object of this node: its id, and its actions as Radicle loads them, oldest first.
    #[track_caller]
    fn only(&self) -> (Oid, Vec<Action>) {
        let tips = self.tips(&self.home.public_key);
        let [(object, tip)] = tips[..] else { panic!("{tips:?}") };
        (object, actions(&self.repository(), tip))
    }

    /// Publishes an object with `first` as its root, as another node may.
    fn foreign(&self, of: &SigningKey, related: Vec<Oid>, first: &Action) -> Oid {
        let repository = self.repository();
        let template = Template {
            type_name: TYPE_NAME.parse().unwrap(),
            tips: vec![],
            message: "Request job".to_owned(),
            embeds: vec![],
            contents: NonEmpty::new(first.encode()),
        };
        let pin = repository.identity_head().unwrap();
        let root = repository.store(Some(pin), related, of, template).unwrap().id;
        let name = format!("refs/namespaces/{}/refs/cobs/{TYPE_NAME}/{root}", node(of));
        repository.backend.reference(&name, root.into(), true, "by another").unwrap();
        root
    }
}

/// A further commit, on no branch.
fn more(repository: &Repository, message: &str) -> CommitId {
    let git = &repository.backend;
    let who = git2::Signature::new("Tester", "tester@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    let tree = git.find_tree(git.treebuilder(None).unwrap().write().unwrap()).unwrap();
    CommitId(git.commit(None, &who, &who, message, &tree, &[]).unwrap().into())
}

fn actions(repository: &Repository, tip: Oid) -> Vec<Action> {
    let (mut found, mut next) = (Vec::new(), Some(tip));
    while let Some(at) = next {
        let entry = repository.load(at).unwrap();
        assert_eq!(entry.manifest.type_name.to_string(), TYPE_NAME);
        found.extend(entry.contents.iter().map(|bytes| Action::decode(bytes).unwrap()));
        assert!(entry.parents.len() < 2, "{entry:?}");
        next = entry.parents.first().copied();
    }
    found.reverse();
    found
}

fn job(number: u8) -> JobId {
    JobId(Oid::from_sha1([number; 20]))
}

fn names(actions: &[Action]) -> Vec<&'static str> {
    actions.iter().map(Action::message).collect()
}

const REQUEST: &str = "Request job";
const RUN: &str = "Run node job";
const FINISHED: &str = "Finished node job";
const SUCCEEDED: Stage = Stage::Finished(Reason::Succeeded);

/// A job is said stage by stage in one object, whose root has the commit among its parents; what was said is not said again,
/// and peers have it once it is signed.
#[test]
fn a_job_is_shown_stage_by_stage() {
    let place = Place::new();
    for (stage, said) in
        [(Stage::Requested, &[REQUEST][..]), (Stage::Started, &[REQUEST, RUN]), (SUCCEEDED, &[REQUEST, RUN, FINISHED])]
    {
        let line = place.line(1, stage);
        assert_eq!([place.store(&line), place.store(&line)], [Stored::Now, Stored::Before], "{stage:?}");
        assert_eq!(names(&place.only().1), said);
    }
    let (object, said) = place.only();
    assert_eq!(said[0], Action::Request { oid: place.commit });
    let repository = place.repository();
    let root = repository.load(object).unwrap();
    assert_eq!((root.related, root.resource), (vec![place.commit.0], Some(repository.identity_head().unwrap())));
    let parents: BTreeSet<Oid> = repository.commit(object).unwrap().parent_ids().map(Oid::from).collect();
    assert!(parents.contains(&place.commit.0), "{parents:?}");
    let listed = || {
        let at = signed::head(&place.repository(), &place.home.public_key).unwrap().unwrap();
        signed::listed(&place.repository(), at).unwrap().unwrap()
    };
    let name = format!("refs/cobs/{TYPE_NAME}/{object}");
    assert_eq!(listed().get(&name), None, "nothing is signed yet");
    assert_eq!([(); 2].map(|()| place.objects().sign(&mut Known::default()).unwrap()), [true, false]);
    assert_eq!(listed().get(&name), Some(&place.tips(&place.home.public_key)[0].1));
}

/// What two threads store and sign at once is signed, whoever signs last.
#[test]
fn what_is_signed_at_once_is_all_signed() {
    let place = Place::new();
    let us = place.home.public_key;
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let place = &place;
            scope.spawn(move || {
                for number in 0..20 {
                    let repository = place.repository();
                    let name = format!("refs/rhizome/source/{thread}-{number}");
                    let full = format!("refs/namespaces/{us}/{name}");
                    repository.backend.reference(&full, place.commit.0.into(), true, "kept").unwrap();
                    repository::sign(&place.home, &repository).unwrap();
                    let head = signed::head(&repository, &us).unwrap().unwrap();
                    let listed = signed::listed(&repository, head).unwrap().unwrap();
                    assert!(listed.contains_key(&name), "{name} is not among {}", listed.len());
                }
            });
        }
    });
}

/// All jobs of a commit are in one object, each once, whatever the order; a job of another commit is in another object.
#[test]
fn a_commit_has_one_object() {
    let place = Place::new();
    let mut known = Known::default();
    for (number, stage) in [(1, Stage::Started), (2, SUCCEEDED), (1, Stage::Finished(Reason::Failed))] {
        let line = place.line(number, stage);
        assert_eq!(place.objects().store(&mut known, &line).unwrap(), Stored::Now);
    }
    let (first, second) = (RunUuid::of(job(1)), RunUuid::of(job(2)));
    let said = place.only().1;
    let ends: Vec<&Action> = said.iter().filter(|action| action.message() == FINISHED).collect();
    let wanted = [
        Action::Finished { uuid: second, reason: Reason::Succeeded },
        Action::Finished { uuid: first, reason: Reason::Failed },
    ];
    assert_eq!((names(&said).len(), ends), (5, wanted.iter().collect()));
    let mut other = place.line(3, Stage::Requested);
    other.source.commit = more(&place.repository(), "more");
    assert_eq!(place.objects().store(&mut known, &other).unwrap(), Stored::Now);
    assert_eq!(place.tips(&place.home.public_key).len(), 2);
}

/// An object that another node made for the commit is used, and what it says there is no parent of ours; one that does not
/// bring the commit along, or that readers refuse, is not.
#[test]
fn anothers_object_is_used() {
    let place = Place::new();
    let request = Action::Request { oid: place.commit };
    place.foreign(&key(7), vec![], &request);
    let run = Action::Run { uuid: RunUuid::of(job(9)), log: "https://example.org/9".to_owned() };
    place.foreign(&key(7), vec![place.commit.0], &run);
    let theirs = place.foreign(&key(9), vec![place.commit.0], &request);
    assert_eq!(place.store(&place.line(1, SUCCEEDED)), Stored::Now);
    let (object, said) = place.only();
    assert_eq!((object, names(&said)), (theirs, vec![REQUEST, RUN, FINISHED]));
    assert_eq!(place.store(&place.line(1, SUCCEEDED)), Stored::Before);
}

/// So many runs at one commit are shown and no more; those that are there still end.
#[test]
fn a_commit_has_so_many_runs() {
    let place = Place::new();
    let (objects, mut known) = (place.objects(), Known::default());
    let mut store = |number: usize, stage| {
        let line = place.line(u8::try_from(number).unwrap(), stage);
        objects.store(&mut known, &line).unwrap()
    };
    assert!((0..RUNS_MAX).all(|number| store(number, Stage::Started) == Stored::Now));
    assert_eq!([store(RUNS_MAX, SUCCEEDED), store(RUNS_MAX, Stage::Requested)], [Stored::Full, Stored::Before]);
    assert_eq!(place.only().1.len(), 1 + RUNS_MAX);
    assert_eq!([store(0, SUCCEEDED), store(1, Stage::Started)], [Stored::Now, Stored::Before]);
    assert_eq!(place.only().1.len(), 2 + RUNS_MAX);
}

/// In a public repository a job is shown only at a commit that somebody has pushed: the object brings the commit along, and
/// nothing takes it back.
#[test]
fn an_object_publishes_nothing() {
    let place = Place::new();
    let (repository, line) = (place.repository(), place.line(1, SUCCEEDED));
    let public = repository.identity_doc().unwrap().doc.with_edits(|doc| doc.visibility = Visibility::Public).unwrap();
    let mut identity = Identity::load_mut(&repository, &place.home.signer).unwrap();
    let revision = identity.update(Title::new("Open it to all").unwrap(), "", &public).unwrap();
    repository.set_identity_head_to(revision).unwrap();
    assert_eq!(place.store(&line), Stored::Now, "its branch has it");
    let mut draft = place.line(2, SUCCEEDED);
    draft.source.commit = more(&repository, "draft");
    assert_eq!(place.store(&draft), Stored::Unpublished);
    assert_eq!(place.tips(&place.home.public_key).len(), 1);
    let tag = format!("refs/namespaces/{}/refs/tags/draft", node(&key(9)));
    repository.backend.reference(&tag, git2::Oid::from(draft.source.commit.0), false, "by another").unwrap();
    assert_eq!(place.store(&draft), Stored::Now);
}

/// Nothing is written without the repository or the commit, for an author who may not have the repository, and by a former
/// arbiter who has begun nothing.
#[test]
fn what_may_not_be_said_is_not() {
    let place = Place::new();
    let none: RepoId = "rad:z42hL2jL4XNk6K8oHQaSWfMgCL7ji".parse().unwrap();
    assert!(SourceObjects::open(&place.home, none).unwrap().is_none());
    let mut missing = place.line(1, SUCCEEDED);
    missing.source.commit = CommitId(Oid::from_sha1([0xee; 20]));
    let stranger = Line { author: node(&key(7)), ..place.line(1, SUCCEEDED) };
    let former = Line { voice: Voice::Former, ..place.line(1, SUCCEEDED) };
    let stored = [missing, stranger, former].map(|line| place.store(&line));
    assert_eq!(stored, [Stored::NoCommit, Stored::NotTheirs, Stored::Nothing]);
    assert_eq!(place.tips(&place.home.public_key), []);
    let member = Line { author: node(&key(9)), ..place.line(1, Stage::Started) };
    assert_eq!(place.store(&member), Stored::Now);
    assert_eq!(place.store(&Line { voice: Voice::Former, ..member.clone() }), Stored::Before);
    let ended = Line { voice: Voice::Former, stage: SUCCEEDED, ..member };
    assert_eq!(place.store(&ended), Stored::Now);
    assert_eq!(names(&place.only().1), [REQUEST, RUN, FINISHED]);
}
