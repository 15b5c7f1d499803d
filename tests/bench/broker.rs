//! A Radicle node with `radicle-ci-broker` and its native adapter beside it, on a home of its own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Outcome;
use crate::home::Home;
use crate::machine::until;
use crate::peers::Peers;
use crate::wait;

/// Runs that are made at once, one a core; of one repository the broker makes one at a time whatever is said here.
const CONCURRENT: usize = 2;
/// Between two looks at the broker's runs: each is a process.
const LOOK: Duration = Duration::from_millis(100);
/// How long all runs may take.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// The node and the broker, which end with the home.
pub struct Broker {
    path: String,
    programs: PathBuf,
    /// Ended before the home goes.
    processes: Vec<Child>,
    home: Home,
}

impl Broker {
    pub fn start(peers: &Peers) -> Outcome<Self> {
        let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", peers.programs.display(), peers.rad.display());
        let programs = peers.programs.clone();
        let mut broker = Self { path, programs, processes: Vec::new(), home: Home::new() };
        broker.run("rad", &["auth", "--alias", "broker"])?;
        broker.configure()?;
        broker.spawn("radicle-node", &["--listen", "127.0.0.1:0"])?;
        let up = || UnixStream::connect(broker.socket()).ok();
        wait::poll(wait::LIMIT, up)
            .ok_or_else(|| format!("radicle-node does not come up: {}", broker.log("radicle-node")))?;
        Ok(broker)
    }

    /// A net of nobody else, and a broker that runs every branch.
    fn configure(&self) -> Outcome<()> {
        let file = self.home.join("r/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["preferredSeeds"] = json!([]);
        config["node"]["network"] = json!("test");
        config["node"]["peers"] = json!({ "type": "static" });
        fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        let adapter = json!({
            "command": self.programs.join("radicle-native-ci"),
            "env": { "RADICLE_NATIVE_CI": self.home.join("native-ci.yaml") },
        });
        let broker = json!({
            "db": self.database(),
            "concurrent_adapters": CONCURRENT,
            "adapters": { "native": adapter },
            "triggers": [{ "adapter": "native", "filters": ["BranchCreated"] }],
        });
        fs::write(self.home.join("broker.json"), serde_json::to_vec_pretty(&broker)?)?;
        let native = json!({ "state": self.home.join("native-ci"), "log": self.home.join("native-ci.log") });
        Ok(fs::write(self.home.join("native-ci.yaml"), native.to_string())?)
    }

    /// Where its repository is.
    pub fn source(&self) -> PathBuf {
        self.home.join("source")
    }

    /// Gives the repository its identity with this commit, and starts the broker, which has seen nothing before.
    pub fn publish(&mut self, commit: &str) -> Outcome<()> {
        self.run("git", &["reset", "--quiet", "--hard", commit])?;
        let words = ["init", "--name", "jobs", "--description", "jobs", "--default-branch", "main"];
        self.run("rad", &[&words[..], &["--private", "--no-confirm"]].concat())?;
        let config = self.home.join("broker.json").display().to_string();
        self.spawn("cib", &["--config", &config, "process-events"])
    }

    /// Pushes commits, each as a branch of its own.
    pub fn push(&self, commits: &[(String, String)]) -> Outcome<()> {
        let branches = commits.iter().map(|(commit, branch)| format!("{commit}:refs/heads/{branch}"));
        let words: Vec<String> = ["push", "--quiet", "rad"].into_iter().map(str::to_owned).chain(branches).collect();
        self.run("git", &words.iter().map(String::as_str).collect::<Vec<_>>())?;
        self.announce()
    }

    /// Has the node tell of its own references, by which the broker hears of them: `git push` leaves that out where no
    /// peer is there to be told.
    fn announce(&self) -> Outcome<()> {
        let repository = self.run("git", &["remote", "get-url", "rad"])?;
        let node = self.run("rad", &["node", "status", "--only", "nid"])?;
        let repository = format!("rad:{}", repository.trim().trim_start_matches("rad://"));
        let command = json!({ "command": "announceRefsFor", "rid": repository, "namespaces": [node.trim()] });
        let mut socket = UnixStream::connect(self.socket())?;
        socket.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer)?;
        match serde_json::from_str::<Value>(&answer)?.get("error") {
            Some(error) => Err(format!("the node announces nothing: {error}").into()),
            None => Ok(()),
        }
    }

    /// Waits until the broker has done with so many runs. It writes to the repository after a run has ended, and of a
    /// push that comes between it hears nothing.
    pub async fn done_with(&self, runs: usize) -> Outcome<()> {
        let done = || self.log("cib").matches("BrokerRunEnd").count() >= runs;
        until("the broker has done with a run", async || done().then_some(())).await
    }

    fn socket(&self) -> PathBuf {
        self.home.join("r/node/control.sock")
    }

    /// Waits until so many runs have ended, all of them well.
    pub async fn ended(&self, runs: usize) -> Outcome<()> {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            let listed: Vec<Value> = serde_json::from_str(&self.tool(&["run", "list", "--json"])?)?;
            let ended: Vec<&Value> = listed.iter().filter(|run| run["state"] == "finished").collect();
            if let Some(failed) = ended.iter().find(|run| run["result"] != "success") {
                return Err(format!("a run failed: {failed}: {}", self.log("cib")).into());
            }
            if ended.len() >= runs {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} of {runs} runs have ended: {}", ended.len(), self.log("cib")).into());
            }
        }
    }

    /// What it is and which version.
    pub fn version(&self) -> Outcome<String> {
        let told = self.run("cib", &["--version"])?;
        // its build adds a revision that a release has not
        let version = told.trim().split('@').next().unwrap_or_default();
        Ok(version.replace("cib", "radicle-ci-broker"))
    }

    fn tool(&self, words: &[&str]) -> Outcome<String> {
        let database = self.database().display().to_string();
        self.run("cibtool", &[&["--db", &database][..], words].concat())
    }

    fn database(&self) -> PathBuf {
        self.home.join("broker.db")
    }

    fn log(&self, program: &str) -> String {
        fs::read_to_string(self.home.join(&format!("{program}.out"))).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("env");
        command.env_clear().env("PATH", &self.path).env("HOME", self.home.path()).env("RAD_PASSPHRASE", "");
        command.env("RAD_HOME", self.home.join("r")).stdin(Stdio::null()).arg(program);
        command
            .current_dir(Some(self.source()).filter(|source| source.exists()).unwrap_or(self.home.path().to_owned()));
        command
    }

    fn run(&self, program: &str, words: &[&str]) -> Outcome<String> {
        let output = self.command(program).args(words).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        let first = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        Err(format!("{program} {first}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    fn spawn(&mut self, program: &str, words: &[&str]) -> Outcome<()> {
        let log = File::create(self.home.join(&format!("{program}.out")))?;
        let child = self.command(program).args(words).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.processes.push(child);
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // both fail only if it has ended already
            let _ended = process.kill();
            let _status = process.wait();
        }
    }
}
