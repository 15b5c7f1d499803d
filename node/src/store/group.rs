//! One sync for all writers that wait: each commits in memory, and whoever comes first syncs for those before it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who has committed, and up to whom the disk has it.
#[derive(Debug, Default)]
pub struct Group {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    committed: u64,
    synced: u64,
    syncing: Syncing,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Syncing {
    #[default]
    Nobody,
    Somebody,
}

impl Group {
    /// Returns once the commit made before this call is on disk. `sync` writes out all commits made before it.
    pub fn wait<E>(&self, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mut progress = self.lock();
        progress.committed += 1;
        let mine = progress.committed;
        while progress.synced < mine && progress.syncing == Syncing::Somebody {
            progress = self.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        if progress.synced >= mine {
            return Ok(());
        }
        let covered = progress.committed;
        progress.syncing = Syncing::Somebody;
        drop(progress);
        let leader = Leader(self);
        let result = sync();
        if result.is_ok() {
            let mut progress = self.lock();
            progress.synced = progress.synced.max(covered);
        }
        drop(leader);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the lead up, also when the sync panics.
struct Leader<'a>(&'a Group);

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.0.lock().syncing = Syncing::Nobody;
        self.0.changed.notify_all();
    }
}
