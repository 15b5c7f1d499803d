//! Hand-overs that one node shows another over their link, where replication has not brought them yet: the objects of
//! the operation as they lie in the ledger, whose signature is verified as if they had been read from there. Nothing of
//! what is shown is stored.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use git2::{ObjectType, Odb};
use radicle::storage::git::Repository;
use serde::{Deserialize, Serialize};

use crate::adapter::commit::{Commits, Found, parse_tree};
use crate::adapter::reader::{self, Faulty, ReadError, Walk, tips_of};
use crate::id::{JobId, Oid};
use crate::job::TYPE_NAME;
use crate::job::action::Action;
use crate::job::fold::Identity;
use crate::job::history::{Content, Op};
use crate::job::state::{HandOver, Job};

/// Most bytes of the objects of one operation that is shown; an honest one has a few hundred.
pub const SHOWN_BYTES_MAX: usize = 16 * 1024;

/// An operation as it is shown: its commit and what lies below it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Shown {
    commit: Text,
    tree: Text,
    blobs: Vec<Text>,
}

/// The bytes of an object, in base 64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct Text(String);

impl Text {
    fn of(odb: &Odb<'_>, id: Oid) -> Option<Self> {
        let object = odb.read(id.into()).ok()?;
        (object.data().len() <= SHOWN_BYTES_MAX).then(|| Self(BASE64_STANDARD.encode(object.data())))
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.0).ok()
    }
}

/// The operations that opened the epochs of a job, as far as they are found and small enough to be shown.
///
/// # Errors
/// When the storage fails.
pub fn hand_overs(repository: &Repository, job: &Job, identity: &Identity) -> Result<BTreeSet<Shown>, git2::Error> {
    let commits = Commits::new(&repository.backend, TYPE_NAME)?;
    let odb = repository.backend.odb()?;
    let mut found = BTreeSet::new();
    for node in identity.admitted(job) {
        let mut walk = Walk::new(&commits, job.id, node);
        let mut faulty = Faulty::default();
        for tip in tips_of(&repository.backend, &node, job.id)? {
            walk.queue(tip, &mut faulty)?;
        }
        while let Some((commit, entry, content)) = walk.next(&mut faulty)? {
            let Found::Signed(signed) = &*entry else { continue };
            if opens(job, &content) {
                found.extend(show(&odb, commit, signed.tree.0));
            }
            for parent in &signed.parents {
                walk.queue(*parent, &mut faulty)?;
            }
        }
    }
    Ok(found)
}

/// What a job means with what was shown, and what of it opened an epoch; none when it is nothing to the job.
///
/// # Errors
/// As [`reader::read_job`].
pub fn read(
    repository: &Repository,
    identity: &Identity,
    job: &Job,
    shown: &BTreeSet<Shown>,
) -> Result<Option<(Job, BTreeSet<Shown>)>, ReadError> {
    let operations: Vec<(&Shown, Op)> =
        shown.iter().filter_map(|shown| Some((shown, operation(shown, job.id)?))).collect();
    if operations.is_empty() {
        return Ok(None);
    }
    let ops: Vec<Op> = operations.iter().map(|(_, op)| op.clone()).collect();
    let read = reader::read_with(repository, job.id, identity, &ops)?.job;
    if read.arbiter() == job.arbiter() {
        return Ok(None);
    }
    let used = operations.iter().filter(|(_, op)| opens(&read, &op.content)).map(|(shown, _)| (*shown).clone());
    let used = used.collect();
    Ok(Some((read, used)))
}

/// Whether an operation is one that opened an epoch of a job.
fn opens(job: &Job, content: &Content) -> bool {
    job.epochs.iter().filter_map(|opened| opened.by.as_ref()).any(|by| match (content, by) {
        (Content::Action(Action::StepDown(step)), HandOver::StepDown(other)) => step == other,
        (Content::Action(Action::Takeover(takeover)), HandOver::Takeover(other)) => takeover == other,
        (Content::Action(_) | Content::Many(_) | Content::Unreadable(_), _) => false,
    })
}

fn show(odb: &Odb<'_>, commit: Oid, tree: Oid) -> Option<Shown> {
    let entries = odb.read(tree.into()).ok()?;
    let entries = parse_tree(entries.data())?;
    let blobs = entries.iter().map(|entry| Text::of(odb, entry.id)).collect::<Option<Vec<_>>>()?;
    let shown = Shown { commit: Text::of(odb, commit)?, tree: Text::of(odb, tree)?, blobs };
    let bytes = shown.commit.0.len() + shown.tree.0.len() + shown.blobs.iter().map(|blob| blob.0.len()).sum::<usize>();
    (bytes <= SHOWN_BYTES_MAX).then_some(shown)
}

/// The operation that is shown; none unless it is a hand-over of the job, signed by its author.
fn operation(shown: &Shown, job: JobId) -> Option<Op> {
    let odb = Odb::new().ok()?;
    odb.add_new_mempack_backend(1).ok()?;
    let memory = git2::Repository::from_odb(odb).ok()?;
    let odb = memory.odb().ok()?;
    for blob in &shown.blobs {
        odb.write(ObjectType::Blob, &blob.bytes()?).ok()?;
    }
    odb.write(ObjectType::Tree, &shown.tree.bytes()?).ok()?;
    let commit = odb.write(ObjectType::Commit, &shown.commit.bytes()?).ok()?;
    let commits = Commits::new(&memory, TYPE_NAME).ok()?;
    let op = reader::operation(&commits, commit.into()).ok()??;
    let hands_over = match &op.content {
        Content::Action(action @ (Action::StepDown(_) | Action::Takeover(_))) => action.job() == Some(job),
        Content::Action(_) | Content::Many(_) | Content::Unreadable(_) => false,
    };
    hands_over.then_some(op)
}
