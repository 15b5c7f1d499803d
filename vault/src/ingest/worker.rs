//! The thread that indexes: it waits for changes, lets them settle, and looks.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::engine::{Ingest, IngestError, Source};
use super::shared::{Shared, WatchState};
use super::watch::{Watch, WatchMode};
use crate::path::VaultPath;

/// Messages that wait for the thread; changes beyond are found by a scan.
const MESSAGES_MAX: usize = 4_096;
/// How long nothing has to change before it is looked, and how long a change waits at most.
const QUIET: Duration = Duration::from_millis(40);
const SETTLE_MAX: Duration = Duration::from_millis(200);
/// When a folder that appeared is looked at again, since what came into it before it was watched is not told.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a vault is scanned that is watched, and one that is not.
const WATCHED_SCAN: Duration = Duration::from_secs(600);
const UNWATCHED_SCAN: Duration = Duration::from_secs(5);
/// How often it is looked whether the folders are still those that were opened.
const LOOK_FOR_FOLDERS: Duration = Duration::from_secs(2);
/// When a failed attempt to write the index is made again.
const RETRY: Duration = Duration::from_secs(5);

/// What the thread is told.
enum Message {
    Changed(Vec<PathBuf>),
    Documents { ids: Vec<VaultPath>, done: Reply },
    Scan { done: Reply },
    Rebuild { done: Reply },
    Stop,
}

type Reply = SyncSender<Result<(), String>>;

/// Why the thread did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It has ended.
    #[error("the vault is being closed")]
    Closed,
    /// The index could not be written; it is tried again by itself.
    #[error("the index was not written: {0}; it is tried again")]
    Failed(String),
}

/// The thread, which ends when this is dropped.
pub struct Worker {
    messages: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    stopping: Arc<AtomicBool>,
}

impl Worker {
    /// Opens the index and begins to look. `changed` is called by the thread after each change of what is searched.
    ///
    /// # Errors
    /// When the index cannot be opened.
    pub fn start(source: Source, changed: impl Fn() + Send + 'static) -> Result<Self, IngestError> {
        let (ingest, shared) = Ingest::open(source.clone())?;
        let (messages, received) = sync_channel(MESSAGES_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let (watches, changed) = (messages.clone(), Box::new(changed));
        let (shows, stops) = (Arc::clone(&shared), Arc::clone(&stopping));
        let ingest = Some(ingest.until(Arc::clone(&stopping)));
        let (away, unwatched) = (BTreeSet::new(), BTreeSet::new());
        let mut thread = Thread { source, ingest, shared: shows, changed, stopping: stops, away, unwatched };
        let thread = Builder::new().name("vault".to_owned()).spawn(move || thread.run(&received, &watches))?;
        Ok(Self { messages, thread: Some(thread), shared, stopping })
    }

    /// What is searched.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until pushed documents are searchable as they are now. It blocks.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn documents(&self, ids: Vec<VaultPath>) -> Result<(), WorkerError> {
        self.ask(|done| Message::Documents { ids, done })
    }

    /// Waits for a scan of the whole vault. It blocks.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn scan(&self) -> Result<(), WorkerError> {
        self.ask(|done| Message::Scan { done })
    }

    /// Waits until an index that was built anew is searched. It blocks.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn rebuild(&self) -> Result<(), WorkerError> {
        self.ask(|done| Message::Rebuild { done })
    }

    fn ask(&self, message: impl FnOnce(Reply) -> Message) -> Result<(), WorkerError> {
        let (done, answer) = sync_channel(1);
        self.messages.send(message(done)).map_err(|_| WorkerError::Closed)?;
        match answer.recv() {
            Ok(answer) => answer.map_err(WorkerError::Failed),
            Err(_) => Err(WorkerError::Closed),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // it stops at its next message; one that has ended already has no use for it
        self.messages.send(Message::Stop).ok();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that indexes the vault had panicked");
        }
    }
}

struct Thread {
    source: Source,
    /// None after a failure, until it is opened again.
    ingest: Option<Ingest>,
    shared: Arc<Shared>,
    changed: Box<dyn Fn() + Send>,
    stopping: Arc<AtomicBool>,
    /// The folders that were gone when that was last looked at.
    away: BTreeSet<PathBuf>,
    /// Folders that are back, and not all of which is watched yet.
    unwatched: BTreeSet<PathBuf>,
}

/// What is to be done.
#[derive(Default)]
struct Work {
    places: BTreeSet<VaultPath>,
    again: BTreeSet<VaultPath>,
    documents: Vec<VaultPath>,
    scan: bool,
    rebuild: bool,
    replies: Vec<Reply>,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.documents.is_empty() && !self.scan && !self.rebuild
    }
}

impl Thread {
    fn run(&mut self, received: &Receiver<Message>, watches: &SyncSender<Message>) {
        let mut watch = self.watch(watches);
        // who pushes documents tells of them
        let is_told = watch.is_some() || self.source.files.is_none();
        let mut scan_every = if is_told { WATCHED_SCAN } else { UNWATCHED_SCAN };
        let (mut next_scan, mut next_look) = (Instant::now(), Instant::now());
        let mut again: Option<(Instant, BTreeSet<VaultPath>)> = None;
        loop {
            let wakes = again.as_ref().map_or(next_scan, |(at, _)| next_scan.min(*at)).min(next_look);
            let Some(mut work) = self.wait(received, wakes) else { return };
            if watch.as_ref().is_some_and(Watch::take_lost) || Instant::now() >= next_scan {
                work.scan = true;
            }
            if work.scan || Instant::now() >= next_look {
                work.scan |= self.look_for_folders(&mut watch);
                next_look = Instant::now() + LOOK_FOR_FOLDERS;
            }
            if let Some(why) = watch.as_ref().and_then(Watch::blind).filter(|_| scan_every != UNWATCHED_SCAN) {
                self.scanned(why);
                scan_every = UNWATCHED_SCAN;
            }
            if again.as_ref().is_some_and(|(at, _)| Instant::now() >= *at) {
                work.places.extend(again.take().into_iter().flat_map(|(_, places)| places));
            }
            if work.is_empty() {
                continue;
            }
            if !work.again.is_empty() {
                let (_, places) = again.get_or_insert_with(|| (Instant::now() + AGAIN, BTreeSet::new()));
                places.append(&mut work.again);
            }
            let scans = work.scan;
            let done = self.work(&work);
            if matches!(done, Err(IngestError::Stopped)) {
                return;
            }
            if let Err(error) = &done {
                tracing::error!(%error, "the vault is not indexed, which is tried again");
                self.shared.tell().failure = Some(error.to_string());
                self.ingest = None;
                next_scan = Instant::now() + RETRY;
            } else if scans {
                next_scan = Instant::now() + scan_every;
            }
            // one may have gone, or come back, meanwhile: the next look finds that it is otherwise
            self.away.extend(self.ingest.as_mut().map(Ingest::take_away).unwrap_or_default());
            for reply in work.replies {
                // who asked may have gone
                reply.send(done.as_ref().copied().map_err(ToString::to_string)).ok();
            }
            if let (Some(watch), Some(ingest)) = (&mut watch, &mut self.ingest) {
                ingest.take_met().iter().for_each(|folder| watch.add(folder));
            }
            // where nothing came of it nobody has to look
            if self.ingest.as_mut().is_none_or(Ingest::take_changed) {
                (self.changed)();
            }
        }
    }

    fn watch(&self, places: &SyncSender<Message>) -> Option<Watch> {
        let trees = self.source.files.as_ref()?;
        let watch = match self.source.watch {
            WatchMode::Events => {
                Watch::start(trees.folders(), self.source.reads.watched(), places.clone(), Message::Changed)
            }
            WatchMode::Scan => Err("the settings say so".to_owned()),
        };
        match watch {
            Ok(watch) => {
                self.shared.tell().watch = WatchState::Events;
                Some(watch)
            }
            Err(why) => {
                self.scanned(&why);
                None
            }
        }
    }

    /// Whether a folder has gone since the last look, or is back, perhaps as another one.
    fn look_for_folders(&mut self, watch: &mut Option<Watch>) -> bool {
        let Some(trees) = &self.source.files else { return false };
        let depth = self.source.reads.watched();
        for folder in trees.reopen() {
            tracing::info!(folder = %folder.display(), "the folder is back and is looked at again");
            self.unwatched.insert(folder.to_owned());
        }
        let mut is_changed = !self.unwatched.is_empty();
        match watch {
            Some(watch) => self.unwatched.retain(|folder| !watch.again(folder, depth)),
            None => self.unwatched.clear(),
        }
        let away = trees.away();
        is_changed |= away != self.away;
        self.away = away;
        is_changed
    }

    fn scanned(&self, why: &str) {
        tracing::warn!(why, "the vault is scanned instead of watched");
        self.shared.tell().watch = WatchState::Scanning { why: why.to_owned(), every_s: UNWATCHED_SCAN.as_secs() };
    }

    /// What there is to do after changes have settled; none when the thread is to end.
    fn wait(&self, received: &Receiver<Message>, wakes: Instant) -> Option<Work> {
        let mut work = Work::default();
        let mut until = wakes;
        let mut first: Option<Instant> = None;
        loop {
            let message = match received.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => return Some(work),
                Err(RecvTimeoutError::Disconnected) => return None,
            };
            let now = Instant::now();
            match message {
                Message::Stop => return None,
                Message::Changed(paths) => {
                    self.note(paths, &mut work);
                    until = (now + QUIET).min(*first.get_or_insert(now) + SETTLE_MAX);
                }
                // who waits for an answer does not wait for others
                Message::Documents { ids, done } => {
                    work.documents.extend(ids);
                    work.replies.push(done);
                    until = now;
                }
                Message::Scan { done } => {
                    work.scan = true;
                    work.replies.push(done);
                    until = now;
                }
                Message::Rebuild { done } => {
                    work.rebuild = true;
                    work.replies.push(done);
                    until = now;
                }
            }
        }
    }

    fn note(&self, paths: Vec<PathBuf>, work: &mut Work) {
        let Some(trees) = &self.source.files else { return };
        for path in paths {
            for place in trees.places(&path) {
                if path.is_dir() {
                    work.again.insert(place.clone());
                }
                work.places.insert(place);
            }
        }
    }

    fn work(&mut self, work: &Work) -> Result<(), IngestError> {
        let mut scans = work.scan;
        let ingest = match &mut self.ingest {
            Some(ingest) => ingest,
            none => {
                let (ingest, shared) = Ingest::open(self.source.clone())?;
                self.shared.serve(shared.serving());
                scans = true;
                none.insert(ingest.showing(Arc::clone(&self.shared)).until(Arc::clone(&self.stopping)))
            }
        };
        if work.rebuild {
            return ingest.rebuild();
        }
        if scans {
            return ingest.scan();
        }
        ingest.examine_documents(&work.documents)?;
        ingest.examine(&work.places)
    }
}
