//! Folders that are indexed together: a vault alone, or working trees, each under a name of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Child, ChildKind, FileError, Root};
use crate::index::record::Stat;
use crate::path::VaultPath;

/// The folders.
#[derive(Clone, Debug)]
pub struct Trees(Vec<(Option<String>, Arc<Root>)>);

impl Trees {
    /// One, whose files are named by their paths in it.
    pub fn alone(root: Arc<Root>) -> Self {
        Self(vec![(None, root)])
    }

    /// Several, whose files are named by their paths below the name of their folder; a second one of a name gets a number.
    pub fn named(roots: impl IntoIterator<Item = Arc<Root>>) -> Self {
        let mut taken = BTreeSet::new();
        let mut trees = Vec::new();
        for root in roots {
            let folder = root.folder().file_name().map_or_else(|| "root".into(), |name| name.to_string_lossy());
            let named = |number: usize| if number == 1 { folder.to_string() } else { format!("{folder}-{number}") };
            let name = (1..).map(named).find(|name| !taken.contains(name)).expect("numbers do not end");
            taken.insert(name.clone());
            trees.push((Some(name), root));
        }
        Self(trees)
    }

    /// Where they are.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(_, root)| root.folder())
    }

    /// Those that are no longer the folder that was opened.
    pub fn away(&self) -> BTreeSet<PathBuf> {
        self.0.iter().filter(|(_, root)| !root.is_there()).map(|(_, root)| root.folder().to_owned()).collect()
    }

    /// As [`Root::reopen`] of each; where those are that were taken anew.
    pub fn reopen(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter(|(_, root)| root.reopen()).map(|(_, root)| root.folder())
    }

    /// The names of a file of the system: several where one folder is in another, none where it is in no folder or has a name
    /// that none can have.
    pub fn places(&self, file: &Path) -> impl Iterator<Item = VaultPath> {
        self.0.iter().filter_map(move |(name, root)| {
            let path = file.strip_prefix(root.folder()).ok()?.to_str()?;
            VaultPath::new(&name.as_ref().map_or_else(|| path.to_owned(), |name| format!("{name}/{path}"))).ok()
        })
    }

    /// Where a folder is on disk; none of the names alone.
    pub fn on_disk(&self, folder: &str) -> Option<PathBuf> {
        self.0.iter().find_map(|(name, root)| {
            let Some(name) = name else { return Some(root.folder().join(folder)) };
            let inner = folder.strip_prefix(name.as_str())?;
            let is_within = inner.is_empty() || inner.starts_with('/');
            is_within.then(|| root.folder().join(inner.trim_start_matches('/')))
        })
    }

    /// Their names and where they are; the name is none of one alone.
    pub fn named_folders(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().map(|(name, root)| (name.as_deref().unwrap_or_default(), root.folder()))
    }

    /// As [`Root::leads_to`].
    pub fn leads_to(&self, path: &VaultPath) -> Option<VaultPath> {
        self.0.iter().find_map(|(name, root)| match name {
            None => root.leads_to(path),
            Some(name) => {
                let inner = path.as_str().strip_prefix(name.as_str())?.strip_prefix('/')?;
                let leads_to = root.leads_to(&VaultPath::new(inner).ok()?)?;
                VaultPath::new(&format!("{name}/{leads_to}")).ok()
            }
        })
    }

    /// The folder that a file is in, and its path there.
    fn at(&self, path: &VaultPath) -> Option<(&Root, VaultPath)> {
        self.0.iter().find_map(|(name, root)| {
            let Some(name) = name else { return Some((&**root, path.clone())) };
            let inner = path.as_str().strip_prefix(name.as_str())?.strip_prefix('/')?;
            Some((&**root, VaultPath::new(inner).ok()?))
        })
    }

    /// As [`Root::stat`].
    ///
    /// # Errors
    /// As there.
    pub fn stat(&self, path: &VaultPath) -> Result<Option<Stat>, FileError> {
        match self.at(path) {
            Some((root, path)) => root.stat(&path),
            None if self.is_tree(path.as_str()) => Err(FileError::NotAFile),
            None => Ok(None),
        }
    }

    /// As [`Root::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, path: &VaultPath) -> Result<Option<(Stat, Vec<u8>)>, FileError> {
        self.at(path).map_or(Ok(None), |(root, path)| root.read(&path))
    }

    /// As [`Root::kind`].
    ///
    /// # Errors
    /// As there.
    pub fn kind(&self, path: &VaultPath) -> Result<Option<ChildKind>, FileError> {
        match self.at(path) {
            Some((root, path)) => root.kind(&path),
            None => Ok(self.is_tree(path.as_str()).then_some(ChildKind::Folder)),
        }
    }

    /// As [`Root::children`]; of no folder, the names of all.
    ///
    /// # Errors
    /// As there.
    pub fn children(&self, folder: &str) -> Result<Vec<Child>, FileError> {
        if let [(None, root)] = &self.0[..] {
            return root.children(folder);
        }
        if folder.is_empty() {
            let names = self.0.iter().filter_map(|(name, _)| name.clone());
            return Ok(names.map(|name| Child { name: Ok(name), kind: ChildKind::Folder }).collect());
        }
        let tree = self.0.iter().find(|(name, _)| name.as_deref() == Some(folder));
        if let Some((_, root)) = tree {
            return root.children("");
        }
        match VaultPath::new(folder).ok().and_then(|folder| self.at(&folder)) {
            Some((root, path)) => root.children(path.as_str()),
            None => Ok(Vec::new()),
        }
    }

    fn is_tree(&self, name: &str) -> bool {
        self.0.iter().any(|(tree, _)| tree.as_deref() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Two folders of one name are told apart, and their files are reached by their names and from those of the system.
    #[test]
    fn files_are_named_by_their_tree() {
        let folder = tempfile::tempdir().unwrap();
        for (tree, text) in [("a/src", "one"), ("b/src", "two")] {
            fs::create_dir_all(folder.path().join(tree).join("in")).unwrap();
            fs::write(folder.path().join(tree).join("in/x.rs"), text).unwrap();
        }
        let roots = ["a/src", "b/src"].map(|tree| Arc::new(Root::open(&folder.path().join(tree)).unwrap()));
        let [_, second] = &roots;
        let trees = Trees::named(roots.clone());
        let names = |folder: &str| -> Vec<String> {
            trees.children(folder).unwrap().into_iter().map(|child| child.name.unwrap()).collect()
        };
        assert_eq!(
            (names(""), names("src"), names("src-2/in")),
            (vec!["src".to_owned(), "src-2".to_owned()], vec!["in".to_owned()], vec!["x.rs".to_owned()])
        );
        let path = |path: &str| VaultPath::new(path).unwrap();
        assert_eq!(trees.read(&path("src-2/in/x.rs")).unwrap().unwrap().1, b"two");
        assert_eq!(trees.places(&second.folder().join("in/x.rs")).collect::<Vec<_>>(), [path("src-2/in/x.rs")]);
        assert_eq!(trees.places(folder.path()).count(), 0);
        assert_eq!(trees.kind(&path("src")).unwrap(), Some(ChildKind::Folder));
        assert!(trees.stat(&path("src")).is_err() && trees.stat(&path("src-3/in/x.rs")).unwrap().is_none());
        let alone = Trees::alone(Arc::clone(second));
        assert_eq!(alone.places(&second.folder().join("in/x.rs")).collect::<Vec<_>>(), [path("in/x.rs")]);
    }
}
