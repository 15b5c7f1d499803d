//! One ledger as the writer holds it: stores what is drafted, moves references by compare-and-swap, signs them.
//!
//! An operation's parents are this node's own last tip of the object, or the root: nobody else's. The fold needs no
//! causality, and a stranger's commits then never become ancestors of ours.

mod recover;
mod sign;

use std::collections::BTreeMap;
use std::sync::Arc;

use git2::ErrorCode;
use nonempty::NonEmpty;
use radicle::cob::TypeName;
use radicle::cob::change::{Storage as _, Template};
use radicle::crypto::Signer;
use radicle::storage::ReadRepository as _;
use radicle::storage::git::Repository;
use radicle_oid::Oid;

use super::{Cause, Draft, LEDGER_FULL_RETRY_MS, LIVE_MAX, MOVE_ATTEMPTS_MAX, Operation, WriteError, Writer, Written};
use crate::adapter::archive::{self, target};
use crate::adapter::commit::{Commits, Found};
use crate::adapter::reader::{Faulty, Walk, root, tips_of};
use crate::adapter::refs;
use crate::adapter::signing;
use crate::adapter::synced::Synced;
use crate::id::{JobId, NodeId, Seq, TreeId};
use crate::job::action::{Action, ActionError, Create};
use crate::job::history::{Content, Op};
use crate::peer::PeerRecord;

/// Most jobs whose tips are kept in memory; beyond, all are read again.
const CHAINS_MAX: usize = 4096;
/// Most operations kept to be told of once they can be signed; beyond, the view must read.
const UNSIGNED_KEPT_MAX: usize = 4096;

/// A repository and what the writer remembers of it.
pub(super) struct Ledger {
    repo: Repository,
    node: NodeId,
    chains: BTreeMap<JobId, Chain>,
    live: usize,
    unsigned: Vec<Written>,
    is_unsigned: bool,
    synced: Synced,
}

/// This node's operations on one job.
#[derive(Clone, Debug)]
struct Chain {
    /// Where the live reference stood; none when there is none.
    live: Option<Oid>,
    /// What the next operation has as parents.
    parents: Vec<Oid>,
    /// The number of the last one.
    last: Option<Seq>,
}

/// Something stored: what to tell, and how to take it back.
pub(super) struct Step {
    pub written: Written,
    undo: Option<Move>,
}

/// A reference that was moved.
struct Move {
    name: String,
    from: Option<Oid>,
    to: Oid,
}

impl WriteError {
    /// The error of a failed storage call.
    pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(doing: &'static str, error: E) -> Self {
        let text = chain_text(&error);
        let source: Cause = Arc::new(error);
        // libgit2 passes the system's words on, and no code for them
        if text.contains("No space left on device") || text.contains("quota exceeded") {
            return Self::DiskFull(source);
        }
        Self::Storage { doing, source }
    }
}

fn chain_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl Ledger {
    pub fn new(repo: Repository, node: NodeId) -> Result<Self, git2::Error> {
        signing::keep_loose(&repo)?;
        let live = repo.backend.references_glob(&refs::live_glob_of(&node))?.names().count();
        let synced = Synced::new(repo.backend.path());
        Ok(Self { repo, node, chains: BTreeMap::new(), live, unsigned: Vec::new(), is_unsigned: false, synced })
    }

    pub fn live(&self) -> usize {
        self.live
    }

    pub fn is_unsigned(&self) -> bool {
        self.is_unsigned
    }

    /// What was kept unsigned is signed now.
    pub fn confirmed(&mut self) -> Vec<Written> {
        self.is_unsigned = false;
        std::mem::take(&mut self.unsigned)
    }

    pub fn keep_unsigned(&mut self, written: Vec<Written>) {
        self.is_unsigned = true;
        self.unsigned.extend(written);
        self.unsigned.truncate(UNSIGNED_KEPT_MAX);
    }

    /// Stores one draft, unsigned as yet.
    pub fn store(&mut self, signer: &impl Signer, draft: Draft) -> Result<Step, WriteError> {
        match draft {
            Draft::Create { create, .. } => self.create(signer, *create),
            Draft::Append { job, action, .. } => self.append(signer, job, &action),
            Draft::PeerRecord { record, .. } => self.peer_record(signer, &record),
            Draft::Archive { jobs, ledger } => {
                let moved = archive::store(&self.repo.backend, &self.node, &jobs)
                    .map_err(|error| WriteError::failed("archive jobs", error))?;
                for job in &jobs {
                    self.chains.remove(job);
                }
                self.live = self.live.saturating_sub(moved);
                Ok(Step { written: Written::Archived { ledger, jobs: moved }, undo: None })
            }
            Draft::Recover { head, .. } => self.recover(head),
            Draft::Publish { ledger } => Ok(Step { written: Written::Published { ledger }, undo: None }),
        }
    }

    fn create(&mut self, signer: &impl Signer, create: Create) -> Result<Step, WriteError> {
        if self.live >= LIVE_MAX {
            return Err(WriteError::LedgerFull { live: self.live, retry_after_ms: LEDGER_FULL_RETRY_MS });
        }
        let action = Action::Create(Box::new(create));
        let (commit, tree) = self.commit(signer, crate::job::TYPE_NAME, Vec::new(), encode(&action)?, "create")?;
        let job = JobId(commit);
        // an equal root may live in the archive as well
        let held = tips_of(&self.repo.backend, &self.node, job)
            .map_err(|error| WriteError::failed("look for the job", error))?;
        if !held.is_empty() {
            return Err(WriteError::Exists(job));
        }
        let step = Move { name: refs::live(&self.node, job), from: None, to: commit };
        match self.shift(&step) {
            Ok(()) => {}
            Err(error) if error.code() == ErrorCode::Modified => return Err(WriteError::Exists(job)),
            Err(error) => return Err(WriteError::failed("create a reference", error)),
        }
        self.live += 1;
        self.remember(job, Chain { live: Some(commit), parents: vec![commit], last: Some(Seq(0)) });
        Ok(self.step(job, tree, Seq(0), step))
    }

    fn append(&mut self, signer: &impl Signer, job: JobId, action: &Action) -> Result<Step, WriteError> {
        if action.job() != Some(job) {
            return Err(WriteError::Invalid(ActionError::Bounds { field: "job" }));
        }
        for attempt in 1..=MOVE_ATTEMPTS_MAX {
            let chain = self.chain(job)?;
            let seq = next_seq(&chain, action).ok_or(WriteError::SequenceExhausted(job))?;
            let numbered = action.clone().with_seq(seq);
            let bytes = encode(&numbered)?;
            let (commit, tree) =
                self.commit(signer, crate::job::TYPE_NAME, chain.parents.clone(), bytes, action.name())?;
            let step = Move { name: refs::live(&self.node, job), from: chain.live, to: commit };
            match self.shift(&step) {
                Ok(()) => {
                    if chain.live.is_none() {
                        self.live += 1;
                    }
                    self.remember(job, Chain { live: Some(commit), parents: vec![commit], last: Some(seq) });
                    return Ok(self.step(job, tree, seq, step));
                }
                Err(error) if matches!(error.code(), ErrorCode::Modified | ErrorCode::Locked | ErrorCode::NotFound) => {
                    std::thread::sleep(Writer::back_off(attempt));
                }
                Err(error) => return Err(WriteError::failed("move a reference", error)),
            }
        }
        Err(WriteError::Contended(job))
    }

    fn peer_record(&mut self, signer: &impl Signer, record: &PeerRecord) -> Result<Step, WriteError> {
        let bytes = record.encode();
        PeerRecord::decode(&bytes).map_err(|error| WriteError::Record(Arc::new(error)))?;
        let (commit, _) = self.commit(signer, crate::peer::TYPE_NAME, Vec::new(), bytes, "peer record")?;
        let name = refs::in_namespace(&self.node, refs::PEER);
        let from = target(&self.repo.backend, &name).map_err(|error| WriteError::failed("read a reference", error))?;
        let step = Move { name, from, to: commit };
        self.shift(&step).map_err(|error| WriteError::failed("move a reference", error))?;
        Ok(Step { written: Written::PeerRecord { ledger: self.repo.id, commit }, undo: Some(step) })
    }

    fn step(&self, job: JobId, tree: TreeId, seq: Seq, step: Move) -> Step {
        let operation = Operation { ledger: self.repo.id, job, tree, seq, commit: step.to };
        Step { written: Written::Operation(operation), undo: Some(step) }
    }

    /// Writes the signed commit of an operation, pinned to the accepted identity; no reference moves.
    fn commit(
        &self,
        signer: &impl Signer,
        type_name: &str,
        parents: Vec<Oid>,
        bytes: Vec<u8>,
        message: &str,
    ) -> Result<(Oid, TreeId), WriteError> {
        let pin = self.repo.identity_head().map_err(|error| WriteError::failed("read the ledger's identity", error))?;
        let template = Template {
            type_name: type_name.parse::<TypeName>().expect("our type names are valid"),
            tips: parents,
            message: message.to_owned(),
            embeds: Vec::new(),
            contents: NonEmpty::new(bytes),
        };
        let entry = self
            .repo
            .store(Some(pin), Vec::new(), signer, template)
            .map_err(|error| WriteError::failed("store an operation", error))?;
        Ok((entry.id, TreeId(entry.revision)))
    }

    /// Moves a reference, if it still stands where it was last seen.
    fn shift(&self, step: &Move) -> Result<(), git2::Error> {
        let from = step.from.map_or(git2::Oid::ZERO_SHA1, git2::Oid::from);
        self.repo.backend.reference_matching(&step.name, step.to.into(), true, from, "rhizome")?;
        Ok(())
    }

    fn remember(&mut self, job: JobId, chain: Chain) {
        if self.chains.len() >= CHAINS_MAX {
            self.chains.clear();
        }
        self.chains.insert(job, chain);
    }

    /// Where the next operation on `job` goes: as remembered, unless another process moved the reference.
    fn chain(&self, job: JobId) -> Result<Chain, WriteError> {
        let failed = |error| WriteError::failed("read this node's operations", error);
        let live = target(&self.repo.backend, &refs::live(&self.node, job)).map_err(failed)?;
        match self.chains.get(&job) {
            Some(chain) if chain.live == live => Ok(chain.clone()),
            remembered => self.read_chain(job, live, remembered).map_err(failed)?.ok_or(WriteError::UnknownJob(job)),
        }
    }

    /// Reads this node's operations; what is remembered and no longer below the reference becomes a parent again.
    /// None when the ledger does not hold the job.
    fn read_chain(
        &self,
        job: JobId,
        live: Option<Oid>,
        remembered: Option<&Chain>,
    ) -> Result<Option<Chain>, git2::Error> {
        let commits = Commits::new(&self.repo.backend, crate::job::TYPE_NAME)?;
        let Some(Op { id, content: Content::Action(Action::Create(_)), .. }) = root(&commits, job)? else {
            return Ok(None);
        };
        let mut walk = Walk::new(&commits, job, self.node);
        let mut faulty = Faulty::default();
        let mut last = (id.author == self.node).then_some(Seq(0));
        let mut parents: Vec<Oid> = Vec::new();
        // the live tip first: what lies below it needs no mention
        let mut tips: Vec<Oid> = live.into_iter().collect();
        match remembered {
            // below what is remembered nothing is new
            Some(chain) => tips.extend(&chain.parents),
            None => tips.extend(tips_of(&self.repo.backend, &self.node, job)?),
        }
        let known = remembered.map(|chain| chain.parents.as_slice()).unwrap_or_default();
        for tip in tips {
            if walk.seen.contains(&tip) {
                continue;
            }
            parents.push(tip);
            walk.queue(tip, &mut faulty)?;
            while let Some((commit, found, content)) = walk.next(&mut faulty)? {
                let Found::Signed(signed) = &*found else { continue };
                if let (true, Content::Action(action)) = (signed.author == self.node, &content) {
                    last = last.max(Some(action.seq()).filter(|seq| *seq <= Seq::MAX));
                }
                if known.contains(&commit) {
                    continue;
                }
                for parent in &signed.parents {
                    walk.queue(*parent, &mut faulty)?;
                }
            }
        }
        let last = last.max(remembered.and_then(|chain| chain.last));
        if parents.is_empty() {
            parents.push(job.0);
        }
        Ok(Some(Chain { live, parents, last }))
    }

    /// Takes back what could not be signed, newest first, as long as nobody has signed it for us. True when all of it
    /// is gone.
    pub fn take_back<'a>(&mut self, steps: impl DoubleEndedIterator<Item = &'a Step>, signed: Option<Oid>) -> bool {
        if !self.signed_head().is_ok_and(|head| head == signed) {
            return false;
        }
        let mut all = true;
        for step in steps.rev() {
            let Some(moved) = &step.undo else {
                all &= matches!(step.written, Written::Published { .. });
                continue;
            };
            all &= self.unmove(moved).is_ok();
            if let Written::Operation(operation) = &step.written {
                self.chains.remove(&operation.job);
                if all && moved.from.is_none() {
                    self.live = self.live.saturating_sub(1);
                }
            }
        }
        all
    }

    fn unmove(&self, moved: &Move) -> Result<(), git2::Error> {
        let Some(from) = moved.from else {
            let mut reference = self.repo.backend.find_reference(&moved.name)?;
            if reference.target() != Some(moved.to.into()) {
                return Err(git2::Error::from_str("the reference was moved"));
            }
            return reference.delete();
        };
        self.repo.backend.reference_matching(&moved.name, from.into(), true, moved.to.into(), "rhizome: take back")?;
        Ok(())
    }
}

/// The next number: the very last one is kept for a settle.
fn next_seq(chain: &Chain, action: &Action) -> Option<Seq> {
    let next = chain.last.map_or(Seq(0), |last| Seq(last.0 + 1));
    let most = if matches!(action, Action::Settle(_)) { Seq::MAX } else { Seq(Seq::MAX.0 - 1) };
    (next <= most).then_some(next)
}

/// What is written is what every reader takes: nobody would ever see an operation that is acknowledged and malformed.
fn encode(action: &Action) -> Result<Vec<u8>, WriteError> {
    let bytes = action.encode();
    Action::decode(&bytes).map_err(WriteError::Invalid)?;
    Ok(bytes)
}
