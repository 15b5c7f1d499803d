//! Commands that run to their end, as a person would type them, in an environment that holds nothing of this machine.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::home::Home;
use super::wait;

/// How long a command may take unless the test says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    /// The exit code, or 128 + n after signal n.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// `stdout` as it was written, also where it is no text.
    pub bytes: Vec<u8>,
}

impl Output {
    /// What it printed; fails with everything it said unless it exited 0.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The `rhizome` that is under test.
pub fn rhizome() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rhizome"))
}

/// Runs `rhizome` with these arguments to its end.
#[track_caller]
pub fn run(home: &Home, arguments: &[&str]) -> Output {
    finish(home, rhizome().args(arguments))
}

/// Runs a command to its end, with no input.
#[track_caller]
pub fn finish(home: &Home, command: &mut Command) -> Output {
    // files and not pipes: a command that leaves a process behind would keep a pipe open
    let mut stdout = tempfile::tempfile().expect("a temporary file can be made");
    let mut stderr = tempfile::tempfile().expect("a temporary file can be made");
    isolate(command, home).stdin(Stdio::null()).stdout(share(&stdout)).stderr(share(&stderr));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let ended = wait::poll(LIMIT, || child.try_wait().expect("it is our own child"));
    let Some(status) = ended else {
        child.kill().expect("it still runs");
        child.wait().expect("it is our own child");
        panic!("{command:?} still ran after {} s:\n{}{}", LIMIT.as_secs(), text(&mut stdout), text(&mut stderr));
    };
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let code = status.code().or(signal.map(|signal| 128 + signal)).expect("it exited or was signalled");
    let bytes = content(&mut stdout);
    Output { code, stdout: String::from_utf8_lossy(&bytes).into_owned(), stderr: text(&mut stderr), bytes }
}

/// Gives a command an environment that is empty but for its home, its path and what keeps programs from asking or
/// guessing; variables that the test set itself are kept. It starts in its home unless the test says where.
pub fn isolate<'a>(command: &'a mut Command, home: &Home) -> &'a mut Command {
    let own: Vec<_> = command.get_envs().map(|(key, value)| (key.to_owned(), value.map(ToOwned::to_owned))).collect();
    if command.get_current_dir().is_none() {
        command.current_dir(home.path());
    }
    command.env_clear().env("HOME", home.path()).env("LANG", "C.UTF-8").env("TZ", "UTC");
    command.env("PATH", std::env::var_os("PATH").expect("programs are found by PATH"));
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for (key, value) in own {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
}

fn share(file: &File) -> Stdio {
    file.try_clone().expect("a file can be shared").into()
}

fn text(file: &mut File) -> String {
    String::from_utf8_lossy(&content(file)).into_owned()
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a temporary file can be read");
    bytes
}

/// A command sees its home and nothing of the environment that the tests run in.
#[test]
fn runs_in_an_empty_environment() {
    let home = Home::new();
    let seen = finish(&home, Command::new("env").env("OWN", "kept")).ok();
    let names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT", "HOME", "LANG", "OWN", "PATH", "TZ"]);
    assert!(seen.contains(&format!("HOME={}\n", home.path().display())));
}

/// The two outputs and the end of a command are told apart, also after a signal.
#[test]
fn tells_how_a_command_ended() {
    let home = Home::new();
    let output = finish(&home, Command::new("bash").args(["-c", "echo out; echo err >&2; kill -9 $$"]));
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (137, "out\n", "err\n"));
}

/// The binary under test starts.
#[test]
fn starts_the_binary_under_test() {
    let home = Home::new();
    run(&home, &["--help"]).ok();
}
