//! The first process inside the sandbox: our own binary as PID 1 of its namespace.
//!
//! Fills the scratch space, runs the command, reaps, and sends the artifacts out. It has the job's user and the job's
//! filters, and the job cannot touch it: it is not dumpable, so its descriptors and memory are out of reach, and a
//! PID 1 without signal handlers takes no signal from inside its namespace.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};

use globset::GlobSet;
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use super::clock::BootNs;
use super::inside::{CONTROL_FD, Event, PLAN_BYTES_MAX, Plan, TERMINATE, read_frame, write_frame};
use super::request::artifact_patterns;

/// The job's work tree.
pub(super) const WORK_TREE: &str = "/job";

/// Open files of the job, soft and hard.
const OPEN_FILES: (u64, u64) = (4096, 16384);
/// This process and the thread that obeys, which the job's cap is not to count.
pub(super) const OWN_THREADS: u64 = 2;
/// Deepest directory that is searched for artifacts.
const ARTIFACT_DEPTH_MAX: usize = 128;

/// Runs inside the sandbox, as the hidden verb of the binary that the supervisor runs. Never returns to the caller's
/// own work: what it returns is the process's exit code.
pub fn sandbox_init() -> ExitCode {
    // First of all, while nothing of the job exists yet.
    if rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() || std::process::id() != 1 {
        eprintln!("this verb runs only inside a sandbox");
        return ExitCode::FAILURE;
    }
    // SAFETY: the supervisor passes this descriptor and nothing else in this process has taken it.
    let control = unsafe { OwnedFd::from_raw_fd(CONTROL_FD) };
    if rustix::io::fcntl_setfd(&control, rustix::io::FdFlags::CLOEXEC).is_err() {
        eprintln!("the sandbox was started without its control socket");
        return ExitCode::FAILURE;
    }
    let mut control = UnixStream::from(control);
    match work(&mut control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(control: &mut UnixStream) -> io::Result<()> {
    let plan: Plan = read_frame(control, PLAN_BYTES_MAX)?.ok_or_else(|| io::Error::other("no plan was sent"))?;
    let prepared = unpack(io::stdin().lock()).and_then(|()| limit(&plan).map_err(|error| error.to_string()));
    // Before the command, which may leave no room for another thread.
    let orders = control.try_clone()?;
    let running = Arc::new(OnceLock::new());
    let obeyed = Arc::clone(&running);
    std::thread::Builder::new().stack_size(64 << 10).spawn(move || obey(orders, &obeyed))?;
    let command = match prepared.and_then(|()| spawn(&plan)) {
        Ok(command) => *running.get_or_init(|| command),
        Err(why) => return write_frame(control, &Event::CouldNotStart { why }),
    };
    write_frame(control, &Event::Started { at: BootNs::now() })?;
    let status = wait_for(command)?;
    let at = BootNs::now();
    end_all_others()?;
    write_frame(control, &ended(status, at))?;
    if let Ok(patterns) = artifact_patterns(&plan.artifacts) {
        send_artifacts(control, &patterns)?;
    }
    write_frame(control, &Event::Done)
}

/// Fills the work tree from the archive on standard input.
fn unpack(archive: impl Read) -> Result<(), String> {
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(256 << 10, archive));
    archive.set_preserve_permissions(true);
    archive.unpack(WORK_TREE).map_err(|error| match full(&error) {
        true => "the work tree and inputs do not fit within the disk limit".to_owned(),
        false => format!("the work tree could not be laid out: {error}"),
    })
}

/// The archive's reader wraps the kernel's errors in its own.
fn full(error: &io::Error) -> bool {
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = error {
        if current.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::StorageFull) {
            return true;
        }
        error = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    false
}

fn limit(plan: &Plan) -> io::Result<()> {
    let most = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let (soft, hard) = OPEN_FILES;
    set_limit(Resource::Nofile, soft.min(most), hard.min(most))?;
    set_limit(Resource::Core, 0, 0)?;
    if let Some(processes) = plan.processes_max {
        let all = processes.saturating_add(OWN_THREADS);
        set_limit(Resource::Nproc, all, all)?;
    }
    if let Some(bytes) = plan.data_bytes_max {
        set_limit(Resource::Data, bytes, bytes)?;
    }
    Ok(())
}

fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?)
}

/// Starts the command; its first instruction has run when this returns.
fn spawn(plan: &Plan) -> Result<Pid, String> {
    let program = plan.command.first().ok_or("the command is empty")?;
    let directory = Path::new(WORK_TREE).join(plan.working_directory.as_deref().unwrap_or(""));
    if !directory.is_dir() {
        let named = plan.working_directory.as_deref().unwrap_or_default();
        return Err(format!("the working directory '{named}' is not in the work tree"));
    }
    let mut command = Command::new(program);
    command.args(&plan.command[1..]).env_clear().envs(&plan.environment).current_dir(&directory);
    // A group of its own, so that a polite end reaches all of a pipeline.
    let child = command.stdin(Stdio::null()).process_group(0).spawn();
    let child = child.map_err(|error| why_not(program, &directory, plan, &error))?;
    Ok(Pid::from_child(&child))
}

/// Names what is missing: the program, or the interpreter of a script that is there.
fn why_not(program: &str, directory: &Path, plan: &Plan, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return format!("the program '{program}' could not be run: {error}");
    }
    let path = plan.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let mut places: Vec<PathBuf> = path.split(':').map(|dir| Path::new(dir).join(program)).collect();
    if program.contains('/') {
        places = vec![directory.join(program)];
    }
    match places.iter().find(|place| place.exists()) {
        Some(place) => format!("the interpreter of '{}' was not found in the sandbox", place.display()),
        None => format!("the program '{program}' was not found in the sandbox"),
    }
}

/// Carries out what the supervisor asks while the command runs.
fn obey(mut orders: UnixStream, command: &OnceLock<Pid>) {
    let mut order = [0];
    while let Ok(1) = orders.read(&mut order) {
        if order[0] == TERMINATE {
            // An order that comes before the command waits for it. Gone already is as good.
            let _ = rustix::process::kill_process_group(*command.wait(), Signal::TERM);
        }
    }
}

/// Reaps whatever ends until `command` has.
fn wait_for(command: Pid) -> io::Result<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills and reaps what the command left behind, so that nothing changes while artifacts are read.
fn end_all_others() -> io::Result<()> {
    loop {
        // SAFETY: no memory is involved; -1 means every process of this namespace but this one.
        unsafe { libc::kill(-1, libc::SIGKILL) };
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn ended(status: WaitStatus, at: BootNs) -> Event {
    let byte = |value: i32| u8::try_from(value).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Event::Exited { code: byte(code), at },
        (None, Some(signal)) => Event::Signalled { signal: byte(signal), at },
        (None, None) => unreachable!("a reaped process has exited or was killed"),
    }
}

fn send_artifacts(control: &mut UnixStream, patterns: &GlobSet) -> io::Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    send_directory(control, patterns, Path::new(""), Wanted::IfMatching, 0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    IfMatching,
    /// A directory above matched.
    All,
}

/// Walks real directories only: a symbolic link is neither followed nor sent.
fn send_directory(
    control: &mut UnixStream,
    patterns: &GlobSet,
    dir: &Path,
    wanted: Wanted,
    depth: usize,
) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(Path::new(WORK_TREE).join(dir)) else { return Ok(()) };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        if depth == 0 && name == ".git" {
            continue;
        }
        let path = dir.join(&name);
        let Ok(kind) = fs::symlink_metadata(Path::new(WORK_TREE).join(&path)).map(|found| found.file_type()) else {
            continue;
        };
        let matches = wanted == Wanted::All || patterns.is_match(&path);
        if kind.is_dir() && depth < ARTIFACT_DEPTH_MAX {
            let below = if matches { Wanted::All } else { Wanted::IfMatching };
            send_directory(control, patterns, &path, below, depth + 1)?;
        } else if kind.is_file() && matches {
            send_file(control, &path)?;
        }
    }
    Ok(())
}

fn send_file(control: &mut UnixStream, path: &Path) -> io::Result<()> {
    let shown = path.to_string_lossy().into_owned();
    let open = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(Path::new(WORK_TREE).join(path));
    let opened = open.and_then(|file| {
        let found = file.metadata()?;
        Ok((file, found))
    });
    let (file, found) = match (path.to_str(), opened) {
        (Some(_), Ok(opened)) => opened,
        (None, _) => {
            return write_frame(control, &Event::Unreadable { path: shown, why: "its name is no UTF-8".into() });
        }
        (_, Err(error)) => return write_frame(control, &Event::Unreadable { path: shown, why: error.to_string() }),
    };
    let size = found.len();
    let executable = found.permissions().mode() & 0o100 != 0;
    write_frame(control, &Event::Artifact { path: shown, size, executable })?;
    let sent = io::copy(&mut file.take(size), control)?;
    if sent == size { Ok(()) } else { Err(io::Error::other("an artifact shrank while it was read")) }
}
