//! Real servers of other products, each started by its script under `tests/servers` and ended with its test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a server may take to start: far above what a loaded machine needs.
const START_MS: u64 = 60_000;
/// How often it is looked at.
const POLL_MS: u64 = 20;
/// Ports that a server may take, from its first.
const PORTS: u16 = 6;

/// What the stores of other products run on.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A server that runs.
pub struct Server {
    product: &'static str,
    port: u16,
    folder: TempDir,
    child: Child,
    /// By what it is asked.
    pub url: String,
}

impl Server {
    /// Starts a product's server; none, and the test says that it is skipped, where it is not installed.
    pub fn start(product: &'static str, test: &str) -> Option<Self> {
        let installed = Command::new(script(product)).arg("where").output().unwrap();
        if !installed.status.success() {
            skip(test, String::from_utf8_lossy(&installed.stderr).trim());
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_ports();
        let (child, url) = run(product, folder.path(), port);
        Some(Self { product, port, folder, child, url })
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        wait("its port is free", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err());
    }

    /// Starts it again with what it had.
    pub fn restart(&mut self) {
        (self.child, self.url) = run(self.product, self.folder.path(), self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // both fail only if it has ended already
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Polls until something holds.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_millis(START_MS);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        // the pause of a poll
        std::thread::park_timeout(Duration::from_millis(POLL_MS));
    }
}

fn script(product: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/servers/{product}.sh"))
}

fn run(product: &str, folder: &Path, port: u16) -> (Child, String) {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut child = Command::new(script(product))
        .arg("start")
        .arg(folder.join("data"))
        .arg(port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    wait("the server listens", || {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "{product} does not start:\n{}", log());
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    (child, url.trim().to_owned())
}

/// The first of some ports in a row that nobody listens on, below those that the kernel hands out.
fn free_ports() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 1_000) as u16 * 10;
    for _ in 0..1_000 {
        let first = 20_000 + (start + NEXT.fetch_add(10, Ordering::Relaxed)) % 10_000;
        if (first..first + PORTS).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return first;
        }
    }
    panic!("no ports are free");
}

/// Says that a test is skipped and why; `tests/run.sh` fails unless `tests/skips.txt` lists it.
fn skip(name: &str, reason: &str) {
    // not by `eprintln`, which the test runner captures
    std::io::stderr().write_all(format!("\nskipped: {name}: {reason}\n").as_bytes()).unwrap();
}
