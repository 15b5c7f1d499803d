//! The objects `xyz.radworks.job` of a source repository: found by their commit, and this node's part of them written.
//!
//! An operation's parents are this node's own last one, or the root: a stranger's operations never become ancestors of
//! ours. It must not know when something is said, nor whose word it is to say it.

use std::collections::{BTreeMap, BTreeSet};

use git2::ErrorCode;
use nonempty::NonEmpty;
use radicle::cob::TypeName;
use radicle::cob::change::{Storage as _, Template};
use radicle::storage::ReadRepository as _;
use radicle::storage::git::Repository;
use radicle_oid::Oid;

use super::archive::target;
use super::commit::{Commits, Found};
use super::ledger::Members;
use super::profile::NodeHome;
use super::repository::{self, RepositoryFault};
use super::synced::Synced;
use super::{refs, signed};
use crate::id::{CommitId, NodeId, RepoId, parse_oid};
use crate::radworks::{ACTION_BYTES_MAX, Action, Line, RunUuid, Runs, TYPE_NAME};

/// Most runs of this node at one commit; later ones are not shown. Readers evaluate an object in a time that is quadratic
/// in its operations and on a stack as deep as there are of them, and some look at a commit's first object alone.
pub const RUNS_MAX: usize = 128;
/// Most operations of an object that are read.
pub const OPERATIONS_READ_MAX: usize = 1_024;
/// Most objects of others that are looked at for one commit.
pub const OTHERS_READ_MAX: usize = 4_096;
/// Most branches, and most tags, that are looked at for a commit.
pub const BRANCHES_READ_MAX: usize = 4_096;
/// Most roots that are remembered; beyond, all are read again.
pub const ROOTS_MAX: usize = 16_384;

/// What is remembered over many looks.
#[derive(Default)]
pub struct Known {
    /// The commits that objects are of: a root never changes.
    roots: BTreeMap<(RepoId, Oid), Option<CommitId>>,
    /// Which signatures are on disk.
    synced: BTreeMap<RepoId, Synced>,
}

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    /// It is there, unsigned as yet.
    Now,
    /// It was there before, signed or not.
    Before,
    /// There is nothing to say.
    Nothing,
    /// As many runs at this commit are shown as may be.
    Full,
    /// The commit is not here.
    NoCommit,
    /// The job's author may not have the repository, so nothing of its jobs is said there.
    NotTheirs,
    /// The repository is public and no branch or tag has the commit: an object would publish it for ever.
    Unpublished,
}

/// A source repository, open for writing by one thread.
pub struct SourceObjects {
    home: NodeHome,
    repository: Repository,
}

/// An object that a line goes into.
struct Place {
    object: Oid,
    /// This node's last operation on it.
    tip: Option<Oid>,
    runs: Runs,
    is_full: bool,
}

impl SourceObjects {
    /// Opens a repository of this home; none when it is not here.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn open(home: &NodeHome, rid: RepoId) -> Result<Option<Self>, RepositoryFault> {
        match repository::open(home, rid) {
            Ok(repository) => Ok(Some(Self { home: home.clone(), repository })),
            Err(RepositoryFault::NotHere(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores what is missing of a line. Peers have it once it is signed.
    ///
    /// # Errors
    /// When the storage fails, or another process moved the object's reference: the next look finds what is missing then.
    pub fn store(&self, known: &mut Known, line: &Line) -> Result<Stored, RepositoryFault> {
        let document = repository::current_document(&self.repository)?;
        if document.is_private() && !Members::of(&document).contains(&line.author) {
            return Ok(Stored::NotTheirs);
        }
        let stored = self.store_line(known, line, document.is_public());
        stored.map_err(RepositoryFault::storage("write a job's state into", self.repository.id))
    }

    /// Signs what is stored; true when there was something to sign, which is on disk then.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn sign(&self, known: &mut Known) -> Result<bool, RepositoryFault> {
        let (us, rid) = (self.home.public_key, self.repository.id);
        let before = signed::head(&self.repository, &us);
        let before = before.map_err(RepositoryFault::storage("read the signed references of", rid))?;
        let now = repository::sign(&self.home, &self.repository)?.at;
        if Some(now) == before {
            return Ok(false);
        }
        let synced = self.synced(known);
        let done = synced.name(now).and_then(|()| self.home.sync());
        if let Err(error) = done {
            synced.forget();
            return Err(RepositoryFault::storage("sync what was signed in", rid)(error));
        }
        Ok(true)
    }

    /// What is signed now must be on disk before more is written, or a power cut could leave nothing to go back to.
    fn anchor(&self, known: &mut Known) -> Result<(), Fault> {
        if let Some(head) = signed::head(&self.repository, &self.home.public_key)? {
            self.synced(known).anchor(head, || self.home.sync())?;
        }
        Ok(())
    }

    fn synced<'a>(&self, known: &'a mut Known) -> &'a mut Synced {
        known.synced.entry(self.repository.id).or_insert_with(|| Synced::new(self.repository.backend.path()))
    }

    fn store_line(&self, known: &mut Known, line: &Line, is_public: bool) -> Result<Stored, Fault> {
        let git = &self.repository.backend;
        match git.find_commit(line.source.commit.0.into()) {
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(Stored::NoCommit),
            Err(error) => return Err(error.into()),
        }
        if is_public && !self.is_published(line.source.commit)? {
            return Ok(Stored::Unpublished);
        }
        let place = match self.place(known, line)? {
            Some(place) => place,
            None if line.founds() => return self.found(known, line),
            None => return Ok(Stored::Nothing),
        };
        let missing = line.missing(&place.runs);
        if missing.is_empty() {
            return Ok(Stored::Before);
        }
        if place.is_full && !place.runs.contains(&RunUuid::of(line.job)) {
            return Ok(Stored::Full);
        }
        self.anchor(known)?;
        let last = self.chain(place.tip.unwrap_or(place.object), &missing)?;
        self.shift(place.object, place.tip, last)?;
        Ok(Stored::Now)
    }

    /// Whether a branch or a tag of anybody's has a commit.
    fn is_published(&self, commit: CommitId) -> Result<bool, Fault> {
        let git = &self.repository.backend;
        let mut looked = BTreeSet::new();
        for glob in ["refs/namespaces/*/refs/heads/*", "refs/namespaces/*/refs/tags/*"] {
            for reference in git.references_glob(glob)?.take(BRANCHES_READ_MAX) {
                let Ok(tip) = reference?.peel_to_commit().map(|tip| tip.id()) else { continue };
                let wanted = git2::Oid::from(commit.0);
                if looked.insert(tip) && (tip == wanted || git.graph_descendant_of(tip, wanted)?) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A new object with all that is to be said.
    fn found(&self, known: &mut Known, line: &Line) -> Result<Stored, Fault> {
        self.anchor(known)?;
        let root = self.commit(Vec::new(), vec![line.source.commit.0], &line.request())?;
        let last = self.chain(root, &line.missing(&Runs::default()))?;
        self.shift(root, None, last)?;
        Ok(Stored::Now)
    }

    /// The object for a line: the one with its run, or else the first of this node's, or else anybody's.
    fn place(&self, known: &mut Known, line: &Line) -> Result<Option<Place>, Fault> {
        let commits = Commits::new(&self.repository.backend, TYPE_NAME)?;
        let (us, run) = (self.home.public_key, RunUuid::of(line.job));
        let own = self.objects(&format!("refs/namespaces/{us}/refs/cobs/{TYPE_NAME}/*"), usize::MAX)?;
        let mut first = None;
        for object in &own {
            if self.commit_of(known, &commits, *object)? != Some(line.source.commit) {
                continue;
            }
            let Some(tip) = target(&self.repository.backend, &reference(&us, *object))? else { continue };
            let (runs, whole) = own_runs(&commits, us, tip)?;
            let is_full = !whole || runs.len() >= RUNS_MAX;
            let place = Place { object: *object, tip: Some(tip), runs, is_full };
            if place.runs.contains(&run) {
                return Ok(Some(place));
            }
            first.get_or_insert(place);
        }
        if first.is_some() || !line.founds() {
            return Ok(first);
        }
        let all = self.objects(&format!("refs/namespaces/*/refs/cobs/{TYPE_NAME}/*"), OTHERS_READ_MAX)?;
        for object in all.difference(&own) {
            if self.commit_of(known, &commits, *object)? == Some(line.source.commit) {
                return Ok(Some(Place { object: *object, tip: None, runs: Runs::default(), is_full: false }));
            }
        }
        Ok(None)
    }

    fn objects(&self, glob: &str, most: usize) -> Result<BTreeSet<Oid>, Fault> {
        let mut found = BTreeSet::new();
        for name in self.repository.backend.references_glob(glob)?.names().take(most) {
            found.extend(name.ok().and_then(|name| parse_oid(name.rsplit_once('/')?.1).ok()));
        }
        Ok(found)
    }

    /// The commit that an object is of; none for one that readers would refuse, or that does not bring its commit along.
    fn commit_of(&self, known: &mut Known, commits: &Commits<'_>, object: Oid) -> Result<Option<CommitId>, Fault> {
        let key = (self.repository.id, object);
        if let Some(commit) = known.roots.get(&key) {
            return Ok(*commit);
        }
        let read = match action_of(commits, object)? {
            Some((_, Action::Request { oid })) => {
                let commit = self.repository.backend.find_commit(object.into())?;
                commit.parent_ids().any(|parent| parent == oid.0.into()).then_some(oid)
            }
            Some((_, Action::Run { .. } | Action::Finished { .. })) | None => None,
        };
        if known.roots.len() >= ROOTS_MAX {
            known.roots.clear();
        }
        known.roots.insert(key, read);
        Ok(read)
    }

    /// Commits actions one after another, and returns the last.
    fn chain(&self, first: Oid, actions: &[Action]) -> Result<Oid, Fault> {
        actions.iter().try_fold(first, |last, action| self.commit(vec![last], Vec::new(), action))
    }

    fn commit(&self, parents: Vec<Oid>, related: Vec<Oid>, action: &Action) -> Result<Oid, Fault> {
        let template = Template {
            type_name: TYPE_NAME.parse::<TypeName>().expect("the type name is valid"),
            tips: parents,
            message: action.message().to_owned(),
            embeds: Vec::new(),
            contents: NonEmpty::new(action.encode()),
        };
        let pin = self.repository.identity_head()?;
        Ok(self.repository.store(Some(pin), related, &self.home.signer, template)?.id)
    }

    /// Moves this node's reference of an object, if it still stands where it was seen.
    fn shift(&self, object: Oid, from: Option<Oid>, to: Oid) -> Result<(), Fault> {
        let from = from.map_or(git2::Oid::ZERO_SHA1, git2::Oid::from);
        let name = reference(&self.home.public_key, object);
        self.repository.backend.reference_matching(&name, to.into(), true, from, "rhizome")?;
        Ok(())
    }
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn reference(node: &NodeId, object: Oid) -> String {
    refs::in_namespace(node, &format!("refs/cobs/{TYPE_NAME}/{object}"))
}

/// The author and the action of an operation; none for what is no operation with one action.
fn action_of(commits: &Commits<'_>, at: Oid) -> Result<Option<(NodeId, Action)>, git2::Error> {
    let Found::Signed(signed) = &*commits.find(at)? else { return Ok(None) };
    let bytes = commits.raw_content(signed, ACTION_BYTES_MAX)?;
    Ok(bytes.and_then(|bytes| Action::decode(&bytes)).map(|action| (signed.author, action)))
}

/// The runs of `node` below a tip, and whether all was read.
fn own_runs(commits: &Commits<'_>, node: NodeId, tip: Oid) -> Result<(Runs, bool), git2::Error> {
    let (mut seen, mut newest_first, mut next) = (BTreeSet::from([tip]), Vec::new(), vec![tip]);
    while let Some(at) = next.pop() {
        let found = commits.find(at)?;
        let Found::Signed(signed) = &*found else { continue };
        newest_first.extend(action_of(commits, at)?.filter(|(author, _)| *author == node));
        next.extend(signed.parents.iter().copied().filter(|parent| seen.insert(*parent)));
        if seen.len() > OPERATIONS_READ_MAX {
            break;
        }
    }
    let mut runs = Runs::default();
    newest_first.into_iter().rev().for_each(|(_, action)| runs.apply(action));
    Ok((runs, seen.len() <= OPERATIONS_READ_MAX))
}
