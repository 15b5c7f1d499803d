//! Which files of a vault are indexed, and which are private.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use regex::Regex;
use serde::Deserialize;

use crate::index::record::Privacy;
use crate::path::VaultPath;
use crate::root::{FileError, Root};

/// Our own list of what is left out, in the language of `.gitignore`.
pub const IGNORE_FILE: &str = ".rhizomeignore";
/// Where Obsidian keeps its own, under Files and links, Excluded files.
pub const OBSIDIAN_FILE: &str = ".obsidian/app.json";
/// Words in the names that synchronising programs give to the loser of a conflict: Syncthing, Dropbox and Nextcloud.
const CONFLICT_SIGNS: [&str; 3] = [".sync-conflict-", "conflicted copy", "(case conflict"];

/// What is left out and what is private.
#[derive(Debug)]
pub struct Rules {
    ignored: Gitignore,
    obsidian: Vec<Excluded>,
    private: Gitignore,
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

/// Why a file is no document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It or a folder of it begins with a dot, as `.obsidian` and `.trash` do; Obsidian does not show it either.
    Hidden,
    /// A rule leaves it out.
    Excluded,
    /// It is the other copy of a conflict.
    Conflict,
    /// It holds no text that is indexed; links may lead to it.
    Attachment,
}

impl Rules {
    /// Reads the rules of a vault; `private` are lines like those of `.gitignore`. What is wrong is said and left out.
    pub fn read(root: &Root, private: &[String]) -> Self {
        let mut faults = Vec::new();
        let ignore = text(root, IGNORE_FILE, &mut faults);
        let ignored = matcher(IGNORE_FILE, ignore.lines(), &mut faults);
        let private = matcher("the private folders", private.iter().map(String::as_str), &mut faults);
        let obsidian = obsidian(&text(root, OBSIDIAN_FILE, &mut faults), &mut faults);
        Self { ignored, obsidian, private, faults }
    }

    /// Whether a folder is not looked into.
    pub fn skips_folder(&self, folder: &VaultPath) -> bool {
        is_hidden(folder) || self.is_excluded(folder, FOLDER)
    }

    /// Why a file is no document; none where it is one.
    pub fn skips(&self, path: &VaultPath) -> Option<Why> {
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

    /// Who may see what lies there, whatever it says of itself.
    pub fn privacy(&self, path: &VaultPath) -> Privacy {
        let is_private = self.private.matched_path_or_any_parents(path.as_str(), false).is_ignore();
        if is_private { Privacy::Private } else { Privacy::Open }
    }

    /// Whether a file has these rules.
    pub fn is_rule(path: &str) -> bool {
        [IGNORE_FILE, OBSIDIAN_FILE].contains(&path)
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

fn text(root: &Root, file: &str, faults: &mut Vec<String>) -> String {
    let path = VaultPath::new(file).expect("it is a path");
    match root.read(&path) {
        Ok(read) => read.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
        Err(error @ (FileError::Outside | FileError::NotAFile | FileError::Large(_) | FileError::Unsteady)) => {
            faults.push(format!("{file} is not read: {error}"));
            String::new()
        }
        Err(FileError::Io(error)) => {
            faults.push(format!("{file} is not read: {error}"));
            String::new()
        }
    }
}

fn matcher<'a>(name: &str, lines: impl Iterator<Item = &'a str>, faults: &mut Vec<String>) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        if let Err(error) = builder.add_line(None, line) {
            faults.push(format!("a line of {name} is left out: {error}"));
        }
    }
    builder.build().unwrap_or_else(|error| {
        faults.push(format!("{name} is left out: {error}"));
        Gitignore::empty()
    })
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
