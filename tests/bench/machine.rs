//! A machine of the benchmark: a home, its daemon as a process of its own, and what the system tells about it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use cobs::id::RepoId;
use cobs::job::state::Status;
use node::ops::types::{Health, HealthDetail, Invitation, Peer};

use crate::Outcome;
use crate::client::Connection;
use crate::fault;
use crate::home::Home;
use crate::port;

/// Between two looks at something that another process does.
const LOOK: Duration = Duration::from_millis(5);
/// How long a daemon may take to come up, to go down or to find its peer.
const PATIENCE: Duration = Duration::from_secs(120);
/// The unit of processor time in `/proc`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Durability as it is by default, and the moments that the ledger's figures are made of.
const SETTINGS: [&str; 2] = ["api.listen=127.0.0.1:0", "log.level=info,node::node=debug"];

/// A home and, while it is up, its daemon.
pub struct Machine {
    bin: PathBuf,
    alias: String,
    settings: Vec<String>,
    // before the home, whose end kills what still names it
    daemon: Option<Child>,
    home: Home,
}

impl Machine {
    /// An empty home.
    pub fn new(bin: &Path, alias: &str) -> Self {
        // the same ones after a restart: peers know them
        let settings = ["node.listen", "link.listen"].map(|key| format!("{key}=127.0.0.1:{}", port::free()));
        let (bin, alias) = (bin.to_owned(), alias.to_owned());
        Self { bin, alias, settings: settings.into(), daemon: None, home: Home::new() }
    }

    /// As every later start has it: a setting beside [`SETTINGS`], as `key=value`.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// A home with a ledger of its own, and its daemon up.
    pub async fn with_ledger(bin: &Path, alias: &str) -> Outcome<Self> {
        let mut machine = Self::new(bin, alias);
        machine.run(&["init", "--alias", alias])?;
        machine.up().await?;
        Ok(machine)
    }

    /// Runs a verb to its end.
    pub fn run(&self, words: &[&str]) -> Outcome<String> {
        let output = self.command().args(words).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(format!("rhizome {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.bin);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.home.path());
        command.current_dir(self.home.path()).stdin(Stdio::null()).arg("--home").arg(self.radicle());
        command
    }

    /// Starts the daemon and waits until it answers.
    pub async fn up(&mut self) -> Outcome<()> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = self.command();
        command.arg("up").stdout(Stdio::null()).stderr(log);
        for setting in SETTINGS.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["--set", setting]);
        }
        self.daemon = Some(command.spawn()?);
        let health =
            until("the daemon answers", async || self.connection().await.ok()?.get::<Health>("/health").await.ok());
        health.await.map(drop).map_err(|error| format!("{error}: {}", self.log()).into())
    }

    /// Ends the daemon as an operator would.
    pub async fn down(&mut self) -> Outcome<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let pid = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw).ok_or("no such process")?;
        kill_process(pid, Signal::TERM)?;
        until("the daemon ends", async || daemon.try_wait().ok().flatten()).await.map(drop)
    }

    /// Kills the daemon and all that it has started, as when the machine dies.
    pub fn die(&mut self) -> Outcome<()> {
        fault::kill_all(&self.home);
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        daemon.wait()?;
        Ok(())
    }

    /// The processes that supervise its runs.
    pub fn supervisors(&self) -> Vec<u32> {
        fault::named(&self.home, fault::SUPERVISOR)
    }

    /// The Radicle home.
    pub fn radicle(&self) -> PathBuf {
        self.home.join("r")
    }

    pub fn socket(&self) -> PathBuf {
        self.rhizome("api.sock")
    }

    /// A file or directory of ours in the home.
    pub fn rhizome(&self, name: &str) -> PathBuf {
        self.radicle().join("rhizome").join(name)
    }

    /// A path beside the node's home.
    pub fn join(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub async fn connection(&self) -> Outcome<Connection> {
        Connection::unix(&self.socket()).await
    }

    pub async fn health(&self) -> Outcome<Health> {
        self.connection().await?.get("/health").await
    }

    /// What the node tells its owner of itself.
    pub async fn detail(&self) -> Outcome<HealthDetail> {
        Ok(self.health().await?.detail.ok_or("the node hides its health")?)
    }

    /// The ledger that it has.
    pub async fn ledger(&self) -> Outcome<RepoId> {
        Ok(self.detail().await?.ledgers.first().ok_or("the node has no ledger")?.id)
    }

    /// The files of a repository in its storage.
    pub fn repository(&self, repository: RepoId) -> PathBuf {
        self.radicle().join("storage").join(repository.to_string().trim_start_matches("rad:"))
    }

    /// Jobs with this status in its first ledger.
    pub async fn count(&self, status: Status) -> Outcome<u64> {
        let ledgers = self.detail().await?.ledgers;
        Ok(ledgers.first().and_then(|ledger| ledger.jobs.get(&status)).copied().unwrap_or_default())
    }

    fn log_file(&self) -> PathBuf {
        self.home.join("daemon.log")
    }

    /// All that the daemon has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The events of the daemon's log with this message.
    pub fn events(&self, message: &str) -> Vec<Value> {
        let log = self.log();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["message"] == message).collect()
    }

    /// Resident memory of the daemon, in megabytes of a million bytes.
    pub fn memory_mb(&self) -> Outcome<f64> {
        self.memory("VmRSS:")
    }

    /// The most that it was since its start.
    pub fn peak_memory_mb(&self) -> Outcome<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such memory")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Processor time that the daemon has used, in seconds.
    pub fn processor_s(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let after = stat.rsplit_once(')').ok_or("no name in stat")?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
    }

    fn pid(&self) -> Outcome<u32> {
        Ok(self.daemon.as_ref().ok_or("the daemon is down")?.id())
    }

    /// Pairs a machine with an empty home with this one, each allowed to run and submit, and waits until both see
    /// each other by link and by Radicle, and the other has the ledger.
    pub async fn pair(&self, other: &mut Self) -> Outcome<()> {
        let invitation: Invitation =
            self.connection().await?.post("/v1/invitations", &json!({ "grants": ["run", "submit"] })).await?;
        let alias = other.alias.clone();
        other.run(&["join", &invitation.link, "--alias", &alias, "--grant", "run,submit"])?;
        other.up().await?;
        self.sees(other).await?;
        other.sees(self).await?;
        until("the ledger is there", async || {
            let ledgers = other.health().await.ok()?.detail?.ledgers;
            ledgers.iter().any(|ledger| ledger.present).then_some(())
        })
        .await
    }

    /// Waits until it sees the other by link and by Radicle.
    pub async fn sees(&self, other: &Self) -> Outcome<()> {
        let mut connection = self.connection().await?;
        until("the peers see each other", async || {
            let peers: Vec<Peer> = connection.get("/v1/peers").await.ok()?;
            peers.iter().any(|peer| peer.alias == other.alias && peer.linked && peer.replicating).then_some(())
        })
        .await
    }

    /// Waits until this machine knows what all others offer, as it must to grant in the root.
    pub async fn knows_capacity(&self) -> Outcome<()> {
        let mut connection = self.connection().await?;
        until("the peers' capacity is known", async || {
            let peers: Vec<Peer> = connection.get("/v1/peers").await.ok()?;
            peers.iter().all(|peer| peer.capacity.is_some()).then_some(())
        })
        .await
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            // both fail only if it has ended already
            let _ended = daemon.kill();
            let _status = daemon.wait();
        }
    }
}

/// Looks until there is an answer, and fails with what was waited for.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> Outcome<T> {
    let looks = async {
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            ticks.tick().await;
            if let Some(value) = probe().await {
                return value;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.map_err(|_| format!("waited in vain until {what}").into())
}
