//! Where files change, as the system tells it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use serde::{Deserialize, Serialize};

/// How changes are to be noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMode {
    /// As the system tells of them, or by looking where it does not.
    #[default]
    Events,
    /// By looking: on a network's file system nobody tells of what others write.
    Scan,
}

/// Watches a folder for as long as it is held.
pub struct Watch {
    _watcher: RecommendedWatcher,
    lost: Arc<AtomicBool>,
}

impl Watch {
    /// Watches a folder and all below it. Each place where something may have changed goes to `places`; where that is full,
    /// or the system lost some, [`Self::take_lost`] says so.
    ///
    /// # Errors
    /// Why it cannot be watched, and what can be done.
    pub fn start<M>(folder: &Path, places: SyncSender<M>, message: fn(Vec<PathBuf>) -> M) -> Result<Self, String>
    where
        M: Send + 'static,
    {
        let lost = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&lost);
        let handle = move |event: notify::Result<Event>| {
            let paths = match event {
                Ok(event) if event.need_rescan() => None,
                Ok(event) if !changes(event.kind) => return,
                Ok(event) => Some(event.paths),
                Err(_) => None,
            };
            if paths.is_none() {
                loses.store(true, Ordering::Release);
            }
            // one that is full is read soon, and then asks what was lost
            if let Err(TrySendError::Full(_)) = places.try_send(message(paths.unwrap_or_default())) {
                loses.store(true, Ordering::Release);
            }
        };
        let mut watcher = notify::recommended_watcher(handle).map_err(|error| told(&error))?;
        watcher.watch(folder, RecursiveMode::Recursive).map_err(|error| told(&error))?;
        Ok(Self { _watcher: watcher, lost })
    }

    /// Whether changes were lost since this was asked last.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }
}

fn changes(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn told(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the system watches no more folders; raise fs.inotify.max_user_watches to have changes told at once"
                .to_owned()
        }
        _ => format!("the system does not watch it: {error}"),
    }
}
