//! Which file a link's path names.

use std::collections::{BTreeMap, BTreeSet};

use crate::note::{Link, LinkStyle};
use crate::path::{VaultPath, key};

/// The names of all files, as names are compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// By the name with its extension.
    files: BTreeMap<String, BTreeSet<VaultPath>>,
    aliases: BTreeMap<String, BTreeSet<VaultPath>>,
}

impl Names {
    pub(crate) fn insert(&mut self, path: &VaultPath, aliases: &[String]) {
        self.files.entry(key(path.name())).or_default().insert(path.clone());
        for alias in aliases {
            self.aliases.entry(key(alias)).or_default().insert(path.clone());
        }
    }

    pub(crate) fn remove(&mut self, path: &VaultPath, aliases: &[String]) {
        forget(&mut self.files, &key(path.name()), path);
        for alias in aliases {
            forget(&mut self.aliases, &key(alias), path);
        }
    }

    /// The file that a link in the file at `from` names.
    pub(crate) fn find(&self, from: &VaultPath, link: &Link) -> Option<VaultPath> {
        match link.style {
            LinkStyle::External => None,
            LinkStyle::Canvas => self.exact(&VaultPath::new(&link.path).ok()?),
            LinkStyle::Wiki | LinkStyle::Markdown | LinkStyle::MarkdownAngled | LinkStyle::Definition => {
                self.named(from, &link.path)
            }
        }
    }

    fn named(&self, from: &VaultPath, link: &str) -> Option<VaultPath> {
        if link.is_empty() {
            return Some(from.clone());
        }
        if let Some(path) = link.strip_prefix('/') {
            return self.exact(&VaultPath::new(path).ok()?);
        }
        if link.starts_with("./") || link.starts_with("../") {
            let path = format!("{}/{link}", from.folder());
            return self.exact(&VaultPath::new(path.trim_start_matches('/')).ok()?);
        }
        self.by_end(from, link).or_else(|| self.by_alias(link))
    }

    /// Whether a file is at this path, in any case and form.
    pub(crate) fn has(&self, path: &VaultPath) -> bool {
        let wanted = path.key();
        self.files.get(&key(path.name())).into_iter().flatten().any(|file| file.key() == wanted)
    }

    /// The file at this very path, a note without its extension too.
    fn exact(&self, path: &VaultPath) -> Option<VaultPath> {
        let wanted = path.key();
        for wanted in [wanted.clone(), wanted + ".md"] {
            let name = wanted.rsplit('/').next().unwrap_or_default();
            let found = self.files.get(name).into_iter().flatten().find(|file| file.key() == wanted);
            if let Some(found) = found {
                return Some(found.clone());
            }
        }
        None
    }

    fn by_end(&self, from: &VaultPath, link: &str) -> Option<VaultPath> {
        let link = key(link.trim_end_matches('/'));
        for wanted in [link.clone(), link + ".md"] {
            let name = wanted.rsplit('/').next().unwrap_or_default();
            let Some(files) = self.files.get(name) else { continue };
            let below = format!("/{wanted}");
            let folder = key(from.folder());
            let fits = |file: &&VaultPath| {
                let file = file.key();
                file == wanted || file.ends_with(&below)
            };
            let best = files.iter().filter(fits).min_by_key(|file| {
                let key = file.key();
                let near = key.strip_prefix(&folder).is_some_and(|rest| folder.is_empty() || rest.starts_with('/'));
                (key != wanted, !near, key.chars().count(), key)
            });
            if let Some(best) = best {
                return Some(best.clone());
            }
        }
        None
    }

    fn by_alias(&self, link: &str) -> Option<VaultPath> {
        let notes = self.aliases.get(&key(link))?;
        notes.first().filter(|_| notes.len() == 1).cloned()
    }
}

fn forget(names: &mut BTreeMap<String, BTreeSet<VaultPath>>, name: &str, path: &VaultPath) {
    if let Some(paths) = names.get_mut(name) {
        paths.remove(path);
        if paths.is_empty() {
            names.remove(name);
        }
    }
}
