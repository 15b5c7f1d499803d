//! The name of a file in the vault: relative, with `/`, never out of it.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// Longest path, in bytes: Linux's `PATH_MAX`.
pub const PATH_BYTES_MAX: usize = 4096;

/// Why something is no path in a vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// There is nothing.
    #[error("the path is empty")]
    Empty,
    /// It begins at the root of the file system.
    #[error("the path is absolute; give it relative to the vault")]
    Absolute,
    /// It leaves the vault.
    #[error("the path leads out of the vault")]
    Outside,
    /// No file system takes it.
    #[error("the path has a NUL byte or is longer than {PATH_BYTES_MAX} bytes")]
    Unusable,
}

/// A file in the vault, as it is named on disk.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultPath(String);

impl VaultPath {
    /// Reads a path: `.` and `..` inside it are resolved, `\` is a character of a name.
    ///
    /// # Errors
    /// When it is empty, absolute, out of the vault or unusable.
    pub fn new(path: &str) -> Result<Self, PathError> {
        if path.len() > PATH_BYTES_MAX || path.contains('\0') {
            return Err(PathError::Unusable);
        }
        if path.starts_with('/') {
            return Err(PathError::Absolute);
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or(PathError::Outside)?),
                name => parts.push(name),
            }
        }
        if parts.is_empty() { Err(PathError::Empty) } else { Ok(Self(parts.join("/"))) }
    }

    /// As it is on disk.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder, without a `/` at its end; empty for the vault itself.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The name of the file without its extension.
    pub fn stem(&self) -> &str {
        let name = self.name();
        match name.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => name,
        }
    }

    /// The extension, without the dot; empty where there is none.
    pub fn extension(&self) -> &str {
        let name = self.name();
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => extension,
            _ => "",
        }
    }

    /// Whether it is a note: Obsidian gives its name without the extension.
    pub fn is_note(&self) -> bool {
        self.extension().eq_ignore_ascii_case("md")
    }

    /// Whether it is a canvas.
    pub fn is_canvas(&self) -> bool {
        self.extension().eq_ignore_ascii_case("canvas")
    }

    /// By which names are compared: composed (NFC) and in lower case, as Obsidian does on every system.
    pub fn key(&self) -> String {
        key(&self.0)
    }
}

/// A name as names are compared.
pub fn key(name: &str) -> String {
    // composed again, since a letter in lower case may have another composition
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}

impl PartialOrd for VaultPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VaultPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl TryFrom<String> for VaultPath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        Self::new(&path)
    }
}

impl From<VaultPath> for String {
    fn from(path: VaultPath) -> Self {
        path.0
    }
}

impl fmt::Display for VaultPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_vault() {
        let path = |text: &str| VaultPath::new(text).map(String::from);
        assert_eq!(path("a/./b//c.md"), Ok("a/b/c.md".to_owned()));
        assert_eq!(path("a/../b.md"), Ok("b.md".to_owned()));
        assert_eq!(path("a/../../b.md"), Err(PathError::Outside));
        assert_eq!(path("/etc/passwd"), Err(PathError::Absolute));
        assert_eq!(path("a/.."), Err(PathError::Empty));
        assert_eq!(path("a\0b"), Err(PathError::Unusable));
        assert_eq!(path(&"a".repeat(PATH_BYTES_MAX + 1)), Err(PathError::Unusable));
    }

    #[test]
    fn a_path_has_parts() {
        let path = VaultPath::new("Projects/v1.2 plan.md").expect("it is one");
        assert_eq!((path.folder(), path.name()), ("Projects", "v1.2 plan.md"));
        assert_eq!((path.stem(), path.extension(), path.is_note()), ("v1.2 plan", "md", true));
        let hidden = VaultPath::new(".gitignore").expect("it is one");
        assert_eq!((hidden.stem(), hidden.extension(), hidden.folder()), (".gitignore", "", ""));
    }

    #[test]
    fn names_are_compared_in_any_form() {
        assert_eq!(key("Caf\u{e9}"), key("cafe\u{301}"));
        assert_eq!(key("ÄRGER"), key("ärger"));
        assert_ne!(key("a"), key("b"));
    }
}
