//! A log file that starts anew when it is full, and keeps a few predecessors.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most bytes of one log file.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How many full files are kept: `rhizome.log.1` is the newest.
pub const FILES_KEPT: u32 = 4;
/// The file being written.
pub const FILE_NAME: &str = "rhizome.log";

/// The log file of a directory. Each write is whole in one file.
#[derive(Debug)]
pub struct Rotating {
    path: PathBuf,
    file: File,
    written: u64,
    bytes_max: u64,
}

impl Rotating {
    /// Goes on with the file that is there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        Self::open_with(directory, FILE_BYTES_MAX)
    }

    pub(super) fn open_with(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE_NAME);
        let file = append(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { path, file, written, bytes_max })
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..FILES_KEPT).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))?;
        self.file = append(&self.path)?;
        self.written = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.path.with_file_name(format!("{FILE_NAME}.{number}"))
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written > 0 && self.written + bytes.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
