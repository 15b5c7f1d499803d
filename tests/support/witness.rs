//! The witness of P2: whether an exclusive job ever ran twice at once, told by the kernel and by nothing of ours.
//!
//! All machines of a test name one directory, which their sandboxes show read-only. A job takes a lock on a file of its
//! own there, without waiting, and tells a pipe in the same directory that it began, or that somebody had the lock.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::sync::Mutex;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use tempfile::TempDir;

/// The directory's name in the configuration.
const DIRECTORY: &str = "witness";
/// The pipe in it.
const PIPE: &str = "told";

/// A directory of locks.
pub struct Witness {
    dir: TempDir,
    pipe: Mutex<File>,
    told: Mutex<String>,
    setting: [String; 2],
}

/// What the jobs of one name have told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// How many began with the lock.
    pub began: usize,
    /// How many found it taken.
    pub second: usize,
}

impl Witness {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rz-witness-").tempdir().expect("a temporary directory can be made");
        // a sandboxed job is another user
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
        let path = dir.path().join(PIPE);
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).expect("a pipe can be made");
        fs::set_permissions(&path, Permissions::from_mode(0o622)).expect("it is ours");
        // open for both, so that it has a reader for as long as the test lasts, and never an end
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let pipe = File::options().read(true).write(true).custom_flags(flags).open(&path).expect("it is ours");
        let setting = [format!("directories.{DIRECTORY}.path"), dir.path().display().to_string()];
        Self { dir, pipe: Mutex::new(pipe), told: Mutex::default(), setting }
    }

    /// What every machine of the test is configured with.
    pub fn setting(&self) -> (&str, &str) {
        (&self.setting[0], &self.setting[1])
    }

    /// The arguments that end `rhizome run`: a job that holds the lock `name`, as long as anything of it lives, and runs
    /// `body`.
    pub fn job(&self, name: &str, body: &str) -> [String; 6] {
        let lock = self.dir.path().join(name);
        File::create(&lock).expect("the directory is ours");
        fs::set_permissions(&lock, Permissions::from_mode(0o644)).expect("it is ours");
        let script = format!(
            "tell() {{ echo \"$1 {name}\" >/dir/{DIRECTORY}/{PIPE}; }}\n\
             exec 9</dir/{DIRECTORY}/{name} || exit 98\n\
             flock --nonblock 9 || {{ tell second; exit 97; }}\n\
             tell began\n{body}"
        );
        ["--dir", DIRECTORY, "--", "sh", "-c", &script].map(str::to_owned)
    }

    /// What has been told so far, by the jobs' names.
    pub fn told(&self) -> BTreeMap<String, Told> {
        let mut all = self.told.lock().expect("no test fails while it reads");
        // a read of an empty pipe fails with what is wanted already in the text
        let _empty = self.pipe.lock().expect("no test fails while it reads").read_to_string(&mut all);
        let mut told = BTreeMap::<String, Told>::new();
        for (what, name) in all.lines().filter_map(|line| line.split_once(' ')) {
            let told = told.entry(name.to_owned()).or_default();
            match what {
                "began" => told.began += 1,
                "second" => told.second += 1,
                other => panic!("a job told {other:?}"),
            }
        }
        told
    }

    /// What has been told of one job.
    pub fn of(&self, name: &str) -> Told {
        self.told().get(name).copied().unwrap_or_default()
    }

    /// Fails if any job was ever run twice at once.
    #[track_caller]
    pub fn holds(&self) {
        let broken: Vec<_> = self.told().into_iter().filter(|(_, told)| told.second > 0).collect();
        assert!(broken.is_empty(), "jobs ran twice at once: {broken:?}");
    }
}

/// The witness sees two runs at once, and none in two that follow each other: without this it could be blind.
#[test]
fn sees_two_at_once() {
    use super::node::Node;
    use super::wait;

    let witness = Witness::new();
    let node = Node::start_with("solo", &[witness.setting()]);
    let submit = |body: &str| node.submit(&witness.job("shared", body).each_ref().map(String::as_str));
    let first = submit("sleep 600");
    wait::until("the first has begun", wait::LIMIT, || (witness.of("shared").began == 1).then_some(()));
    witness.holds();
    let second = submit("true");
    assert_eq!(node.settled(&second)["exitCode"], 97);
    assert_eq!(witness.of("shared"), Told { began: 1, second: 1 });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| witness.holds())).is_err());
    node.cli(&["job", "cancel", &first]).ok();
    node.settled(&first);
    let third = submit("true");
    assert_eq!(node.settled(&third)["exitCode"], 0);
    assert_eq!(witness.of("shared"), Told { began: 2, second: 1 });
}
