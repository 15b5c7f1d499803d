//! The writer's loop: batches, signatures, the sync, and who is told when.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use radicle::crypto::Signer;
use radicle::storage::{ReadStorage as _, RepositoryError};

use super::ledger::{Ledger, Step};
use super::{
    Announce, BATCH_DRAFTS_MAX, Closed, Draft, Message, OnWritten, Reply, UNSIGNED_RETRY_MS, Urgency, WriteError,
    Writer, WriterConfig, WriterError, Written,
};
use crate::id::RepoId;

/// The thread's state.
pub(super) struct Worker<S> {
    config: WriterConfig<S>,
    announce: Announce,
    written: OnWritten,
    live: Arc<Mutex<BTreeMap<RepoId, usize>>>,
    closed: Closed,
    ledgers: BTreeMap<RepoId, Ledger>,
    /// An open directory of the storage, by which its file system is synced.
    storage: File,
}

/// What woke the thread.
enum Woken {
    Batch(Vec<(Draft, Reply)>),
    Last(Vec<(Draft, Reply)>),
    Idle,
}

impl<S: Signer> Worker<S> {
    pub fn new(
        config: WriterConfig<S>,
        announce: Announce,
        written: OnWritten,
        live: Arc<Mutex<BTreeMap<RepoId, usize>>>,
        closed: Closed,
    ) -> Result<Self, WriterError> {
        let path = config.storage.path().to_owned();
        let storage = File::open(&path).map_err(|source| WriterError::Io {
            doing: "open the storage",
            path: path.display().to_string(),
            source,
        })?;
        Ok(Self { config, announce, written, live, closed, ledgers: BTreeMap::new(), storage })
    }

    pub fn run(mut self, drafts: &Receiver<Message>) {
        loop {
            match self.wait(drafts) {
                Woken::Batch(batch) => self.batch(batch),
                Woken::Last(batch) => return self.batch(batch),
                Woken::Idle => self.retry_unsigned(),
            }
        }
    }

    /// The next batch: whatever is queued, at once.
    fn wait(&self, drafts: &Receiver<Message>) -> Woken {
        let unsigned = self.ledgers.values().any(Ledger::is_unsigned);
        let first = if unsigned {
            match drafts.recv_timeout(Duration::from_millis(UNSIGNED_RETRY_MS)) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => return Woken::Idle,
                Err(RecvTimeoutError::Disconnected) => None,
            }
        } else {
            drafts.recv().ok()
        };
        let mut batch = Vec::new();
        let mut next = first;
        loop {
            match next {
                Some(Message::Draft(draft, reply)) => batch.push((*draft, reply)),
                Some(Message::Stop) | None => return Woken::Last(batch),
            }
            if batch.len() == BATCH_DRAFTS_MAX {
                return Woken::Batch(batch);
            }
            next = match drafts.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => return Woken::Batch(batch),
                Err(TryRecvError::Disconnected) => None,
            };
        }
    }

    fn batch(&mut self, batch: Vec<(Draft, Reply)>) {
        let names: Vec<&'static str> = batch.iter().map(|(draft, _)| draft.name()).collect();
        let passed = self.config.passed;
        let all = |how_far| names.iter().for_each(|name| passed(name, how_far));
        all("asked");
        let mut by_ledger: BTreeMap<RepoId, Vec<(Draft, Reply)>> = BTreeMap::new();
        for (draft, reply) in batch {
            by_ledger.entry(draft.ledger()).or_default().push((draft, reply));
        }
        let mut signed = Vec::new();
        for (id, drafts) in by_ledger {
            let urgency = drafts.iter().map(|(draft, _)| draft.urgency()).max().unwrap_or(Urgency::Now);
            if let Some(steps) = self.store(id, drafts) {
                signed.push((id, urgency, steps));
            }
        }
        if signed.is_empty() {
            return;
        }
        all("signed");
        let synced = rustix::fs::syncfs(&self.storage).map_err(std::io::Error::from);
        match synced {
            Ok(()) => {
                all("synced");
                signed.into_iter().for_each(|(id, urgency, steps)| self.tell(id, urgency, steps, &names));
            }
            Err(error) => {
                tracing::error!(%error, "cannot sync the storage");
                let error = WriteError::Unconfirmed(Arc::new(error));
                for (id, _, steps) in signed {
                    self.keep_unsigned(id, steps, &error);
                }
            }
        }
    }

    /// Stores and signs the drafts for one ledger; those that failed are answered at once. None when nothing is
    /// left to be synced.
    fn store(&mut self, id: RepoId, drafts: Vec<(Draft, Reply)>) -> Option<Vec<(Step, Reply)>> {
        let drafts = self.admitted(id, drafts);
        if drafts.is_empty() {
            return None;
        }
        if let Err(error) = self.open(id) {
            drafts.into_iter().for_each(|(_, reply)| reply(Err(error.clone())));
            return None;
        }
        let stored: Vec<&'static str> = drafts.iter().map(|(draft, _)| draft.name()).collect();
        let signer = &self.config.signer;
        let ledger = self.ledgers.get_mut(&id).expect("it was opened above");
        if let Err(error) = ledger.anchor(&self.storage) {
            let error = WriteError::failed("sync what was signed before", error);
            drafts.into_iter().for_each(|(_, reply)| reply(Err(error.clone())));
            return None;
        }
        let before = ledger.signed_head();
        let (mut steps, mut failed) = (Vec::new(), Vec::new());
        for (draft, reply) in drafts {
            match ledger.store(signer, draft) {
                Ok(step) => steps.push((step, reply)),
                Err(error) => failed.push((error, reply)),
            }
        }
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, ledger.live());
        failed.into_iter().for_each(|(error, reply)| reply(Err(error)));
        if steps.is_empty() {
            return None;
        }
        stored.iter().for_each(|name| (self.config.passed)(name, "stored"));
        let Err(error) = ledger.sign(signer) else {
            if steps.iter().any(|(step, _)| matches!(step.written, Written::Recovered { .. })) {
                self.closed.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            }
            return Some(steps);
        };
        tracing::warn!(ledger = %id, %error, "cannot sign references");
        let taken_back = before.is_ok_and(|before| ledger.take_back(steps.iter().map(|(step, _)| step), before));
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(id, ledger.live());
        let error = WriteError::failed("sign references", error);
        if taken_back {
            steps.into_iter().for_each(|(_, reply)| reply(Err(error.clone())));
        } else {
            self.keep_unsigned(id, steps, &WriteError::Unconfirmed(Arc::new(error)));
        }
        None
    }

    /// What may be written: to a closed ledger nothing but what opens it again.
    fn admitted(&self, id: RepoId, drafts: Vec<(Draft, Reply)>) -> Vec<(Draft, Reply)> {
        if !self.is_closed(&id) {
            return drafts;
        }
        let (admitted, refused) =
            drafts.into_iter().partition::<Vec<_>, _>(|(draft, _)| matches!(draft, Draft::Recover { .. }));
        refused.into_iter().for_each(|(_, reply)| reply(Err(WriteError::Behind(id))));
        admitted
    }

    fn is_closed(&self, id: &RepoId) -> bool {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    fn open(&mut self, id: RepoId) -> Result<(), WriteError> {
        if self.ledgers.contains_key(&id) {
            return Ok(());
        }
        let failed = |source: RepositoryError| WriteError::Ledger { ledger: id, source: Arc::new(source) };
        let repo = self.config.storage.repository(id).map_err(failed)?;
        let ledger = Ledger::new(repo, *self.config.signer.public_key())
            .map_err(|source| WriteError::Ledger { ledger: id, source: Arc::new(source) })?;
        self.ledgers.insert(id, ledger);
        Ok(())
    }

    /// Announces, then tells the view, then the callers.
    fn tell(&mut self, id: RepoId, urgency: Urgency, steps: Vec<(Step, Reply)>, names: &[&'static str]) {
        let earlier = self.ledgers.get_mut(&id).map(Ledger::confirmed).unwrap_or_default();
        (self.announce)(id, if earlier.is_empty() { urgency } else { Urgency::Now });
        for written in &earlier {
            (self.written)(written);
        }
        for (step, _) in &steps {
            (self.written)(&step.written);
        }
        names.iter().for_each(|name| (self.config.passed)(name, "announced"));
        for (step, reply) in steps {
            reply(Ok(step.written));
        }
    }

    fn keep_unsigned(&mut self, id: RepoId, steps: Vec<(Step, Reply)>, error: &WriteError) {
        let mut kept: Vec<Written> = Vec::new();
        for (step, reply) in steps {
            kept.push(step.written);
            reply(Err(error.clone()));
        }
        if let Some(ledger) = self.ledgers.get_mut(&id) {
            ledger.not_synced();
            ledger.keep_unsigned(kept);
        }
    }

    fn retry_unsigned(&mut self) {
        let unsigned: Vec<RepoId> =
            self.ledgers.iter().filter(|(_, ledger)| ledger.is_unsigned()).map(|(id, _)| *id).collect();
        for id in unsigned {
            if self.is_closed(&id) {
                continue;
            }
            let Some(ledger) = self.ledgers.get_mut(&id) else { continue };
            if let Err(error) = ledger.anchor(&self.storage) {
                tracing::warn!(ledger = %id, %error, "stored operations still cannot be signed: the storage cannot be synced");
            } else if let Err(error) = ledger.sign(&self.config.signer) {
                tracing::warn!(ledger = %id, %error, "stored operations still cannot be signed");
            } else if let Err(error) = rustix::fs::syncfs(&self.storage) {
                ledger.not_synced();
                tracing::warn!(ledger = %id, %error, "stored operations still cannot be synced");
            } else {
                self.tell(id, Urgency::Now, Vec::new(), &[]);
            }
        }
    }
}

impl Writer {
    /// How long to wait before attempt `attempt`, counted from 1.
    pub(super) fn back_off(attempt: u32) -> Duration {
        let doubled = super::RETRY_MS.saturating_mul(1 << attempt.min(16));
        Duration::from_millis(doubled.min(super::RETRY_MS_MAX))
    }
}
