//! How far each node is with each ledger: how far this one has read its peers, what they said of themselves, and since
//! when one is away. What they said of whole ledgers outlives the daemon in a small file, which may be lost.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cobs::id::{JobId, NodeId, Oid, RepoId};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::peering::copies::JobCopy;
use crate::store::UnixMs;

/// Answers about single jobs that are remembered; the oldest go first.
pub const JOBS_MAX: usize = 4096;
/// Ledgers of one peer that are remembered.
pub const LEDGERS_MAX: usize = 64;
/// Announcements of one ledger that are remembered; of what an older one told, only that it was told by then is known.
pub const ANNOUNCED_MAX: usize = 256;
/// Questions of peers that are answered at once: each looks into the storage.
const ANSWERS_AT_ONCE: usize = 4;
/// Between two fetches that one peer's questions about one ledger cause.
const FETCH_PAUSE: Duration = Duration::from_secs(5);

/// One of the two ways to a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Way {
    /// The direct link.
    Link,
    /// The session of the two Radicle nodes.
    Radicle,
}

/// That a peer went away.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Away {
    /// When.
    pub since: UnixMs,
    /// Why, as far as it is known.
    pub reason: String,
}

/// What a peer said of this node's references in a ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Said {
    /// When it said so last.
    pub at: UnixMs,
    /// The commit of our signed references that it holds.
    pub held: Option<Oid>,
    /// The one up to which its daemon has read them.
    pub read: Option<Oid>,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    said: Vec<Line>,
    announced: BTreeMap<RepoId, VecDeque<(Oid, UnixMs)>>,
}

/// What a peer said of a ledger.
#[derive(Serialize, Deserialize)]
struct Line {
    peer: NodeId,
    ledger: RepoId,
    said: Said,
}

/// See the module.
pub struct Whereabouts {
    known: Mutex<Known>,
    /// Of one writer at a time.
    file: Mutex<()>,
    /// Places to answer questions in.
    pub answers: Semaphore,
}

#[derive(Default)]
struct Known {
    read: BTreeMap<(NodeId, RepoId), Oid>,
    said: BTreeMap<(NodeId, RepoId), Said>,
    jobs: BTreeMap<(NodeId, JobId), (UnixMs, JobCopy)>,
    away: BTreeMap<(Way, NodeId), Away>,
    fetched: BTreeMap<(NodeId, RepoId), Instant>,
    announced: BTreeMap<RepoId, VecDeque<(Oid, UnixMs)>>,
}

impl Default for Whereabouts {
    fn default() -> Self {
        Self { known: Mutex::default(), file: Mutex::default(), answers: Semaphore::new(ANSWERS_AT_ONCE) }
    }
}

impl Whereabouts {
    /// With what peers said, and what was announced to them, in an earlier life of the daemon.
    pub fn load(file: &Path) -> Self {
        let all = Self::default();
        match std::fs::read(file).ok().map(|bytes| serde_json::from_slice::<Kept>(&bytes)) {
            Some(Ok(kept)) => {
                kept.said.into_iter().for_each(|line| all.hear(line.peer, line.ledger, line.said));
                all.lock().announced = kept.announced;
            }
            Some(Err(error)) => tracing::warn!(%error, "what peers said last is forgotten"),
            None => {}
        }
        all
    }

    /// Writes down what peers said and what was announced, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let _one = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, announced) = {
            let known = self.lock();
            (known.said.clone(), known.announced.clone())
        };
        let line = |((peer, ledger), said)| Line { peer, ledger, said };
        let kept = Kept { said: said.into_iter().map(line).collect(), announced };
        let beside = file.with_extension("part");
        std::fs::write(&beside, serde_json::to_vec(&kept)?)?;
        std::fs::rename(beside, file)
    }

    /// A peer is there again.
    pub fn came(&self, way: Way, peer: NodeId) {
        self.lock().away.remove(&(way, peer));
    }

    /// A peer went away.
    pub fn left(&self, way: Way, peer: NodeId, away: Away) {
        self.lock().away.insert((way, peer), away);
    }

    /// Since when a peer is away; none when it has not been there in this life of the daemon.
    pub fn away(&self, way: Way, peer: NodeId) -> Option<Away> {
        self.lock().away.get(&(way, peer)).cloned()
    }

    /// This node's daemon has read a namespace up to this commit of its signed references.
    pub fn has_read(&self, ledger: RepoId, namespace: NodeId, at: Oid) {
        self.lock().read.insert((namespace, ledger), at);
    }

    /// How far this node's daemon has read the references of a peer, by ledger.
    pub fn read_of(&self, namespace: NodeId) -> BTreeMap<RepoId, Oid> {
        let known = self.lock();
        let of = known.read.range((namespace, RepoId::from(Oid::from_sha1([0; 20])))..);
        of.take_while(|((node, _), _)| *node == namespace).map(|((_, ledger), at)| (*ledger, *at)).collect()
    }

    /// A peer says how far it is with our references in a ledger; what it leaves out stands as it was.
    pub fn hear(&self, peer: NodeId, ledger: RepoId, said: Said) {
        let mut known = self.lock();
        let before = known.said.get(&(peer, ledger)).copied();
        if before.is_none() && known.said.keys().filter(|(node, _)| *node == peer).count() >= LEDGERS_MAX {
            return;
        }
        let (held, read) = before.map(|before| (before.held, before.read)).unwrap_or_default();
        known.said.insert((peer, ledger), Said { at: said.at, held: said.held.or(held), read: said.read.or(read) });
    }

    /// What a peer said last of our references in a ledger.
    pub fn said(&self, peer: NodeId, ledger: RepoId) -> Option<Said> {
        self.lock().said.get(&(peer, ledger)).copied()
    }

    /// A peer says what it has of a job.
    pub fn hear_of(&self, peer: NodeId, job: JobId, copy: JobCopy, at: UnixMs) {
        let mut known = self.lock();
        known.jobs.insert((peer, job), (at, copy));
        if known.jobs.len() > JOBS_MAX {
            let oldest = known.jobs.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| *key);
            oldest.and_then(|key| known.jobs.remove(&key));
        }
    }

    /// What a peer said last of a job, and when.
    pub fn said_of(&self, peer: NodeId, job: JobId) -> Option<(UnixMs, JobCopy)> {
        self.lock().jobs.get(&(peer, job)).cloned()
    }

    /// This node announced its signed references as of a commit; a repetition tells nothing new.
    pub fn announced(&self, ledger: RepoId, at: Oid, when: UnixMs) {
        let mut known = self.lock();
        let all = known.announced.entry(ledger).or_default();
        if all.back().is_some_and(|(last, _)| *last == at) {
            return;
        }
        all.push_back((at, when));
        if all.len() > ANNOUNCED_MAX {
            all.pop_front();
        }
    }

    /// When the first announcement was made that brings something: `brings` holds of a commit and all later ones. None
    /// when no announcement of this life brings it.
    pub fn first_announced(&self, ledger: RepoId, brings: impl Fn(Oid) -> bool) -> Option<UnixMs> {
        let mut all = self.lock().announced.get(&ledger).cloned().unwrap_or_default();
        let all = all.make_contiguous();
        all.get(all.partition_point(|(at, _)| !brings(*at))).map(|(_, when)| *when)
    }

    /// Whether a peer's question may cause a fetch from it now; then it is taken for caused.
    pub fn may_fetch(&self, peer: NodeId, ledger: RepoId, now: Instant) -> bool {
        let mut known = self.lock();
        let due = known.fetched.get(&(peer, ledger)).is_none_or(|last| now.duration_since(*last) >= FETCH_PAUSE);
        if due {
            known.fetched.insert((peer, ledger), now);
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId::from([seed; 32])
    }

    fn ledger(seed: u8) -> RepoId {
        RepoId::from(oid(seed))
    }

    fn oid(seed: u8) -> Oid {
        Oid::from_sha1([seed; 20])
    }

    /// What is told of one peer's references is of that peer alone, in every ledger.
    #[test]
    fn reading_is_told_by_namespace() {
        let all = Whereabouts::default();
        for (of, place, at) in [(1, 1, 1), (2, 0, 2), (2, 255, 3), (3, 1, 4), (2, 0, 5)] {
            all.has_read(ledger(place), node(of), oid(at));
        }
        assert_eq!(all.read_of(node(2)), BTreeMap::from([(ledger(0), oid(5)), (ledger(255), oid(3))]));
        assert!(all.read_of(node(4)).is_empty());
    }

    /// A peer that says half keeps the other half of what it said, and cannot fill the memory with ledgers.
    #[test]
    fn what_was_said_is_kept_and_bounded() {
        let all = Whereabouts::default();
        all.hear(node(1), ledger(1), Said { at: UnixMs(1), held: Some(oid(1)), read: Some(oid(2)) });
        all.hear(node(1), ledger(1), Said { at: UnixMs(2), held: None, read: Some(oid(3)) });
        let wanted = Said { at: UnixMs(2), held: Some(oid(1)), read: Some(oid(3)) };
        assert_eq!(all.said(node(1), ledger(1)), Some(wanted));
        for place in 0..=255 {
            all.hear(node(2), ledger(place), wanted);
        }
        let kept = (0..=255).filter(|place| all.said(node(2), ledger(*place)).is_some()).count();
        assert_eq!(kept, LEDGERS_MAX);
    }

    /// The next life of the daemon knows what was said in this one; a damaged file is as none.
    #[test]
    fn what_was_said_outlives_the_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("whereabouts.json");
        let all = Whereabouts::load(&file);
        let said = Said { at: UnixMs(1), held: Some(oid(1)), read: None };
        all.hear(node(1), ledger(1), said);
        all.save(&file).unwrap();
        assert_eq!(Whereabouts::load(&file).said(node(1), ledger(1)), Some(said));
        std::fs::write(&file, "[{").unwrap();
        assert_eq!(Whereabouts::load(&file).said(node(1), ledger(1)), None);
    }

    /// Answers about jobs are bounded, and the oldest goes first.
    #[test]
    fn the_oldest_answer_is_forgotten() {
        let all = Whereabouts::default();
        let job = |count: usize| {
            let mut bytes = [0; 20];
            bytes[..8].copy_from_slice(&(count as u64).to_be_bytes());
            JobId(Oid::from_sha1(bytes))
        };
        for count in 0..=JOBS_MAX {
            all.hear_of(node(1), job(count), JobCopy::default(), UnixMs(count as u64));
        }
        let kept = [0, 1, JOBS_MAX].map(|count| all.said_of(node(1), job(count)).is_some());
        assert_eq!(kept, [false, true, true]);
    }

    /// A change is told of by the first announcement that brings it, and heartbeats are no new ones.
    #[test]
    fn the_first_announcement_counts() {
        let all = Whereabouts::default();
        let beats = (0..ANNOUNCED_MAX).map(|beat| (3, 31 + beat as u64));
        for (at, when) in [(1, 10), (2, 20), (3, 30)].into_iter().chain(beats) {
            all.announced(ledger(1), oid(at), UnixMs(when));
        }
        let first = |from: u8| all.first_announced(ledger(1), |at| at >= oid(from)).map(|when| when.0);
        assert_eq!([1, 2, 3, 4].map(first), [Some(10), Some(20), Some(30), None]);
        assert_eq!(all.first_announced(ledger(2), |_| true), None);
        for more in 0..ANNOUNCED_MAX {
            all.announced(ledger(1), oid(more as u8 % 2 + 4), UnixMs(100 + more as u64));
        }
        assert_eq!(first(1), Some(100), "the oldest ones are forgotten");
    }

    /// A peer that asks again and again causes one fetch in a while, and holds up no other.
    #[test]
    fn fetches_for_questions_are_rare() {
        let (all, now) = (Whereabouts::default(), Instant::now());
        let may = |of, after| all.may_fetch(node(of), ledger(1), now + after);
        assert!(may(1, Duration::ZERO) && !may(1, FETCH_PAUSE / 2) && may(2, Duration::ZERO) && may(1, FETCH_PAUSE));
    }
}
