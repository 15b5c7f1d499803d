//! Where files change, as the system tells it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, OnceLock};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Config, Error, ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher as _};
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

/// How far below a folder is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// All.
    All,
    /// What lies in it; others are added.
    Itself,
}

impl Depth {
    fn mode(self) -> RecursiveMode {
        match self {
            Self::All => RecursiveMode::Recursive,
            Self::Itself => RecursiveMode::NonRecursive,
        }
    }
}

/// Watches folders for as long as it is held.
pub struct Watch {
    watcher: RecommendedWatcher,
    lost: Arc<AtomicBool>,
    blind: Arc<OnceLock<String>>,
}

impl Watch {
    /// Watches folders, and all below them where `depth` is that. Each place where something may have changed goes to `places`; where that is full,
    /// or the system lost some, [`Self::take_lost`] says so.
    ///
    /// # Errors
    /// Why it cannot be watched, and what can be done.
    pub fn start<'a, M>(
        folders: impl Iterator<Item = &'a Path>,
        depth: Depth,
        places: SyncSender<M>,
        message: fn(Vec<PathBuf>) -> M,
    ) -> Result<Self, String>
    where
        M: Send + 'static,
    {
        let lost = Arc::new(AtomicBool::new(false));
        let blind = Arc::new(OnceLock::new());
        let (loses, blinds) = (Arc::clone(&lost), Arc::clone(&blind));
        let handle = move |event: notify::Result<Event>| {
            let paths = match event {
                Ok(event) if event.need_rescan() => None,
                Ok(event) if !changes(event.kind) => return,
                Ok(event) => Some(event.paths),
                // a folder that appeared is not watched, nor will it be
                Err(error) => {
                    blinds.get_or_init(|| told(&error));
                    None
                }
            };
            if paths.is_none() {
                loses.store(true, Ordering::Release);
            }
            // one that is full is read soon, and then asks what was lost
            if let Err(TrySendError::Full(_)) = places.try_send(message(paths.unwrap_or_default())) {
                loses.store(true, Ordering::Release);
            }
        };
        // a link may lead to anything: what it leads to is watched where it lies, or looked at by a scan
        let settings = Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(handle, settings).map_err(|error| told(&error))?;
        for folder in folders {
            watcher.watch(folder, depth.mode()).map_err(|error| told(&error))?;
        }
        Ok(Self { watcher, lost, blind })
    }

    /// Watches one more folder, by itself. One that is watched already stays so.
    pub fn add(&mut self, folder: &Path) {
        match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            Err(error) if has_gone(&error) => {}
            Err(error) => drop(self.blind.set(told(&error))),
        }
    }

    /// Watches a folder that has come in the place of one that is watched no more. False where something in it went
    /// meanwhile, so that not all of it is watched.
    pub fn again(&mut self, folder: &Path, depth: Depth) -> bool {
        // of the one that has gone nothing may be left to take back
        self.watcher.unwatch(folder).ok();
        match self.watcher.watch(folder, depth.mode()) {
            Ok(()) => true,
            Err(error) if has_gone(&error) => false,
            Err(error) => {
                self.blind.set(told(&error)).ok();
                true
            }
        }
    }

    /// Whether changes were lost since this was asked last.
    pub fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// Why a part of the folders is not watched; none while all of it is.
    pub fn blind(&self) -> Option<&str> {
        self.blind.get().map(String::as_str)
    }
}

fn changes(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn has_gone(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
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
