//! Running the tests, and what they share: a sandbox whose supervisor is this binary, requests, and short ways to ask.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cobs::id::{NodeId, RunId, Token};
use cobs::job::outcome::RunOutcome;
use cobs::job::spec::{Limit, Work};
use scheduler::runner::Runner;
use scheduler::runner::finished::Finished;
use scheduler::runner::log::Stream;
use scheduler::runner::log::reader::LogEvent;
use scheduler::runner::request::{Deadline, ResolvedLimits, RunRequest};
use scheduler::runner::run::Run;
use scheduler::runner::sandbox::{Sandbox, SandboxConfig, SupervisorCommand};

pub const SUPERVISE: &str = "supervise";
pub const INIT: &str = "sandbox-init";
pub const START: &str = "start-and-leave";

/// Longest that any run of a test may take to end.
pub const END_WAIT: Duration = Duration::from_secs(60);

pub type Tests = &'static [(&'static str, fn())];

/// Runs every test whose name holds one of `filters`, or all; understands libtest's `--list` and ignores its flags.
pub fn run_all(tests: &[Tests], args: &[&str]) -> ExitCode {
    let filters: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let chosen: Vec<_> = tests.iter().flat_map(|tests| tests.iter()).filter(|(name, _)| wanted(name)).collect();
    if args.contains(&"--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let start = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({} ms)", start.elapsed().as_millis());
        if !passed {
            failed.push(name);
        }
    }
    let left = sandbox().reap_others(&[]);
    sandbox().leave();
    println!("\n{} tests, {} failed {failed:?}; control groups left: {left:?}", chosen.len(), failed.len());
    if failed.is_empty() && left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The sandbox of this test binary. The home's name is that of its process, so that two may run at once.
pub fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| sandbox_of(&format!("test-{}", std::process::id())))
}

pub fn sandbox_of(home_id: &str) -> Sandbox {
    let program = std::env::current_exe().unwrap();
    let supervisor = SupervisorCommand { program, args: vec![SUPERVISE.to_owned()] };
    Sandbox::new(SandboxConfig::new(home_id.to_owned(), supervisor))
}

/// The body of a daemon that starts a run and is gone.
pub fn start_and_leave(run_dir: &Path, request: &str) -> ExitCode {
    let (home_id, request) = request.split_once(' ').unwrap();
    let request = serde_json::from_str(request).unwrap();
    sandbox_of(home_id).start(run_dir, &request).unwrap();
    ExitCode::SUCCESS
}

pub fn strict(value: u64) -> Limit {
    Limit { value, strict: true }
}

/// A request for a shell script, with limits that no test reaches by accident.
pub fn script(text: &str) -> RunRequest {
    command(&["sh", "-c", text])
}

pub fn command(words: &[&str]) -> RunRequest {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let term = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    RunRequest {
        run: RunId { job: "b".repeat(40).parse().unwrap(), token: Token::new(0, term), node: NodeId::from([7; 32]) },
        work: Work::Command {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            environment: BTreeMap::new(),
            working_directory: None,
        },
        limits: ResolvedLimits {
            cpu_milli: strict(2000),
            memory_bytes: strict(256 << 20),
            processes: strict(64),
            disk_bytes: strict(64 << 20),
            wall_ms: strict(50_000),
            log_bytes: strict(4 << 20),
        },
        tree: None,
        inputs: Vec::new(),
        artifacts: Vec::new(),
        directories: Vec::new(),
        deadline: Deadline::Held,
    }
}

/// A run in a directory that goes with it.
pub struct Kept {
    pub run: Run,
    _dir: tempfile::TempDir,
}

impl Kept {
    pub fn dir(&self) -> &Path {
        self.run.dir()
    }

    pub fn end(&self) -> Finished {
        end(&self.run)
    }
}

pub fn start(request: &RunRequest) -> Kept {
    let dir = tempfile::tempdir().unwrap();
    let run = sandbox().start(&dir.path().join("run"), request).unwrap();
    Kept { run, _dir: dir }
}

pub fn end(run: &Run) -> Finished {
    match run.wait(Some(END_WAIT)).unwrap() {
        Some(finished) => finished,
        None => panic!("the run did not end: {:?}", run.status()),
    }
}

/// Runs to the end and gives the outcome and all of the log.
pub fn finish(request: &RunRequest) -> (Finished, String) {
    let kept = start(request);
    let finished = kept.end();
    let log = log(&kept.run);
    (finished, log)
}

/// The whole log so far.
pub fn log(run: &Run) -> String {
    String::from_utf8_lossy(&chunks(run).into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<_>>()).into_owned()
}

pub fn chunks(run: &Run) -> Vec<(Stream, Vec<u8>)> {
    let mut reader = run.logs(0).unwrap();
    let mut all = Vec::new();
    while let LogEvent::Chunk(chunk) = reader.next(Duration::ZERO).unwrap() {
        all.push((chunk.stream, chunk.bytes));
    }
    all
}

/// Follows the log until `wanted` is in it.
pub fn await_log(run: &Run, wanted: &str) {
    let mut reader = run.logs(0).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(wanted) {
        match reader.next(END_WAIT).unwrap() {
            LogEvent::Chunk(chunk) => seen.extend(chunk.bytes),
            other => panic!("{other:?} before {wanted:?} was logged: {:?}", String::from_utf8_lossy(&seen)),
        }
    }
}

pub fn exited(code: u8) -> RunOutcome {
    RunOutcome::Exited { code }
}

/// Whether any process of this machine has `mark` in its command line.
pub fn any_process_has(mark: &str) -> bool {
    let mut entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        !own && String::from_utf8_lossy(&line).contains(mark)
    })
}

pub fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}
