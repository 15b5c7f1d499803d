//! A program that runs beside the test, such as a daemon: it ends with the test, and its output can be waited for.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::home::Home;
use super::{cli, wait};

/// A running program. Dropping it kills it at once; what it has started ends with its [`Home`].
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `program` in an empty environment with `home` as its home, its two outputs in the file `NAME.log` there.
    #[track_caller]
    pub fn start(home: &Home, name: &str, program: &mut Command) -> Self {
        let log = home.join(&format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("the home is writable");
        let errors = output.try_clone().expect("a file can be shared");
        cli::isolate(program, home).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = program.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written so far, also before a restart under the same name.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log was made at start")).into_owned()
    }

    /// Waits for `text` in its output, and fails with all of it if the process ends or the limit passes before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, limit: Duration) {
        let found = wait::poll(limit, || {
            let ended = self.try_wait().is_some();
            if self.output().contains(text) { Some(true) } else { ended.then_some(false) }
        });
        assert!(found == Some(true), "{} never wrote {text:?}, but:\n{}", self.name, self.output());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("the kernel's ids fit");
        kill_process(pid, signal).expect("it is our own child, and not waited for yet");
    }

    /// Waits for its end, and fails with its output if it does not end by itself.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match wait::poll(limit, || self.try_wait()) {
            Some(status) => status,
            None => panic!("{} still runs after {} ms:\n{}", self.name, limit.as_millis(), self.output()),
        }
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our own child")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // both fail only if it has ended already
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A program's output can be waited for, a signal reaches it, and it has an end.
#[test]
fn follows_a_program_to_its_end() {
    let home = Home::new();
    let script = "trap 'echo leaving; exit 7' TERM; echo ready; while :; do read -t 1 </dev/zero; done";
    let mut process = Process::start(&home, "script", Command::new("bash").args(["-c", script]));
    process.wait_for("ready\n", wait::LIMIT);
    process.signal(Signal::TERM);
    assert_eq!(process.wait(wait::LIMIT).code(), Some(7));
    assert_eq!(process.output(), "ready\nleaving\n");
}

/// A program that ends without the awaited words fails at once, with what it did write.
#[test]
#[should_panic(expected = "script never wrote \"ready\", but:\nno such key\n")]
fn shows_what_a_program_wrote_instead() {
    let home = Home::new();
    let mut process = Process::start(&home, "script", Command::new("bash").args(["-c", "echo no such key; exit 1"]));
    process.wait_for("ready", wait::LIMIT);
}

/// A program ends when the test lets go of it.
#[test]
fn ends_with_its_test() {
    let home = Home::new();
    let process = Process::start(&home, "sleeper", Command::new("sleep").arg("60"));
    assert_eq!(home.processes(), [process.id()]);
    drop(process);
    assert_eq!(home.processes(), Vec::<u32>::new());
}
