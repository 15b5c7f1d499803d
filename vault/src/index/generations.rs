//! The folder of an index: generations of it beside each other, one of which is current.
//!
//! A generation is built in a folder of its own and becomes the current one by the rename of a file that names it, so a crash
//! leaves either. What is neither current nor being built is removed.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::words::VERSION;

const CURRENT: &str = "current";
const VERSION_FILE: &str = "version";

/// The folder of an index.
#[derive(Clone, Debug)]
pub struct Generations {
    folder: PathBuf,
}

impl Generations {
    /// Takes a folder, and makes it where there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The current generation, where there is one that this version of the program can read.
    pub fn current(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(CURRENT)).ok()?;
        text.trim().parse().ok().filter(|number| self.is_ours(*number))
    }

    /// A generation that was begun and is not current, to go on with.
    pub fn unfinished(&self) -> Option<u64> {
        let current = self.current();
        self.numbers().into_iter().rev().find(|number| Some(*number) > current && self.is_ours(*number))
    }

    /// Begins another generation.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self) -> io::Result<u64> {
        let number = self.numbers().last().copied().unwrap_or_default() + 1;
        let folder = self.path(number);
        fs::create_dir(&folder)?;
        fs::write(folder.join(VERSION_FILE), VERSION.to_string())?;
        Ok(number)
    }

    /// Where a generation is.
    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// Makes a generation the current one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make_current(&self, number: u64) -> io::Result<()> {
        let beside = self.folder.join(format!("{CURRENT}.new"));
        let mut file = fs::File::create(&beside)?;
        file.write_all(number.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, self.folder.join(CURRENT))?;
        fs::File::open(&self.folder)?.sync_all()
    }

    /// Removes all generations but these.
    pub fn keep(&self, kept: &[u64]) {
        for number in self.numbers().into_iter().filter(|number| !kept.contains(number)) {
            if let Err(error) = fs::remove_dir_all(self.path(number)) {
                tracing::warn!(number, %error, "an old index is not removed");
            }
        }
    }

    fn is_ours(&self, number: u64) -> bool {
        let version = fs::read_to_string(self.path(number).join(VERSION_FILE));
        version.is_ok_and(|version| version.trim() == VERSION.to_string())
    }

    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut numbers: Vec<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }
}
