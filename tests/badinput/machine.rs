//! A machine under test: its home, its daemon, and its API by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::cli::{self, Output, rhizome};
use crate::support::home::Home;
use crate::support::process::Process;
use crate::support::wait;

/// What the daemon says once it serves.
const UP: &str = "rhizome is up";

/// A home that is set up, with or without a daemon.
pub struct Machine {
    // ends before the home goes
    daemon: Option<Process>,
    pub home: Home,
    below: &'static str,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Machine {
    /// A machine that was set up and does not run.
    #[track_caller]
    pub fn set_up(alias: &str) -> Self {
        let machine = Self::bare();
        machine.run(&["init", "--alias", alias]).ok();
        machine
    }

    /// A machine that nobody has set up.
    pub fn bare() -> Self {
        Self { daemon: None, home: Home::new(), below: "n" }
    }

    /// A machine whose home is `below` a directory that the test puts there.
    pub fn within(home: Home, below: &'static str) -> Self {
        Self { daemon: None, home, below }
    }

    /// A machine that runs.
    #[track_caller]
    pub fn start(alias: &str) -> Self {
        let mut machine = Self::set_up(alias);
        machine.up(&[]);
        machine
    }

    /// Starts the daemon and waits until it serves.
    #[track_caller]
    pub fn up(&mut self, flags: &[&str]) {
        let before = self.daemon.as_ref().map_or(0, |daemon| daemon.output().matches(UP).count());
        assert_eq!(before, 0, "it runs already");
        let mut command = self.command(&["up"]);
        let mut daemon = Process::start(&self.home, "daemon", command.args(ANY_PORT).args(flags));
        daemon.wait_for(UP, wait::LIMIT);
        self.daemon = Some(daemon);
    }

    /// Ends the daemon as a crash does.
    pub fn kill(&mut self) {
        self.daemon = None;
        // the next start looks for its own words
        std::fs::remove_file(self.home.join("daemon.log")).ok();
    }

    /// One request by hand as the owner, on the unix socket.
    #[track_caller]
    pub fn ask(&self, head: &[&str], body: &[u8]) -> Answer {
        let stream = UnixStream::connect(self.path().join("rhizome/api.sock")).expect("the daemon listens");
        stream.set_read_timeout(Some(wait::LIMIT)).expect("a limit can be set");
        exchange(stream, "localhost", head, body)
    }

    /// The most memory that the daemon has had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let daemon = self.daemon.as_ref().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What the daemon has said.
    pub fn log(&self) -> String {
        self.daemon.as_ref().expect("it runs").output()
    }

    pub fn path(&self) -> PathBuf {
        self.home.join(self.below)
    }

    /// `rhizome` with this home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rhizome();
        command.arg("--home").arg(self.path()).args(arguments);
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        cli::finish(&self.home, &mut self.command(arguments))
    }

    /// Runs it with `--json` and reads what it printed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat()).ok();
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
    }

    /// Starts a daemon that is to fail, and gives what it said.
    #[track_caller]
    pub fn fail_up(&self, flags: &[&str]) -> Output {
        self.run(&[&["up"], ANY_PORT, flags].concat())
    }

    /// One of the addresses by which the daemon listens: `api`, `link` or `radicle`.
    #[track_caller]
    pub fn address(&self, of: &str) -> String {
        let status = self.json(&["status"]);
        status["addresses"][of][0].as_str().unwrap_or_else(|| panic!("it listens: {status}")).to_owned()
    }

    #[track_caller]
    pub fn token(&self, name: &str, scopes: &[&str]) -> String {
        let scopes: Vec<&str> = scopes.iter().flat_map(|scope| ["--scope", *scope]).collect();
        let made = self.json(&[&["token", "create", name], scopes.as_slice()].concat());
        made["secret"].as_str().expect("it is shown once").to_owned()
    }
}

/// Whatever ports are free; a later `--set` of the same key wins.
const ANY_PORT: &[&str] =
    &["--set", "node.listen=127.0.0.1:0", "--set", "link.listen=127.0.0.1:0", "--set", "api.listen=127.0.0.1:0"];

/// One request by hand, on a connection of its own: `head` is its first line and its headers, without `Host` where it
/// names one.
#[track_caller]
pub fn ask(address: &str, head: &[&str], body: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).expect("the daemon listens");
    stream.set_read_timeout(Some(wait::LIMIT)).expect("a limit can be set");
    exchange(stream, address, head, body)
}

#[track_caller]
fn exchange(mut stream: impl Read + Write, address: &str, head: &[&str], body: &[u8]) -> Answer {
    let mut request = format!("{}\r\nconnection: close\r\ncontent-length: {}\r\n", head.join("\r\n"), body.len());
    if !head.iter().any(|line| line.starts_with("host:")) {
        request.push_str(&format!("host: {address}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).expect("the head is short");
    // it may answer before it has read everything, and close
    let _cut = stream.write_all(body);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    Answer { status, head: head.to_lowercase(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}
