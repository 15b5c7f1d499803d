//! Which files are indexed, and which are private: of a vault by what Obsidian and its owner leave out, of working trees by
//! what git does.

mod code;
mod notes;

use std::sync::Arc;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::index::record::Privacy;
use crate::path::VaultPath;
use crate::root::FileError;
use crate::root::trees::Trees;

use code::CodeRules;
use notes::NoteRules;

/// Our own list of what is left out, in the language of `.gitignore`.
pub const IGNORE_FILE: &str = ".rhizomeignore";

/// What is left out and what is private.
#[derive(Debug)]
pub enum Rules {
    /// Of a vault.
    Notes(NoteRules),
    /// Of working trees.
    Code(CodeRules),
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
    pub fn of_notes(trees: &Trees, private: &[String]) -> Self {
        Self::Notes(NoteRules::read(trees, private))
    }

    /// The rules of working trees, which are read as they are met; `private` as of a vault.
    pub fn of_code(trees: Arc<Trees>, private: &[String]) -> Self {
        Self::Code(CodeRules::new(trees, private))
    }

    /// What is wrong with the rules themselves.
    pub fn faults(&self) -> &[String] {
        match self {
            Self::Notes(rules) => &rules.faults,
            Self::Code(rules) => &rules.faults,
        }
    }

    /// Whether a folder is not looked into.
    pub fn skips_folder(&self, folder: &VaultPath) -> bool {
        match self {
            Self::Notes(rules) => rules.skips_folder(folder),
            Self::Code(rules) => rules.skips_folder(folder),
        }
    }

    /// Why a file is no document; none where it is one.
    pub fn skips(&self, path: &VaultPath) -> Option<Why> {
        match self {
            Self::Notes(rules) => rules.skips(path),
            Self::Code(rules) => rules.skips(path),
        }
    }

    /// Who may see what lies there, whatever it says of itself.
    pub fn privacy(&self, path: &VaultPath) -> Privacy {
        let (Self::Notes(NoteRules { private, .. }) | Self::Code(CodeRules { private, .. })) = self;
        private.of(path)
    }

    /// Whether a file has these rules.
    pub fn is_rule(&self, path: &VaultPath) -> bool {
        match self {
            Self::Notes(_) => notes::FILES.contains(&path.as_str()),
            Self::Code(rules) => rules.is_rule(path),
        }
    }
}

/// Where all is private.
#[derive(Debug)]
struct PrivateRules {
    lines: Gitignore,
    /// Whether a line cannot be read: what it was to keep private is not known, so everything is.
    is_faulty: bool,
}

impl PrivateRules {
    fn read(lines: &[String], faults: &mut Vec<String>) -> Self {
        let before = faults.len();
        let lines = matcher("the private folders", lines.iter().map(String::as_str), faults);
        let is_faulty = faults.len() > before;
        if is_faulty {
            faults.push("everything is private until that line is right".to_owned());
        }
        Self { lines, is_faulty }
    }

    fn of(&self, path: &VaultPath) -> Privacy {
        let is_private = self.is_faulty || self.lines.matched_path_or_any_parents(path.as_str(), false).is_ignore();
        if is_private { Privacy::Private } else { Privacy::Open }
    }
}

/// The text of a file with rules; of one that cannot be read, nothing, which is said.
fn text(trees: &Trees, path: &VaultPath, faults: &mut Vec<String>) -> String {
    match trees.read(path) {
        Ok(read) => read.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default(),
        // there is none in what is no folder
        Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::NotADirectory => String::new(),
        Err(error) => {
            faults.push(format!("{path} is not read: {error}"));
            String::new()
        }
    }
}

fn matcher<'a>(name: &str, lines: impl Iterator<Item = &'a str>, faults: &mut Vec<String>) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    // as git reads them
    for line in lines.map(|line| line.trim_start_matches('\u{feff}')) {
        if let Err(error) = builder.add_line(None, line) {
            faults.push(format!("a line of {name} is left out: {error}"));
        }
    }
    builder.build().unwrap_or_else(|error| {
        faults.push(format!("{name} is left out: {error}"));
        Gitignore::empty()
    })
}
