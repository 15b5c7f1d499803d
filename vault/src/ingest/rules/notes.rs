//! Which files of a vault are indexed: those that Obsidian shows and has the text of.

use ignore::gitignore::Gitignore;
use regex::Regex;
use serde::Deserialize;

use super::{IGNORE_FILE, PrivateRules, Why, matcher, text};
use crate::path::VaultPath;
use crate::root::trees::Trees;

/// Where Obsidian keeps its own, under Files and links, Excluded files.
const OBSIDIAN_FILE: &str = ".obsidian/app.json";
/// The files with rules.
pub(super) const FILES: [&str; 2] = [IGNORE_FILE, OBSIDIAN_FILE];
/// Words in the names that synchronising programs give to the loser of a conflict: Syncthing, Dropbox and Nextcloud.
const CONFLICT_SIGNS: [&str; 3] = [".sync-conflict-", "conflicted copy", "(case conflict"];

/// The rules.
#[derive(Debug)]
pub struct NoteRules {
    ignored: Gitignore,
    obsidian: Vec<Excluded>,
    pub(super) private: PrivateRules,
    /// What is wrong with the rules themselves.
    pub faults: Vec<String>,
}

/// One of Obsidian's excluded files.
#[derive(Debug)]
enum Excluded {
    /// All that begins so.
    Below(String),
    /// All that fits.
    Fits(Regex),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppSettings {
    #[serde(default)]
    user_ignore_filters: Vec<String>,
}

impl NoteRules {
    pub(super) fn read(trees: &Trees, private: &[String]) -> Self {
        let mut faults = Vec::new();
        let mut text = |file: &str| text(trees, &VaultPath::new(file).expect("it is a path"), &mut faults);
        let (ignore, obsidian_text) = (text(IGNORE_FILE), text(OBSIDIAN_FILE));
        let ignored = matcher(IGNORE_FILE, ignore.lines(), &mut faults);
        let private = PrivateRules::read(private, &mut faults);
        let obsidian = obsidian(&obsidian_text, &mut faults);
        Self { ignored, obsidian, private, faults }
    }

    pub(super) fn skips_folder(&self, folder: &VaultPath) -> bool {
        is_hidden(folder) || self.is_excluded(folder, FOLDER)
    }

    pub(super) fn skips(&self, path: &VaultPath) -> Option<Why> {
        if is_hidden(path) {
            return Some(Why::Hidden);
        }
        if self.is_excluded(path, FILE) {
            return Some(Why::Excluded);
        }
        let is_document = path.is_note() || path.is_canvas() || path.extension().eq_ignore_ascii_case("base");
        if !is_document {
            return Some(Why::Attachment);
        }
        let name = path.name();
        CONFLICT_SIGNS.iter().any(|sign| name.contains(sign)).then_some(Why::Conflict)
    }

    fn is_excluded(&self, path: &VaultPath, kind: Kind) -> bool {
        let by_obsidian = self.obsidian.iter().any(|excluded| match excluded {
            Excluded::Below(begin) => {
                path.as_str().starts_with(begin)
                    || begin.strip_suffix('/').is_some_and(|folder| path.as_str() == folder)
            }
            Excluded::Fits(regex) => regex.is_match(path.as_str()),
        });
        by_obsidian || self.ignored.matched_path_or_any_parents(path.as_str(), kind == FOLDER).is_ignore()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}
const FILE: Kind = Kind::File;
const FOLDER: Kind = Kind::Folder;

fn is_hidden(path: &VaultPath) -> bool {
    path.as_str().split('/').any(|part| part.starts_with('.'))
}

fn obsidian(text: &str, faults: &mut Vec<String>) -> Vec<Excluded> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let settings: AppSettings = match serde_json::from_str(text) {
        Ok(settings) => settings,
        Err(error) => {
            faults.push(format!("{OBSIDIAN_FILE} is not read: {error}"));
            return Vec::new();
        }
    };
    let mut excluded = Vec::new();
    for filter in settings.user_ignore_filters {
        let pattern =
            filter.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')).filter(|inner| !inner.is_empty());
        match pattern.map(Regex::new) {
            None => excluded.push(Excluded::Below(filter)),
            Some(Ok(regex)) => excluded.push(Excluded::Fits(regex)),
            Some(Err(_)) => faults.push(format!("{OBSIDIAN_FILE}: {filter} is no regular expression and is left out")),
        }
    }
    excluded
}
