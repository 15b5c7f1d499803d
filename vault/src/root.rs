//! The files of a vault, reached from its root alone: no name and no symbolic link leads out of it.

pub mod trees;
pub mod write;

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat as FileStat, fstat, openat, openat2, stat, statat,
};
use rustix::io::Errno;

use crate::index::record::Stat;
use crate::path::VaultPath;

/// Largest file that is indexed, in bytes; what is larger has its name alone.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// How often a file is read again that changes while it is read.
const READS_MAX: usize = 5;

/// Why a folder is no vault.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is nothing.
    #[error("there is no folder {0}; make it, or name another")]
    Missing(PathBuf),
    /// It is something else.
    #[error("{0} is not a folder; a vault is the folder that Obsidian opens")]
    NotAFolder(PathBuf),
    /// It may not be read.
    #[error("the folder {folder} cannot be read: {source}")]
    Unreadable {
        /// Which.
        folder: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It leads out of the vault.
    #[error("it is a link that leads out of the vault")]
    Outside,
    /// It leads to what a rule leaves out.
    #[error("it is a link to {0}, which is left out")]
    LeftOut(VaultPath),
    /// The folder was removed or another has its place.
    #[error("the folder {0} was moved or removed; once it is back with something in it, it is looked at again")]
    Replaced(PathBuf),
    /// It is no regular file, or one behind a link to a folder.
    #[error("it is no file")]
    NotAFile,
    /// It is larger than what is indexed.
    #[error("it has {bytes} bytes, {most} are the most")]
    Large {
        /// How large it is, in bytes.
        bytes: u64,
        /// What is indexed at most.
        most: u64,
    },
    /// It never stayed as it was while it was read.
    #[error("it was written all the time while it was read")]
    Unsteady,
    /// The system says no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV | Errno::LOOP => Self::Outside,
            other => Self::Io(other.into()),
        }
    }
}

/// The root of a vault.
#[derive(Debug)]
pub struct Root {
    folder: PathBuf,
    descriptor: RwLock<Arc<OwnedFd>>,
}

/// Something in a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    /// Its name; none where it is no UTF-8, shown with what stands for it.
    pub name: Result<String, String>,
    /// What it is, without following a link.
    pub kind: ChildKind,
}

/// What something in a folder is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChildKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Something that holds no text.
    Other,
}

impl Root {
    /// Takes a folder.
    ///
    /// # Errors
    /// When it is not there, is no folder or cannot be read.
    pub fn open(folder: &Path) -> Result<Self, RootError> {
        let unreadable = |source: Errno| RootError::Unreadable { folder: folder.to_owned(), source: source.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = match openat(CWD, folder, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Err(RootError::Missing(folder.to_owned())),
            Err(Errno::NOTDIR) => return Err(RootError::NotAFolder(folder.to_owned())),
            Err(errno) => return Err(unreadable(errno)),
        };
        // reading the names tells whether it may be read
        Dir::read_from(&descriptor).and_then(|mut names| names.next().transpose()).map_err(unreadable)?;
        let folder =
            folder.canonicalize().map_err(|source| RootError::Unreadable { folder: folder.to_owned(), source })?;
        Ok(Self { folder, descriptor: RwLock::new(Arc::new(descriptor)) })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.descriptor.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the folder that now is where the one was that was opened; true where it took another. One with nothing in it
    /// but hidden files is not taken, since a disk that is not mounted leaves that, and no link is followed.
    pub fn reopen(&self) -> bool {
        if self.is_there() {
            return false;
        }
        // a link in its place, or above it, may lead to anything
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat2(CWD, &self.folder, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
        let Ok(descriptor) = opened else { return false };
        let is_something = |name: &[u8]| match name {
            b".obsidian" | b".git" => true,
            b"lost+found" => false,
            name => !name.starts_with(b"."),
        };
        let has_something = Dir::read_from(&descriptor)
            .is_ok_and(|names| names.flatten().any(|entry| is_something(entry.file_name().to_bytes())));
        if has_something {
            *self.descriptor.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(descriptor);
        }
        has_something
    }

    /// Opens something beneath the root.
    fn beneath(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        // a pipe must not be waited for, and nothing is when only its place is asked for
        let waits = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
        let flags = flags | OFlags::CLOEXEC | waits;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(self.descriptor(), path, flags, Mode::empty(), resolve)
    }

    /// How a file is, through a link that stays in the vault; none where there is nothing.
    ///
    /// # Errors
    /// When it is no file, leads out, or the system says no.
    pub fn stat(&self, path: &VaultPath) -> Result<Option<Stat>, FileError> {
        let plain = match statat(self.descriptor(), path.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(plain) => plain,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        // only what is a link, or lies behind one, has to be opened to know where it leads
        if FileType::from_raw_mode(plain.st_mode) == FileType::RegularFile && !self.is_behind_link(path) {
            return Ok(Some(stat_of(&plain)));
        }
        let file = match self.beneath(path.as_str(), OFlags::PATH) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        regular(&fstat(&file)?).map(Some)
    }

    /// What is there, without following a link at its end; none where there is nothing.
    ///
    /// # Errors
    /// When the system does not say, which does not mean that nothing is there.
    pub fn kind(&self, path: &VaultPath) -> Result<Option<ChildKind>, FileError> {
        let stat = match statat(self.descriptor(), path.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(FileError::Io(errno.into())),
        };
        Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => ChildKind::File,
            FileType::Directory => ChildKind::Folder,
            FileType::Symlink => ChildKind::Link,
            _ => ChildKind::Other,
        }))
    }

    /// The file that a link leads to at last, by its path beneath the root; none where there is none.
    pub fn leads_to(&self, path: &VaultPath) -> Option<VaultPath> {
        let file = self.beneath(path.as_str(), OFlags::PATH).ok()?;
        let whole = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        VaultPath::new(whole.strip_prefix(&self.folder).ok()?.to_str()?).ok()
    }

    /// Whether the folder is still the one that was opened.
    pub fn is_there(&self) -> bool {
        let (Ok(opened), Ok(there)) = (fstat(self.descriptor()), stat(&self.folder)) else { return false };
        (opened.st_dev, opened.st_ino) == (there.st_dev, there.st_ino)
    }

    fn is_behind_link(&self, path: &VaultPath) -> bool {
        let folders = path.as_str().match_indices('/').map(|(at, _)| &path.as_str()[..at]);
        let is_link = |folder: &str| {
            let stat = statat(self.descriptor(), folder, AtFlags::SYMLINK_NOFOLLOW);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        folders.into_iter().any(is_link)
    }

    /// A file's bytes, and how it was when it had them; none where there is nothing.
    ///
    /// # Errors
    /// When it is no file, leads out, is too large, changes all the time, or the system says no.
    pub fn read(&self, path: &VaultPath) -> Result<Option<(Stat, Vec<u8>)>, FileError> {
        for _ in 0..READS_MAX {
            let descriptor = match self.beneath(path.as_str(), OFlags::RDONLY) {
                Ok(descriptor) => descriptor,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
            let before = regular(&fstat(&descriptor)?)?;
            if before.size > FILE_BYTES_MAX {
                return Err(FileError::Large { bytes: before.size, most: FILE_BYTES_MAX });
            }
            let mut file = File::from(descriptor);
            let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or_default() + 1);
            // it may grow meanwhile
            file.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            let after = regular(&fstat(&file)?)?;
            if before == after && bytes.len() as u64 == after.size {
                return Ok(Some((after, bytes)));
            }
        }
        Err(FileError::Unsteady)
    }

    /// What lies in a folder, in order of the names; nothing where there is no such folder.
    ///
    /// # Errors
    /// When it cannot be read or is a link.
    pub fn children(&self, folder: &str) -> Result<Vec<Child>, FileError> {
        // of one that was removed everything seems to be gone
        if folder.is_empty() && !self.is_there() {
            return Err(FileError::Replaced(self.folder.clone()));
        }
        let name = if folder.is_empty() { "." } else { folder };
        let descriptor = match self.beneath(name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        };
        let mut children = Vec::new();
        for entry in Dir::read_from(&descriptor)? {
            let entry = entry?;
            let name = entry.file_name();
            if [&b"."[..], b".."].contains(&name.to_bytes()) {
                continue;
            }
            let kind = match entry.file_type() {
                // some file systems do not say
                FileType::Unknown => {
                    let stat = statat(&descriptor, name, AtFlags::SYMLINK_NOFOLLOW);
                    stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
                }
                known => known,
            };
            let kind = match kind {
                FileType::RegularFile => ChildKind::File,
                FileType::Directory => ChildKind::Folder,
                FileType::Symlink => ChildKind::Link,
                _ => ChildKind::Other,
            };
            let name = name.to_str().map(str::to_owned).map_err(|_| name.to_string_lossy().into_owned());
            children.push(Child { name, kind });
        }
        children.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(children)
    }
}

fn regular(stat: &FileStat) -> Result<Stat, FileError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat_of(stat)),
        _ => Err(FileError::NotAFile),
    }
}

fn stat_of(stat: &FileStat) -> Stat {
    const SECOND_NS: i64 = 1_000_000_000;
    let moment = |seconds: i64, nanoseconds: i64| seconds.saturating_mul(SECOND_NS).saturating_add(nanoseconds);
    Stat {
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified_ns: moment(stat.st_mtime, stat.st_mtime_nsec.try_into().unwrap_or_default()),
        changed_ns: moment(stat.st_ctime, stat.st_ctime_nsec.try_into().unwrap_or_default()),
        inode: stat.st_ino,
    }
}
