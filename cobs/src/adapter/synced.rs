//! Which signatures over this node's references are on disk for certain. Radicle syncs nothing: a power cut can leave a
//! reference whose object was never written, and then nothing in the repository tells where it stood before.
//!
//! Two files beside the repository's own name a signature each, written in turn, each together with its signature and
//! synced with it: whenever one of them may be torn, the other and all that it signs is on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use radicle_oid::Oid;

use crate::id::parse_oid;

/// Git looks at no file of such a name.
const FILES: [&str; 2] = ["rhizome-signed-0", "rhizome-signed-1"];

/// The two files as one writer keeps them.
pub(crate) struct Synced {
    directory: PathBuf,
    newest: Option<Oid>,
    /// The file that is written next.
    next: usize,
}

impl Synced {
    /// Of the repository in `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), newest: None, next: 0 }
    }

    /// Names a signature. It is synced by whoever syncs the signature; until then the other file stands.
    pub fn name(&mut self, signed: Oid) -> io::Result<()> {
        if self.newest == Some(signed) {
            return Ok(());
        }
        // where it fails it is not known what the file holds
        self.newest = None;
        fs::write(self.directory.join(FILES[self.next]), format!("{signed}\n"))?;
        (self.newest, self.next) = (Some(signed), 1 - self.next);
        Ok(())
    }

    /// Sees to it that `head` is on disk and named, so that what is signed next may be lost with the power. Nothing to do
    /// unless this is new, a sync has failed, or another process has signed.
    pub fn anchor(&mut self, head: Oid, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        if self.newest == Some(head) {
            return Ok(());
        }
        // of the two files one may name what is not on disk yet
        sync()?;
        self.name(head)?;
        sync()
    }

    /// It is not known any more what is on disk.
    pub fn forget(&mut self) {
        self.newest = None;
    }
}

/// What the files of the repository in `directory` name; a torn one names nothing.
pub(crate) fn named(directory: &Path) -> Vec<Oid> {
    let texts = FILES.iter().filter_map(|file| fs::read_to_string(directory.join(file)).ok());
    texts.filter_map(|text| parse_oid(text.strip_suffix('\n')?).ok()).collect()
}
