//! Which files of working trees are indexed: those that git does not ignore and that people write.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::Gitignore;

use super::{IGNORE_FILE, PrivateRules, Why, matcher, text};
use crate::code::Language;
use crate::path::VaultPath;
use crate::root::trees::Trees;

/// The names of files with rules, the last of which counts most.
pub(super) const FILES: [&str; 2] = [".gitignore", IGNORE_FILE];
/// What git leaves out besides, in a tree whose `.git` is a folder.
const EXCLUDE_FILE: &str = ".git/info/exclude";
/// What the folder of a repository has.
const GIT: &str = ".git";
/// The one hidden folder that people write in.
const SHOWN: &str = ".github";

/// The rules, each folder's read when it is met first.
#[derive(Debug)]
pub struct CodeRules {
    trees: Arc<Trees>,
    pub(super) private: PrivateRules,
    /// What is wrong with what the configuration says.
    pub faults: Vec<String>,
    /// The rules of the folders above each tree that are in the same repository, the nearest first, each with the tree's path
    /// from there.
    above: BTreeMap<String, Vec<(String, Gitignore)>>,
    folders: Mutex<HashMap<String, Arc<Vec<Gitignore>>>>,
}

impl CodeRules {
    pub(super) fn new(trees: Arc<Trees>, private: &[String]) -> Self {
        let mut faults = Vec::new();
        let private = PrivateRules::read(private, &mut faults);
        let above = trees.named_folders().map(|(name, folder)| (name.to_owned(), above(folder, &mut faults))).collect();
        Self { trees, private, faults, above, folders: Mutex::default() }
    }

    pub(super) fn skips_folder(&self, folder: &VaultPath) -> bool {
        is_hidden(folder) || self.is_ignored(folder, true)
    }

    pub(super) fn skips(&self, path: &VaultPath) -> Option<Why> {
        if is_hidden(path) {
            return Some(Why::Hidden);
        }
        // a link leads to nothing that is indexed, so a file that is none has no use at all
        let is_written = path.is_note() || Language::of(path.as_str()).is_some();
        if !is_written || self.is_ignored(path, false) {
            return Some(Why::Excluded);
        }
        None
    }

    /// Whether git ignores it, or a folder that it is in.
    fn is_ignored(&self, path: &VaultPath, is_folder: bool) -> bool {
        let whole = path.as_str();
        let ends = whole.match_indices('/').map(|(at, _)| (at, true)).chain([(whole.len(), is_folder)]);
        ends.into_iter().any(|(end, is_folder)| self.is_ignored_itself(&whole[..end], is_folder))
    }

    /// The rules of the deepest folder go first (gitignore(5)).
    fn is_ignored_itself(&self, path: &str, is_folder: bool) -> bool {
        let above = path.match_indices('/').map(|(at, _)| at);
        let folders: Vec<usize> = above.collect();
        for end in folders.into_iter().rev() {
            let (folder, inner) = (&path[..end], &path[end + 1..]);
            for rules in self.of_folder(folder).iter().rev() {
                match rules.matched(inner, is_folder) {
                    Match::Ignore(_) => return true,
                    Match::Whitelist(_) => return false,
                    Match::None => {}
                }
            }
        }
        let (tree, inner) = path.split_once('/').unwrap_or((path, ""));
        for (from_there, rules) in self.above.get(tree).into_iter().flatten() {
            match rules.matched(format!("{from_there}/{inner}").trim_end_matches('/'), is_folder) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }

    /// Whether a file has rules that count: those in a folder that is left out do not.
    pub(super) fn is_rule(&self, path: &VaultPath) -> bool {
        let is_exclude = path.as_str().split_once('/').is_some_and(|(_, inner)| inner == EXCLUDE_FILE);
        let counts = || VaultPath::new(path.folder()).is_ok_and(|folder| !self.skips_folder(&folder));
        is_exclude || FILES.contains(&path.name()) && counts()
    }

    fn of_folder(&self, folder: &str) -> Arc<Vec<Gitignore>> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rules) = folders.get(folder) {
            return Arc::clone(rules);
        }
        let files = FILES.iter().copied();
        // only a tree's own folder has `.git`
        let files = (!folder.contains('/')).then_some(EXCLUDE_FILE).into_iter().chain(files);
        let mut faults = Vec::new();
        let mut rules = Vec::new();
        for file in files {
            let Ok(path) = VaultPath::new(&format!("{folder}/{file}")) else { continue };
            let text = text(&self.trees, &path, &mut faults);
            if !text.is_empty() {
                rules.push(matcher(path.as_str(), text.lines(), &mut faults));
            }
        }
        for fault in faults {
            tracing::warn!(fault, "rules of a working tree");
        }
        let rules = Arc::new(rules);
        folders.insert(folder.to_owned(), Arc::clone(&rules));
        rules
    }
}

/// The tree itself was named by whoever configured it.
fn is_hidden(path: &VaultPath) -> bool {
    path.as_str().split('/').skip(1).any(|part| part.starts_with('.') && part != SHOWN)
}

/// The rules above a folder, up to the one that has `.git`; none where there is no such folder, or this is it.
fn above(folder: &Path, faults: &mut Vec<String>) -> Vec<(String, Gitignore)> {
    let mut rules = Vec::new();
    if folder.join(GIT).exists() {
        return rules;
    }
    for above in folder.ancestors().skip(1) {
        let from_there = folder.strip_prefix(above).unwrap_or(folder).to_string_lossy().into_owned();
        let file = above.join(FILES[0]);
        if let Ok(text) = fs::read_to_string(&file) {
            rules.push((from_there, matcher(&file.display().to_string(), text.lines(), faults)));
        }
        if above.join(GIT).exists() {
            return rules;
        }
    }
    Vec::new()
}
