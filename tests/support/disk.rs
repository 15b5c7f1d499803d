//! A disk of its own for a node, whose power can be cut: afterwards it holds what was synced, and of the rest what the
//! test's seed has chosen.
//!
//! It is a real file system on a loop device that writes nothing by itself for ten minutes, so that its image has what
//! programs have synced and little else. To cut the power is to start again from a copy of that image.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip::skip;
use super::wait;

/// Room for the home of a few dozen jobs.
const SIZE_BYTES: u64 = 192 << 20;
/// No journal of its own accord, and no times of reads.
const OPTIONS: &str = "loop,commit=600,noatime";

/// A mounted disk. Dropping it unmounts it, though programs may still use it.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// A disk mounted at `mount`, its image beside it; none where that cannot be had, which is said of `test`.
    pub fn new(test: &str, mount: &Path) -> Option<Self> {
        let image = mount.with_extension("image");
        fs::create_dir(mount).expect("the home is writable");
        let file = File::create(&image).and_then(|file| file.set_len(SIZE_BYTES));
        file.expect("the home is writable");
        let disk = Self { image, mount: mount.to_owned() };
        let made = run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&disk.image));
        if !rustix::process::geteuid().is_root() || !made || !disk.mounted() {
            skip(test, "only root may mount a disk, and not in every sandbox");
            return None;
        }
        Some(disk)
    }

    /// Cuts the power while all programs on the disk stand still: `kill` ends them, and what is then mounted is what a
    /// machine would find. `kept` chooses the files that the kernel had happened to write though nobody had asked.
    pub fn cut(&self, kept: impl FnMut() -> bool, kill: impl FnOnce()) {
        let found = self.found("found", kept);
        kill();
        self.holds(&found);
    }

    /// What a machine would find if it lost its power now, as a file beside the disk. All programs on it stand still; for
    /// `kept` see [`Disk::cut`].
    pub fn found(&self, name: &str, mut kept: impl FnMut() -> bool) -> PathBuf {
        sync_some(&self.mount, &mut kept);
        let found = self.image.with_extension(name);
        let copy = ["--sparse=always", "--no-target-directory"];
        assert!(run(Command::new("cp").args(copy).arg(&self.image).arg(&found)), "the image cannot be copied");
        found
    }

    /// Mounts what was found instead; the programs on the disk have been killed.
    pub fn holds(&self, found: &Path) {
        wait::until("the disk is no longer used", wait::LIMIT, || {
            run(Command::new("umount").arg(&self.mount)).then_some(())
        });
        fs::rename(found, &self.image).expect("both are in the home");
        assert!(self.mounted(), "what the power cut left cannot be mounted");
    }

    fn mounted(&self) -> bool {
        run(Command::new("mount").args(["-o", OPTIONS]).arg(&self.image).arg(&self.mount))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // what was killed may still be ending; one that could not be mounted is not
        run(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

/// Makes what a home has written down of another boot of the machine, as it is after a power cut.
pub fn of_another_boot(home: &Path) {
    // it was written once and long ago, if it is there
    fs::remove_file(home.join("boot-id")).ok();
    let this = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel tells");
    let files = fs::read_dir(home.join("runs")).into_iter().flatten().flatten();
    for file in files.flat_map(|run| ["request.json", "record.json"].map(|name| run.path().join(name))) {
        if let Ok(text) = fs::read_to_string(&file) {
            let other = text.replace(this.trim(), "00000000-0000-4000-8000-000000000000");
            fs::write(&file, other).expect("the disk is writable");
        }
    }
}

/// Syncs the files and directories below that are `chosen`.
fn sync_some(directory: &Path, chosen: &mut impl FnMut() -> bool) {
    let mut entries: Vec<_> = fs::read_dir(directory).into_iter().flatten().flatten().collect();
    // the same choice for the same files
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().expect("a local disk tells");
        if kind.is_dir() {
            sync_some(&entry.path(), chosen);
        } else if kind.is_file() && chosen() {
            File::open(entry.path()).and_then(|file| file.sync_all()).expect("it is there");
        }
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A power cut leaves what was synced, takes what was not, and keeps of that what is chosen.
#[test]
fn a_cut_takes_what_was_not_synced() {
    let home = super::home::Home::new();
    let Some(disk) = Disk::new("a_cut_takes_what_was_not_synced", &home.join("d")) else { return };
    let write = |name: &str| {
        let file = File::create(home.join("d").join(name)).unwrap();
        std::io::Write::write_all(&mut &file, b"content").unwrap();
        file
    };
    let names = || {
        let entries = fs::read_dir(home.join("d")).unwrap().flatten();
        let whole = entries.filter(|entry| fs::read(entry.path()).is_ok_and(|content| content == b"content"));
        let mut names: Vec<_> = whole.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    write("a-synced").sync_all().unwrap();
    drop(write("b-not"));
    disk.cut(|| false, || ());
    assert_eq!(names(), ["a-synced"]);
    drop(write("c-kept"));
    disk.cut(|| true, || ());
    assert_eq!(names(), ["a-synced", "c-kept"]);
}
