//! A node as its owner has it: a home, a daemon on ports of its own, and the commands that ask it.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::cli::{self, Output};
use super::disk::Disk;
use super::home::Home;
use super::http::{self, Answer, Request};
use super::net::{self, Place};
use super::process::Process;
use super::{fault, port, wait};

/// A node. Dropping it ends its daemon, its runs and its home.
pub struct Node {
    daemon: Option<Process>,
    /// The disk that its Radicle home is on; it goes before the home does.
    pub disk: Option<Disk>,
    pub home: Home,
    pub alias: String,
    settings: BTreeMap<String, String>,
    api: u16,
    /// Variables of the daemon's environment, besides those that every test has.
    pub environment: BTreeMap<String, String>,
    /// The daemon's binary.
    pub program: PathBuf,
    place: Option<Place>,
}

impl Node {
    /// A node that is set up with a ledger of its own, and runs.
    #[track_caller]
    pub fn start(alias: &str) -> Self {
        Self::start_with(alias, &[])
    }

    /// As [`Node::start`], with these values of the configuration.
    #[track_caller]
    pub fn start_with(alias: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_at(None, alias, settings)
    }

    /// As [`Node::start_with`], at a place of a network.
    #[track_caller]
    pub fn start_at(place: Option<&Place>, alias: &str, settings: &[(&str, &str)]) -> Self {
        let mut node = Self::nothing(place, alias, settings);
        node.begin(None);
        node
    }

    /// As [`Node::start_with`] and, with an inviter, [`Node::join`], on a disk of its own; none where that cannot be had,
    /// which is said of `test`.
    #[track_caller]
    pub fn on_disk(test: &str, alias: &str, settings: &[(&str, &str)], joins: Option<(&Self, &str)>) -> Option<Self> {
        let mut node = Self::nothing(None, alias, settings);
        node.disk = Some(Disk::new(test, &node.home.join("d"))?);
        node.begin(joins);
        Some(node)
    }

    #[track_caller]
    fn begin(&mut self, joins: Option<(&Self, &str)>) {
        let alias = self.alias.clone();
        let Some((inviter, grants)) = joins else {
            self.cli(&["init", "--alias", &alias]).ok();
            return self.up();
        };
        let link = inviter.invitation(grants);
        self.cli(&["join", &link, "--grant", grants, "--alias", &alias]).ok();
        self.up();
        self.until_linked(inviter);
    }

    /// A node that joins the ledger of `inviter`, runs, and is linked with it. Each may do with the other what `grants`
    /// says.
    #[track_caller]
    pub fn join(alias: &str, settings: &[(&str, &str)], inviter: &Self, grants: &str) -> Self {
        Self::join_at(None, alias, settings, inviter, grants)
    }

    /// As [`Node::join`], at a place of a network.
    #[track_caller]
    pub fn join_at(
        place: Option<&Place>,
        alias: &str,
        settings: &[(&str, &str)],
        inviter: &Self,
        grants: &str,
    ) -> Self {
        let mut node = Self::nothing(place, alias, settings);
        node.begin(Some((inviter, grants)));
        node
    }

    /// Has two members of a ledger that neither has invited let each other do what `grants` says, and waits for the link.
    #[track_caller]
    pub fn acquaint(&self, other: &Self, grants: &str) {
        for (node, peer) in [(self, other), (other, self)] {
            wait::until("the peer's record is here", wait::LIMIT, || (!node.peer(&peer.alias).is_null()).then_some(()));
            node.cli(&["peers", "grant", &peer.alias, grants]).ok();
        }
        // they replicate by whoever has invited them both
        wait::until("both are linked", wait::LIMIT, || {
            let linked = [(self, other), (other, self)].map(|(node, peer)| node.peer(&peer.alias));
            linked.iter().all(|peer| peer["linked"] == true && peer["capacity"].is_object()).then_some(())
        });
    }

    fn nothing(place: Option<&Place>, alias: &str, settings: &[(&str, &str)]) -> Self {
        let api = port::free();
        // a machine of one core must not make jobs wait that a test wants to see run
        let mut all = BTreeMap::from([("scheduler.slots".to_owned(), "4".to_owned())]);
        all.insert("api.listen".into(), format!("127.0.0.1:{api}"));
        for (key, fixed) in [("node.listen", net::RADICLE), ("link.listen", net::LINK)] {
            let address = match place {
                Some(place) => format!("{}:{fixed}", place.host),
                None => format!("127.0.0.1:{}", port::free()),
            };
            all.insert(key.into(), address);
        }
        all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let program = PathBuf::from(env!("CARGO_BIN_EXE_rhizome"));
        let (home, environment) = (Home::new(), BTreeMap::new());
        let (alias, place) = (alias.to_owned(), place.cloned());
        Self { daemon: None, disk: None, home, alias, settings: all, api, environment, program, place }
    }

    /// A pairing link.
    #[track_caller]
    pub fn invitation(&self, grants: &str) -> String {
        text(&self.json(&["invite", "--grant", grants]), "/link")
    }

    /// The Radicle home.
    pub fn place(&self) -> PathBuf {
        self.home.join(if self.disk.is_some() { "d/r" } else { "r" })
    }

    /// Has the next daemon start with a value of the configuration.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// Starts the daemon and waits until it answers.
    #[track_caller]
    pub fn up(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.place()).env("RAD_PASSPHRASE", "").arg("up");
        command.env(fault::VARIABLE, fault::file(&self.home)).envs(&self.environment);
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        self.enter(&mut command);
        let mut daemon = Process::start(&self.home, "daemon", &mut command);
        wait::until("the daemon answers", wait::LIMIT, || {
            assert!(!daemon.ended(), "the daemon ended:\n{}", daemon.output());
            self.ask("GET", "/health", &[], b"").filter(|answer| answer.status == 200)
        });
        self.daemon = Some(daemon);
    }

    /// Ends the daemon as a service manager does.
    #[track_caller]
    pub fn down(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends the daemon without a word; its supervisors live on.
    #[track_caller]
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Ends what the daemon left behind, as when the machine is switched off.
    #[track_caller]
    pub fn end_runs(&self) {
        wait::until("the home's processes have ended", wait::LIMIT, || {
            let living = self.home.processes();
            for pid in &living {
                let pid =
                    i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw).expect("the kernel's ids fit");
                // it may have ended by itself in between
                let _gone = rustix::process::kill_process(pid, Signal::KILL);
            }
            living.is_empty().then_some(())
        });
    }

    #[track_caller]
    fn end(&mut self, signal: Signal) {
        let mut daemon = self.daemon.take().expect("it is up");
        daemon.signal(signal);
        daemon.wait(wait::LIMIT);
    }

    /// The daemon's process.
    #[track_caller]
    pub fn daemon(&self) -> &Process {
        self.daemon.as_ref().expect("it is up")
    }

    /// What the daemons of this home have logged so far, without the engine's own words.
    pub fn log(&self) -> String {
        let all = std::fs::read_to_string(self.home.join("daemon.log")).unwrap_or_default();
        all.split_inclusive('\n').filter(|line| !line.contains(r#""target":"log""#)).collect()
    }

    /// A `rhizome` for this node.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = cli::rhizome();
        command.arg("--home").arg(self.place()).args(arguments).env("RAD_PASSPHRASE", "");
        self.enter(&mut command);
        command
    }

    fn enter(&self, command: &mut Command) {
        if let Some(place) = &self.place {
            place.enter(command);
        }
    }

    /// Runs `rhizome` to its end.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Output {
        cli::finish(&self.home, &mut self.command(arguments))
    }

    /// What `rhizome --json` prints; it must work.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let printed = cli::finish(&self.home, self.command(&["--json"]).args(arguments)).ok();
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Waits until `rhizome --json` prints what is wanted; fails with what it prints instead.
    #[track_caller]
    pub fn says(&self, what: &str, arguments: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let mut said = Value::Null;
        let found = wait::poll(wait::LIMIT, || {
            said = self.json(arguments);
            wanted(&said).then(|| said.clone())
        });
        found.unwrap_or_else(|| panic!("{} never said that {what}: {said:#}", self.alias))
    }

    /// Submits without following, and returns the job's id.
    #[track_caller]
    pub fn submit(&self, arguments: &[&str]) -> String {
        let printed = cli::finish(&self.home, self.command(&["run", "--detach"]).args(arguments)).ok();
        printed.trim().to_owned()
    }

    /// A job as `job show --json` has it.
    #[track_caller]
    pub fn job(&self, id: &str) -> Value {
        self.json(&["job", "show", id])
    }

    /// Waits until this node sees a job so; fails with what it sees instead.
    #[track_caller]
    pub fn until(&self, id: &str, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        let found = wait::poll(limit, || {
            let output = self.cli(&["--json", "job", "show", id]);
            seen = serde_json::from_str(&output.stdout).unwrap_or(Value::Null);
            wanted(&seen).then(|| seen.clone())
        });
        found.unwrap_or_else(|| panic!("{} never saw that {what}: {seen:#}\n{}", self.alias, self.log()))
    }

    /// Waits until a job is settled here.
    #[track_caller]
    pub fn settled(&self, id: &str) -> Value {
        self.until(id, "the job is settled", wait::LIMIT, |job| job["status"] == "settled")
    }

    /// Waits until a job runs, as far as this node can tell.
    #[track_caller]
    pub fn running(&self, id: &str) -> Value {
        self.until(id, "the job runs", wait::LIMIT, |job| job["running"] == true)
    }

    /// All jobs: id, status and outcome, newest first.
    #[track_caller]
    pub fn jobs(&self) -> Vec<(String, Value, Value)> {
        let page = self.json(&["job", "list"]);
        let items = page["items"].as_array().expect("a page has items");
        items.iter().map(|job| (text(job, "/id"), job["status"].clone(), job["outcome"].clone())).collect()
    }

    /// All jobs as the API lists them, by id; none while it does not answer.
    pub fn all_jobs(&self) -> Option<BTreeMap<String, Value>> {
        let (mut all, mut target) = (BTreeMap::new(), "/v1/jobs?limit=100".to_owned());
        loop {
            let page = self.ask("GET", &target, &[], b"")?.json();
            all.extend(page["items"].as_array()?.iter().map(|job| (text(job, "/id"), job.clone())));
            let Some(next) = page["next"].as_str() else { return Some(all) };
            target = format!("/v1/jobs?limit=100&cursor={next}");
        }
    }

    /// How many runs of a job were ever begun here.
    pub fn runs(&self, id: &str) -> usize {
        let directories = std::fs::read_dir(self.place().join("rhizome/runs")).into_iter().flatten().flatten();
        directories.filter(|entry| entry.file_name().to_string_lossy().starts_with(id)).count()
    }

    /// The node's id.
    #[track_caller]
    pub fn id(&self) -> String {
        text(&self.json(&["status"]), "/node")
    }

    /// The default ledger.
    #[track_caller]
    pub fn ledger(&self) -> String {
        text(&self.json(&["status"]), "/ledgers/0/id")
    }

    /// What this node knows of another; null when it knows none.
    #[track_caller]
    pub fn peer(&self, alias: &str) -> Value {
        let peers = self.json(&["peers"]);
        peers.as_array().into_iter().flatten().find(|peer| peer["alias"] == alias).cloned().unwrap_or(Value::Null)
    }

    /// Waits until two nodes are linked and replicate, and know each other's capacity.
    #[track_caller]
    pub fn until_linked(&self, other: &Self) {
        for (node, peer) in [(self, other), (other, self)] {
            let mut seen = Value::Null;
            let linked = wait::poll(wait::LIMIT, || {
                seen = node.peer(&peer.alias);
                let up = seen["linked"] == true && seen["replicating"] == true && seen["capacity"].is_object();
                up.then_some(())
            });
            assert!(linked.is_some(), "{} and {} are not linked: {seen:#}", node.alias, peer.alias);
        }
        wait::until("both have the ledger", wait::LIMIT, || {
            let status = self.json(&["status"]);
            (status.pointer("/ledgers/0/present") == Some(&Value::Bool(true))).then_some(())
        });
    }

    /// Asks the API as the owner, by the unix socket.
    pub fn ask(&self, method: &str, target: &str, headers: &[String], body: &[u8]) -> Option<Answer> {
        http::ask(self.socket()?, Request { method, target, host: "localhost", headers, body })
    }

    /// A connection to the unix socket.
    pub fn socket(&self) -> Option<UnixStream> {
        UnixStream::connect(self.place().join("rhizome/api.sock")).ok()
    }

    /// Asks the API over TCP, without a token.
    pub fn ask_as_nobody(&self, method: &str, target: &str, body: &[u8]) -> Option<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.api)).ok()?;
        let (host, headers) = (format!("127.0.0.1:{}", self.api), ["Content-Type: application/json".to_owned()]);
        http::ask(stream, Request { method, target, host: &host, headers: &headers, body })
    }

    /// Asks the API over TCP, with a token.
    pub fn ask_with(&self, token: &str, method: &str, target: &str, extra: &[String], body: &[u8]) -> Option<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.api)).ok()?;
        let mut headers = vec![format!("Authorization: Bearer {token}"), "Content-Type: application/json".into()];
        headers.extend_from_slice(extra);
        let host = format!("127.0.0.1:{}", self.api);
        http::ask(stream, Request { method, target, host: &host, headers: &headers, body })
    }
}

/// Whether no run of a node is alive, as far as it says.
pub fn runs_nothing(node: &Node) -> Option<()> {
    let pods = node.ask("GET", "/pods", &[], b"")?.json();
    pods.as_array()?.iter().all(|pod| pod["phase"] == "finished").then_some(())
}

/// Whether a run of a node is alive, as far as it says.
pub fn runs_something(node: &Node) -> Option<()> {
    let pods = node.ask("GET", "/pods", &[], b"")?.json();
    pods.as_array()?.iter().any(|pod| pod["phase"] == "running").then_some(())
}

/// The string at a JSON pointer.
#[track_caller]
pub fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no string at {pointer} of {value:#}")).to_owned()
}
