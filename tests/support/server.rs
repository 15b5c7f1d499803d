//! Servers of other products, each by its script under `tests/servers`.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::home::Home;
use super::process::Process;
use super::{fault, port, skip, tools, wait};

/// A server of its own, which ends with its test.
pub struct Server {
    product: &'static str,
    // it ends before its home is removed
    process: Option<Process>,
    home: Home,
    cache: PathBuf,
    pub port: u16,
}

impl Server {
    /// Starts one; none where it is not installed, and then the test says so.
    pub fn start(product: &'static str, test: &str) -> Option<Self> {
        let installed = Command::new(script(product)).arg("where").output().unwrap();
        if !installed.status.success() {
            skip::skip(test, String::from_utf8_lossy(&installed.stderr).trim());
            return None;
        }
        let folder = PathBuf::from(String::from_utf8(installed.stdout).unwrap().trim());
        let cache = folder.parent().expect("it is in the cache").to_owned();
        let mut server = Self { product, process: None, home: Home::new(), cache, port: port::free() };
        server.restart();
        Some(server)
    }

    /// Starts it again with what it had.
    pub fn restart(&mut self) {
        let mut program = Command::new(script(self.product));
        program.args(["start".as_ref(), self.home.join("data").as_os_str(), self.port.to_string().as_ref()]);
        program.env("RHIZOME_CACHE", &self.cache);
        self.process = Some(Process::start(&self.home, self.product, &mut program));
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.process = None;
        wait::until("what it started has ended", wait::LIMIT, || {
            let living = self.home.processes();
            living.iter().for_each(|pid| fault::signal(*pid, Signal::KILL));
            living.is_empty().then_some(())
        });
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(Process::ended)
    }

    /// All that it has written.
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// The URL that it prints.
    #[track_caller]
    pub fn url(&self, scheme: &str) -> String {
        wait::until("it prints its URL", wait::LIMIT, || {
            self.output().lines().find(|line| line.starts_with(scheme)).map(str::to_owned)
        })
    }
}

fn script(product: &str) -> PathBuf {
    tools::root().join(Path::new("tests/servers").join(format!("{product}.sh")))
}
