//! A vault in a folder of its own, with a thread that indexes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use vault::documents::{Documents, PUSHED};
use vault::index::record::Privacy;
use vault::ingest::engine::{Reads, Source};
use vault::ingest::shared::{Phase, Serving, Status};
use vault::ingest::watch::WatchMode;
use vault::ingest::worker::Worker;
use vault::root::Root;
use vault::root::trees::Trees;
use vault::search::{self, Answer, Matching, Mode, Request, SearchError};

/// Why there is no meaning in most tests.
pub const NO_EMBEDDER: &str = "no embedder is configured";
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Vault {
    folder: TempDir,
    worker: Option<Worker>,
    changes: Option<Receiver<()>>,
    pub private: Vec<String>,
    pub watch: WatchMode,
}

impl Vault {
    /// An empty vault that nothing looks at yet.
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("vault")).unwrap();
        Self { folder, worker: None, changes: None, private: Vec::new(), watch: WatchMode::Events }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    pub fn index(&self) -> PathBuf {
        self.folder.path().join("index")
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn source(&self) -> Source {
        source(self.folder.path(), self.private.clone(), self.watch)
    }

    /// Begins to index, and waits until everything is.
    pub fn start(&mut self) {
        self.start_with(self.source());
    }

    /// As [`Self::start`], of another source.
    pub fn start_with(&mut self, source: Source) {
        let (sender, changes) = channel();
        let changed = move || {
            // the test may have seen enough
            sender.send(()).ok();
        };
        let worker = Worker::start(source, changed).unwrap();
        (self.worker, self.changes) = (Some(worker), Some(changes));
        self.until("the index is ready", |vault| vault.status().phase == Phase::Ready);
    }

    /// What was written just before it was read may change without another time, so it is read again for a moment.
    pub fn restart_until_nothing_is_read(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.status().bytes_read > 0 {
            assert!(Instant::now() < end, "each start reads {} bytes", self.status().bytes_read);
            self.stop();
            self.start();
        }
    }

    /// Begins to index, and ends as soon as it has read something; how far it came.
    pub fn start_and_stop(&self) -> Status {
        let worker = Worker::start(self.source(), || ()).unwrap();
        let shared = Arc::clone(worker.shared());
        let end = Instant::now() + PATIENCE;
        while shared.status().bytes_read == 0 {
            assert!(Instant::now() < end, "nothing was read");
            // the pause of a poll
            std::thread::park_timeout(Duration::from_millis(1));
        }
        drop(worker);
        shared.status()
    }

    pub fn stop(&mut self) {
        self.worker = None;
    }

    pub fn worker(&self) -> &Worker {
        self.worker.as_ref().expect("it was started")
    }

    pub fn serving(&self) -> Arc<Serving> {
        self.worker().shared().serving()
    }

    pub fn status(&self) -> Status {
        self.worker().shared().status()
    }

    /// Waits until something is so, looking after each change of the index.
    pub fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            let left = end.saturating_duration_since(Instant::now());
            let changed = self.changes.as_ref().unwrap().recv_timeout(left.min(Duration::from_millis(100)));
            assert!(changed.is_ok() || !left.is_zero(), "it never came that {what}: {:#?}", self.status());
        }
    }

    pub fn search(&self, query: &str) -> Result<Answer, SearchError> {
        let request =
            Request { query, mode: Mode::Keyword, matching: Matching::Any, limit: 50, privacy: Privacy::Open };
        search::search(&self.serving(), Err(NO_EMBEDDER.to_owned()), request)
    }

    /// The paths that a query finds, the best first.
    pub fn found(&self, query: &str) -> Vec<String> {
        let answer = self.search(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        answer.hits.into_iter().map(|hit| hit.path).collect()
    }

    /// Waits until a query finds just these.
    pub fn until_found(&self, query: &str, paths: &[&str]) {
        let sorted = |mut paths: Vec<String>| {
            paths.sort();
            paths
        };
        self.until(&format!("{query} finds {paths:?}"), |vault| sorted(vault.found(query)) == paths);
    }
}

/// What is indexed of a folder with a `vault`, in `index`, with `documents.redb`.
pub fn source(folder: &Path, private: Vec<String>, watch: WatchMode) -> Source {
    Source {
        files: Some(Arc::new(Trees::alone(Arc::new(Root::open(&folder.join("vault")).unwrap())))),
        reads: Reads::Notes,
        faults: Vec::new(),
        documents: Some(Arc::new(Documents::open(&folder.join("documents.redb"), PUSHED).unwrap())),
        private,
        folder: folder.join("index"),
        watch,
        now_ms,
    }
}

#[expect(clippy::disallowed_methods, reason = "it is shown, and compared with the times of files")]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}
