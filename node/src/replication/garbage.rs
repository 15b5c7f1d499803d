//! Keeps the files of a repository small and in order: git's own collection, run by us, and locks that the dead left.
//!
//! Radicle collects only after a fetch, so a node that only writes never would, and each signature stores the whole list
//! of references again. It must not know what the objects are.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use cobs::adapter::profile::NodeHome;
use cobs::id::RepoId;
use radicle::prelude::ReadStorage as _;
use rustix::process::{Pid, Signal, kill_process_group, setpriority_pgrp};
use thiserror::Error;

use super::{Replication, git};

/// What nothing refers to goes when it is older than this: younger, a writer may be about to refer to it.
const PRUNE: &str = "--prune=1.hour.ago";
/// The lowest priority: whoever else wants a processor gets it.
const NICENESS: i32 = 19;
/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to end by itself once its time is over; git then removes its unfinished files.
const GRACE: Duration = Duration::from_secs(5);
/// The age from which a lock of a reference is nobody's any more: a living one lasts milliseconds.
const LOCK_STALE: Duration = Duration::from_secs(5);
/// Directories of loose objects that git spreads them over; one is counted for all.
const FANOUT: usize = 256;
const SAMPLE: &str = "objects/17";

/// What a collection did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collected {
    /// Bytes of the repository's files before.
    pub before: u64,
    /// And after.
    pub after: u64,
}

/// Why a repository was not collected. What was begun is no harm: git leaves old files until new ones are whole.
#[derive(Debug, Error)]
pub enum GarbageError {
    /// Another process collects it.
    #[error("another process collects it already")]
    Busy,
    /// It took too long, or the daemon ends.
    #[error("stopped after {} ms", .0.as_millis())]
    Stopped(Duration),
    /// It failed.
    #[error("git gc failed: {0}")]
    Failed(String),
    /// It cannot be run.
    #[error("cannot run git gc")]
    Run(#[source] io::Error),
}

/// What a repository's files are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Files {
    /// About how many objects stand alone.
    pub loose: usize,
    /// When they were collected last, by whomever.
    pub collected: Option<SystemTime>,
}

impl Replication {
    /// What the files of a repository are like.
    pub fn files(&self, rid: RepoId) -> Files {
        let directory = self.home().storage.path_of(&rid);
        // git writes this list of packs at the end of each collection
        let collected = fs::metadata(directory.join("objects/info/packs")).and_then(|meta| meta.modified()).ok();
        Files { loose: loose(&directory), collected }
    }

    /// Collects a repository, alone and at the lowest priority, until `stop`, which is told for how long it has taken,
    /// says that it is enough. Blocks.
    ///
    /// # Errors
    /// When another process does it, it fails, or it was stopped.
    pub fn collect(&self, rid: RepoId, stop: impl Fn(Duration) -> bool) -> Result<Collected, GarbageError> {
        collect(&self.home().storage.path_of(&rid), stop)
    }
}

/// Removes what killed processes left locked in any repository of a home. Blocks, for some seconds where it is fresh.
pub fn unlock(home: &NodeHome) {
    for entry in fs::read_dir(home.storage.path()).into_iter().flatten().flatten() {
        remove_stale_locks(&entry.path());
    }
}

/// See [`Replication::collect`].
fn collect(directory: &Path, stop: impl Fn(Duration) -> bool) -> Result<Collected, GarbageError> {
    let before = bytes(directory);
    let started = Instant::now();
    let mut command = git::command(directory);
    // all on disk before the old files go; references stay loose; one thread, since nobody waits; and a wide window, since
    // each signature lists nearly the same references
    command.args([
        "-c",
        "core.fsync=all",
        "-c",
        "gc.packRefs=false",
        "-c",
        "pack.threads=1",
        "-c",
        "pack.window=50",
        "gc",
        "--quiet",
        PRUNE,
    ]);
    command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(GarbageError::Run)?;
    let group = Pid::from_child(&child);
    // an old kernel or a strict sandbox may refuse; then it is only less polite
    let _ = setpriority_pgrp(Some(group), NICENESS);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(GarbageError::Run)? {
            break status;
        }
        if stop(started.elapsed()) {
            end(&mut child, group);
            remove_stale_locks(directory);
            return Err(GarbageError::Stopped(started.elapsed()));
        }
        std::thread::sleep(LOOK);
    };
    if status.success() {
        return Ok(Collected { before, after: bytes(directory) });
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // what cannot be read is left out of the message
        let _ = io::Read::read_to_string(&mut stderr, &mut said);
    }
    if said.contains("gc is already running") {
        return Err(GarbageError::Busy);
    }
    remove_stale_locks(directory);
    Err(GarbageError::Failed(said.trim().replace('\n', "; ")))
}

fn end(child: &mut Child, group: Pid) {
    let asked = Instant::now();
    // a group that is gone is what is wanted
    let _ = kill_process_group(group, Signal::TERM);
    while asked.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(LOOK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// About how many loose objects the repository at `directory` has.
fn loose(directory: &Path) -> usize {
    fs::read_dir(directory.join(SAMPLE)).map_or(0, |entries| entries.count() * FANOUT)
}

/// Bytes of all files below `directory`, as the disk counts them.
fn bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Removes the locks of references that a killed process left: each would stop every write of its reference for ever.
/// Waits until those that are there are old enough to be nobody's. How many. Blocks.
fn remove_stale_locks(directory: &Path) -> usize {
    let found = locks(directory);
    if found.is_empty() {
        return 0;
    }
    let begun = SystemTime::now();
    let mut removed = 0;
    for lock in found {
        let Ok(made) = fs::metadata(&lock).and_then(|meta| meta.modified()) else { continue };
        let age = begun.duration_since(made).unwrap_or_default();
        std::thread::sleep(LOCK_STALE.saturating_sub(age).saturating_sub(begun.elapsed().unwrap_or_default()));
        // another lock of this name is somebody's
        let is_same = fs::metadata(&lock).and_then(|meta| meta.modified()).is_ok_and(|now| now == made);
        removed += usize::from(is_same && fs::remove_file(&lock).is_ok());
    }
    if removed > 0 {
        tracing::warn!(repository = %directory.display(), removed, "stale locks of references removed");
    }
    removed
}

/// The locks of the references of a repository.
fn locks(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.join("refs")];
    let packed = directory.join("packed-refs.lock");
    found.extend(packed.exists().then_some(packed));
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lock") {
                found.push(path);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use cobs::adapter::ledger::{self, NewLedger};
    use cobs::adapter::open::OpenLedger;
    use cobs::adapter::writer::{Draft, Writer, WriterConfig, WriterHandle};
    use cobs::id::JobId;
    use cobs::job::action::Create;
    use cobs::job::spec::{Mode, Spec};

    use super::*;

    /// A home with a ledger, and jobs that are written one by one: each stores the whole list of references.
    struct Written {
        _directory: tempfile::TempDir,
        home: NodeHome,
        ledger: RepoId,
        writer: WriterHandle,
        jobs: Vec<JobId>,
        tried: usize,
    }

    impl Written {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let unlock = cobs::adapter::profile::Unlock { environment: None, prompt: &|| None };
            let profile = super::super::tests::new_profile(1);
            let (home, _) = NodeHome::open_or_create(&directory.path().join("home"), profile, &unlock).unwrap();
            let ledger = ledger::create(&home, NewLedger { name: "ledger", description: "x" }).unwrap();
            let (storage, signer) = (home.storage.clone(), home.signer.clone());
            let config = WriterConfig {
                storage,
                signer,
                home: home.home.path().to_owned(),
                passed: cobs::adapter::writer::nobody,
            };
            let writer = Writer::spawn(config, Box::new(|_, _| {}), Box::new(|_| {})).unwrap();
            Self { _directory: directory, home, ledger, writer, jobs: Vec::new(), tried: 0 }
        }

        fn path(&self) -> PathBuf {
            self.home.storage.path_of(&self.ledger)
        }

        fn write(&mut self, jobs: usize) {
            for _ in 0..jobs {
                assert!(self.try_write());
            }
        }

        /// Whether one more job was acknowledged.
        fn try_write(&mut self) -> bool {
            self.tried += 1;
            let nodes = vec![self.home.public_key];
            let create = Create {
                version: cobs::JOB_VERSION,
                spec: Spec::command(vec!["true".into()]),
                nonce: format!("{:032x}", self.tried),
                queue: "default".into(),
                mode: Mode::Exclusive,
                arbiters: nodes.clone(),
                workers: nodes,
                grant: None,
            };
            let draft = Draft::Create { ledger: self.ledger, create: Box::new(create) };
            let written = self.writer.write(draft).ok();
            self.jobs.extend(written.iter().filter_map(|written| written.operation()).map(|operation| operation.job));
            written.is_some()
        }

        #[track_caller]
        fn all_there(&self) {
            let open = OpenLedger::open(&self.home, self.ledger).unwrap();
            for job in &self.jobs {
                open.read(*job).unwrap();
            }
            git::run(&self.path(), ["fsck", "--connectivity-only", "--no-dangling"]).unwrap();
        }
    }

    /// A repository that was written to without batches becomes smaller, and everything in it reads as before.
    #[test]
    fn a_collection_makes_room_and_loses_nothing() {
        let mut written = Written::new();
        written.write(120);
        assert!(loose(&written.path()) > 0);
        let collected = collect(&written.path(), |_| false).unwrap();
        assert!(collected.before > 4 * collected.after, "{collected:?}");
        assert_eq!(loose(&written.path()), 0);
        written.all_there();
        written.write(1);
        written.all_there();
    }

    /// Killed at any moment, beside a writer that goes on, it loses nothing; locks that it leaves are removed.
    #[test]
    fn a_killed_collection_loses_nothing() {
        let mut written = Written::new();
        written.write(60);
        let path = written.path();
        let mut stopped = 0;
        for limit_ms in [0, 10, 20, 30, 40, 60, 80, 100, 150, 200, 60_000] {
            std::thread::scope(|scope| {
                let collecting = scope.spawn(|| collect_or_kill(&path, Duration::from_millis(limit_ms)));
                while !collecting.is_finished() {
                    // a lock that the dead leaves may refuse one, which then must not count
                    written.try_write();
                }
                stopped += usize::from(!collecting.join().unwrap());
            });
            remove_stale_locks(&path);
            written.write(1);
            written.all_there();
        }
        assert!(stopped > 3, "it was killed {stopped} times");
    }

    /// As [`collect`], killed without a word after `limit`. Whether it came to its end.
    fn collect_or_kill(path: &Path, limit: Duration) -> bool {
        let mut command = git::command(path);
        command.args(["gc", "--quiet", PRUNE]).stderr(std::process::Stdio::null()).process_group(0);
        let mut child = command.spawn().unwrap();
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            if started.elapsed() >= limit {
                kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
                child.wait().unwrap();
                return false;
            }
            std::thread::yield_now();
        }
    }

    /// A stopped collection ends soon, and with it everything that it started.
    #[test]
    fn a_collection_stops_when_it_is_told() {
        let mut written = Written::new();
        written.write(5);
        let stopped = collect(&written.path(), |_| true);
        assert!(matches!(stopped, Err(GarbageError::Stopped(_))), "{stopped:?}");
        collect(&written.path(), |_| false).unwrap();
        written.all_there();
    }

    /// Locks that nobody holds any more go, and references can be written again; other files stay.
    #[test]
    fn a_stale_lock_is_removed() {
        let mut written = Written::new();
        written.write(1);
        let path = written.path();
        assert_eq!(remove_stale_locks(&path), 0);
        let namespace = path.join("refs/namespaces").join(written.home.public_key.to_string());
        let left = [namespace.join("refs/rad/sigrefs.lock"), path.join("packed-refs.lock")];
        for lock in &left {
            fs::write(lock, "").unwrap();
        }
        assert!(!written.try_write());
        assert_eq!(remove_stale_locks(&path), 2);
        written.write(1);
        written.all_there();
    }
}
