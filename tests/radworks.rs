//! What Radicle's own tools are shown of a job that is bound to a commit, in the repository of that commit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::Signal;
use serde::Deserialize;

use crate::support::node::Node;
use crate::support::{fault, repository, wait};

const TYPE: &str = "xyz.radworks.job";

/// The actions as `radicle-job` 0.6.0 declares them.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
enum Action {
    Request { oid: String },
    Run { uuid: String, log: String },
    Finished { uuid: String, reason: Reason },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
enum Reason {
    Failed,
    Succeeded,
}

/// The runs of one namespace of an object, as `radicle-job` evaluates them: address, and how it ended.
#[derive(PartialEq, Eq, Debug, Default)]
struct Shown {
    oid: String,
    runs: BTreeMap<String, (String, Option<Reason>)>,
}

/// A node with a person's repository of one commit beside it.
struct Source {
    path: PathBuf,
    commit: String,
}

impl Source {
    fn new(node: &Node) -> Self {
        let path = node.home.join("source");
        let commit = repository::create(&node.home, &path, &[("greeting", "hello\n")]);
        Self { path, commit }
    }

    /// Submits a job at its commit.
    #[track_caller]
    fn submit(&self, node: &Node, options: &[&str], script: &str) -> String {
        let path = self.path.to_str().unwrap();
        node.submit(&[&["--repo", path, "--publish"], options, &["--", "sh", "-c", script]].concat())
    }
}

fn storage(node: &Node, repo: &str) -> PathBuf {
    node.place().join("storage").join(repo.trim_start_matches("rad:"))
}

/// The Radicle repository of a job's commit.
#[track_caller]
fn repo_of(node: &Node, id: &str) -> String {
    let job = node.job(id);
    job.pointer("/state/create/spec/source/repo").unwrap().as_str().unwrap().to_owned()
}

/// The actions of each object that `by` holds in the storage of `node`, oldest first.
#[track_caller]
fn objects(node: &Node, repo: &str, by: &str) -> BTreeMap<String, Vec<Action>> {
    let storage = storage(node, repo);
    let git = |arguments: &[&str]| repository::git(&node.home, &storage, arguments);
    let names = format!("refs/namespaces/{by}/refs/cobs/{TYPE}");
    let tips = git(&["for-each-ref", "--format=%(refname:lstrip=-1) %(objectname)", &names]);
    let object = |line: &str| {
        let (object, tip) = line.split_once(' ').unwrap();
        let (mut actions, mut next) = (Vec::new(), Some(tip.to_owned()));
        while let Some(at) = next {
            let commit = git(&["cat-file", "commit", &at]);
            let (head, body) = commit.split_once("\n\n").unwrap();
            let apart: Vec<&str> =
                body.lines().filter_map(|line| line.strip_prefix("Rad-")?.split(' ').nth(1)).collect();
            let parents = head.lines().filter_map(|line| line.strip_prefix("parent "));
            let parents: Vec<&str> = parents.filter(|parent| !apart.contains(parent)).collect();
            assert!(parents.len() < 2, "{commit}");
            next = parents.first().map(|parent| (*parent).to_owned());
            let bytes = git(&["cat-file", "blob", &format!("{at}:0")]);
            actions.push(serde_json::from_str(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes}")));
            if at == object {
                // what the root is of replicates with it
                let Some(Action::Request { oid }) = actions.last() else { panic!("{actions:?}") };
                assert!(apart.contains(&oid.as_str()), "{commit}");
            }
        }
        actions.reverse();
        (object.to_owned(), actions)
    };
    tips.lines().map(object).collect()
}

/// The one object of `by`, evaluated; each action must have counted.
#[track_caller]
fn shown(node: &Node, repo: &str, by: &str) -> Option<Shown> {
    let objects = objects(node, repo, by);
    assert!(objects.len() < 2, "{objects:?}");
    let mut shown = Shown::default();
    for action in objects.into_values().next()? {
        match action {
            Action::Request { oid } => {
                assert_eq!(shown, Shown::default(), "a root comes first");
                shown.oid = oid;
            }
            Action::Run { uuid, log } => {
                assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
                assert_eq!(shown.runs.insert(uuid, (log, None)), None, "a run begins twice");
            }
            Action::Finished { uuid, reason } => {
                let run = shown.runs.get_mut(&uuid).expect("a run ends that has begun");
                assert_eq!(run.1.replace(reason), None, "a run ends twice");
            }
        }
    }
    Some(shown)
}

/// Waits until `by` shows so many runs with these ends in the storage of `node`.
#[track_caller]
fn shows(node: &Node, repo: &str, by: &str, ends: &[Option<Reason>]) -> Shown {
    let mut seen = None;
    let found = wait::poll(wait::LIMIT, || {
        seen = shown(node, repo, by);
        let mut now: Vec<_> = seen.as_ref()?.runs.values().map(|(_, end)| format!("{end:?}")).collect();
        now.sort();
        let mut wanted: Vec<_> = ends.iter().map(|end| format!("{end:?}")).collect();
        wanted.sort();
        (now == wanted).then(|| seen.take()).flatten()
    });
    found.unwrap_or_else(|| panic!("{ends:?} never shown: {seen:?}\n{}", node.log()))
}

/// Waits until all that `by` shows is signed, and so can be fetched by peers.
#[track_caller]
fn is_signed(node: &Node, repo: &str, by: &str) {
    let git = |arguments: &[&str]| repository::git(&node.home, &storage(node, repo), arguments);
    wait::until("all is signed", wait::LIMIT, || {
        let list = git(&["cat-file", "blob", &format!("refs/namespaces/{by}/refs/rad/sigrefs:refs")]);
        let mut signed: Vec<&str> = list.lines().filter(|line| line.contains(TYPE)).collect();
        signed.sort_unstable();
        let names = format!("refs/namespaces/{by}/refs/cobs/{TYPE}");
        let tips = git(&["for-each-ref", "--format=%(objectname) %(refname:lstrip=3)", "--sort=objectname", &names]);
        (signed == tips.lines().collect::<Vec<_>>()).then_some(())
    });
}

/// A job bound to a commit shows there as requested, running and ended, in one object for all jobs of the commit, and the
/// repository's other members have it too; a job of no commit, or a private one, shows nowhere.
#[test]
fn a_job_of_a_commit_is_shown_there() {
    let ann = Node::start("ann");
    let bob = Node::join("bob", &[], &ann, "submit,run");
    let (source, ann_id) = (Source::new(&ann), ann.id());
    // it is requested before it begins
    fault::signal(bob.daemon().id(), Signal::STOP);
    let id = source.submit(&ann, &["--on", "bob"], "sleep 2; cat greeting");
    let repo = repo_of(&ann, &id);
    shows(&ann, &repo, &ann_id, &[]);
    fault::signal(bob.daemon().id(), Signal::CONT);
    let began = shows(&ann, &repo, &ann_id, &[None]);
    assert_eq!(began.oid, source.commit);
    let log = format!("{}/{id}", ann.ledger());
    assert_eq!(began.runs.values().next().unwrap().0, log);
    assert_eq!(ann.settled(&id)["outcome"], "succeeded");
    shows(&ann, &repo, &ann_id, &[Some(Reason::Succeeded)]);
    // bob ran it, has the repository, and says nothing himself
    shows(&bob, &repo, &ann_id, &[Some(Reason::Succeeded)]);
    is_signed(&ann, &repo, &ann_id);
    let failed = source.submit(&ann, &["--on", "ann"], "exit 3");
    assert_eq!(ann.settled(&failed)["outcome"], "failed");
    let ends = [Some(Reason::Succeeded), Some(Reason::Failed)];
    shows(&ann, &repo, &ann_id, &ends);

    let path = source.path.to_str().unwrap();
    for silent in [&["--private", "--repo", path, "--", "true"][..], &["--", "true"]] {
        ann.settled(&ann.submit(silent));
    }
    // what comes later is shown, so the silent ones have been looked at
    let last = source.submit(&ann, &["--on", "ann"], "true");
    ann.settled(&last);
    shows(&ann, &repo, &ann_id, &[ends[0], ends[1], Some(Reason::Succeeded)]);
    assert_eq!(objects(&bob, &repo, &bob.id()), BTreeMap::new());
}

/// A daemon that is killed on its way says after its restart what is missing, and says nothing twice.
#[test]
fn a_killed_daemon_says_the_rest_once() {
    let mut ann = Node::start("ann");
    let (source, ann_id) = (Source::new(&ann), ann.id());
    let mut ends = Vec::new();
    for point in ["settle.announced", "radworks.stored", "radworks.signed"] {
        let id = source.submit(&ann, &[], "sleep 600");
        let repo = repo_of(&ann, &id);
        shows(&ann, &repo, &ann_id, &[&ends[..], &[None]].concat());
        fault::arm(&ann.home, point);
        ann.cli(&["job", "cancel", &id]).ok();
        fault::reached(&ann.home, point);
        ann.kill();
        ann.up();
        ends.push(Some(Reason::Failed));
        shows(&ann, &repo, &ann_id, &ends);
        is_signed(&ann, &repo, &ann_id);
        assert_eq!(ann.settled(&id)["outcome"], "cancelled");
    }
    // at the first word too
    fault::arm(&ann.home, "radworks.stored");
    let id = source.submit(&ann, &[], "true");
    fault::reached(&ann.home, "radworks.stored");
    ann.kill();
    ann.up();
    // the kill may meet the run at any of its steps: one that was noted as started and has nothing left is lost
    let succeeded = ann.settled(&id)["outcome"] == "succeeded";
    ends.push(Some(if succeeded { Reason::Succeeded } else { Reason::Failed }));
    let repo = repo_of(&ann, &id);
    shows(&ann, &repo, &ann_id, &ends);
    is_signed(&ann, &repo, &ann_id);
}

/// What could not be said while the repository was away is said after a start that finds it, though nothing happened to the
/// job since.
#[test]
fn what_was_missed_is_said_at_the_next_start() {
    let mut ann = Node::start("ann");
    let (source, ann_id) = (Source::new(&ann), ann.id());
    let id = source.submit(&ann, &[], "sleep 600");
    let repo = repo_of(&ann, &id);
    shows(&ann, &repo, &ann_id, &[None]);
    let (there, away) = (storage(&ann, &repo), ann.home.join("away"));
    std::fs::rename(&there, &away).unwrap();
    ann.cli(&["job", "cancel", &id]).ok();
    ann.settled(&id);
    ann.down();
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(shown(&ann, &repo, &ann_id).unwrap().runs.values().next().unwrap().1, None);
    ann.up();
    shows(&ann, &repo, &ann_id, &[Some(Reason::Failed)]);
}

/// Whoever decides about a job shows it, and nobody else: not its author, nor the node that runs it. Where the decision is
/// passed on, the next one shows it in the same object in his own name, and the first ends what he began.
#[test]
fn only_who_decides_shows_a_job() {
    let ann = Node::start("ann");
    let mut bob = Node::join("bob", &[], &ann, "submit,run,arbitrate");
    let (source, ann_id, bob_id) = (Source::new(&ann), ann.id(), bob.id());
    let first = source.submit(&ann, &["--on", "bob"], "true");
    let repo = repo_of(&ann, &first);
    ann.settled(&first);
    shows(&bob, &repo, &ann_id, &[Some(Reason::Succeeded)]);
    let second = source.submit(&ann, &["--on", "ann", "--arbiter", "bob"], "true");
    ann.settled(&second);
    shows(&ann, &repo, &bob_id, &[Some(Reason::Succeeded)]);
    let third = source.submit(&ann, &["--on", "ann", "--standby", "bob"], "sleep 600");
    shows(&bob, &repo, &ann_id, &[Some(Reason::Succeeded), None]);
    ann.json(&["job", "handover", &third]);
    ann.cli(&["job", "cancel", &third]).ok();
    let both = [Some(Reason::Succeeded), Some(Reason::Failed)];
    for node in [&ann, &bob] {
        let runs = [&ann_id, &bob_id].map(|by| shows(node, &repo, by, &both).runs);
        let shared: Vec<&String> = runs[0].keys().filter(|uuid| runs[1].contains_key(*uuid)).collect();
        assert_eq!(shared.len(), 1, "the job that both decided about has one run: {runs:?}");
    }
    let object = |by: &str| objects(&ann, &repo, by).into_keys().collect::<Vec<_>>();
    assert_eq!(object(&ann_id), object(&bob_id));

    // what a crash left unsigned is signed, also where nothing else of the job is
    let fourth = source.submit(&ann, &["--on", "bob", "--arbiter", "bob"], "sleep 600");
    shows(&bob, &repo, &bob_id, &[both[0], both[1], None]);
    fault::arm(&bob.home, "radworks.stored");
    ann.cli(&["job", "cancel", &fourth]).ok();
    fault::reached(&bob.home, "radworks.stored");
    bob.kill();
    bob.up();
    is_signed(&bob, &repo, &bob_id);
    shows(&bob, &repo, &bob_id, &[both[0], both[1], both[1]]);
}
