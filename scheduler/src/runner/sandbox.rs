//! The sandbox runner: namespaces, filters and scratch space by bubblewrap, caps by control groups.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cobs::job::spec::{Limit, RunnerKind};
use rustix::event::{PollFd, PollFlags};

use super::clock::{self, BootNs};
use super::finished::Finished;
use super::group::{Controller, Group, GroupParent};
use super::launch::Launch;
use super::request::RunRequest;
use super::run::{self, ARM_WAIT, Adopted, Run, RunError};
use super::smoke;
use super::supervisor::ARMED;
use super::{Capability, Enforcement, LimitKind, Runner, StartError};
use crate::fault;

/// How supervisors are started: `program args... RUN_DIR`, which must call [`super::supervise`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SupervisorCommand {
    /// The binary; it is also bound into the sandbox.
    pub program: PathBuf,
    /// What makes it supervise; the run directory is appended.
    pub args: Vec<String>,
}

/// What a machine says about its sandboxes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SandboxConfig {
    /// Names the control groups of this home: letters, digits and dashes.
    pub home_id: String,
    /// How supervisors are started.
    pub supervisor: SupervisorCommand,
    /// The bubblewrap program.
    pub bubblewrap: PathBuf,
    /// Whom a daemon that is root makes its jobs; never 0.
    pub uid: u32,
    /// Its group; never 0.
    pub gid: u32,
}

impl SandboxConfig {
    /// The usual places and the user that owns nothing.
    pub fn new(home_id: String, supervisor: SupervisorCommand) -> Self {
        Self { home_id, supervisor, bubblewrap: "/usr/bin/bwrap".into(), uid: 65534, gid: 65534 }
    }
}

/// The sandbox runner of one home.
#[derive(Clone, Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    groups: GroupParent,
    limits: BTreeMap<LimitKind, Enforcement>,
}

impl Sandbox {
    /// Makes the parent of this home's control groups and finds out what can be enforced.
    pub fn new(config: SandboxConfig) -> Self {
        let groups = GroupParent::prepare(&config.home_id);
        let limits = enforced(&groups);
        Self { config, groups, limits }
    }

    /// Removes the control groups' parent, for a home that is gone for good, such as a demo's. Nothing may run.
    pub fn leave(&self) {
        self.groups.remove();
    }

    fn refuse_unenforced(&self, request: &RunRequest) -> Result<(), StartError> {
        for (kind, limit) in kinds(request) {
            if let (true, Some(Enforcement::BestEffort { why })) = (limit.strict, self.limits.get(&kind)) {
                return Err(StartError::NotEnforced { limit: kind, why: why.clone() });
            }
        }
        Ok(())
    }

    pub(super) fn launch(&self, request: &RunRequest) -> io::Result<Launch> {
        Ok(Launch {
            request: request.clone(),
            groups: self.groups.clone(),
            bubblewrap: self.config.bubblewrap.clone(),
            uid: self.config.uid,
            gid: self.config.gid,
            boot_id: clock::boot_id()?,
        })
    }

    /// Starts the supervisor in a session of its own with nothing of ours but an ear for its first line.
    fn spawn(&self, run_dir: &Path) -> io::Result<Child> {
        let SupervisorCommand { program, args } = &self.config.supervisor;
        let mut command = Command::new(program);
        command.args(args).arg(run_dir).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        #[cfg(debug_assertions)]
        if let Some(file) = fault::file() {
            command.env(fault::VARIABLE, file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(run_dir.join("supervisor.err"))?);
        // SAFETY: two system calls that touch no memory.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                // Libraries open descriptors without the flag that would close them.
                match libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        command.spawn()
    }
}

impl Runner for Sandbox {
    fn kind(&self) -> RunnerKind {
        RunnerKind::Sandbox
    }

    fn probe(&self, scratch: &Path) -> Capability {
        Capability { kind: RunnerKind::Sandbox, unusable: smoke::run(self, scratch).err(), limits: self.limits.clone() }
    }

    fn start(&self, run_dir: &Path, request: &RunRequest) -> Result<Run, StartError> {
        request.check()?;
        self.refuse_unenforced(request)?;
        if self.config.uid == 0 || self.config.gid == 0 {
            return Err(StartError::Root);
        }
        let io = |source| StartError::Io { dir: run_dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(io)?;
        let run_dir = run_dir.canonicalize().map_err(io)?;
        let launch = self.launch(request).map_err(io)?;
        // Before the warm-up, which holds up whoever makes a group meanwhile. The supervisor tells if it fails.
        let _ = launch.group().make();
        let groups = self.groups.clone();
        thread("warm-up").spawn(move || groups.warm_up()).map_err(io)?;
        launch.write(&run_dir).map_err(io)?;
        fault::pass("request.written");
        let spawned = BootNs::now();
        let mut child = self
            .spawn(&run_dir)
            .map_err(|source| StartError::Supervisor { program: self.config.supervisor.program.clone(), source })?;
        // A child must be waited for; this costs a blocked thread, and the supervisor lives on without us.
        let armed = hear_armed(&mut child).and_then(|armed| {
            thread("reaper").spawn(move || child.wait())?;
            Ok(armed)
        });
        let run = Run::new(run_dir.clone(), request.run, Some(spawned));
        match armed {
            Ok(true) => Ok(run),
            // It ended before it was ready, and says why in its outcome, or died.
            Ok(false) => run::adopt(&run_dir).map(|_| run).map_err(StartError::Run),
            Err(source) => {
                // It may be armed all the same, and what is told as not started must not run.
                let _ = self.reap(&run_dir);
                Err(io(source))
            }
        }
    }

    fn adopt(&self, run_dir: &Path) -> Result<Adopted, RunError> {
        let run_dir = run_dir.canonicalize();
        run_dir.map_err(|source| RunError::Io { dir: PathBuf::new(), source }).and_then(|dir| run::adopt(&dir))
    }

    fn reap(&self, run_dir: &Path) -> Result<Finished, RunError> {
        match self.adopt(run_dir)? {
            Adopted::Ended(finished) | Adopted::Dead(finished) => Ok(finished),
            Adopted::Alive(run) => {
                run.kill(super::StopReason::Fenced)?;
                Ok(run.wait(None)?.expect("there was no limit to the wait"))
            }
        }
    }

    fn reap_others(&self, known: &[Run]) -> Vec<String> {
        let known: Vec<String> = known.iter().map(|run| super::launch::group_name(&run.id())).collect();
        let mut reaped = Vec::new();
        for name in self.groups.groups().into_iter().filter(|name| !known.contains(name)) {
            let group = Group::of(&self.groups, &name);
            group.empty();
            if group.remove().is_ok() {
                reaped.push(name);
            }
        }
        reaped
    }
}

/// A thread that does next to nothing.
fn thread(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned()).stack_size(64 << 10)
}

/// Whether the supervisor said that it is armed, before it ended or too much time passed.
fn hear_armed(child: &mut Child) -> io::Result<bool> {
    let out = child.stdout.take().expect("it was piped");
    let wait = rustix::time::Timespec { tv_sec: ARM_WAIT.as_secs().cast_signed(), tv_nsec: 0 };
    if rustix::event::poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&wait))? == 0 {
        child.kill()?;
        return Ok(false);
    }
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(line.trim_end() == ARMED)
}

/// What holds here: the supervisor and the kernel keep disk, wall and log anywhere, control groups the rest.
fn enforced(groups: &GroupParent) -> BTreeMap<LimitKind, Enforcement> {
    let by_group = |controller, otherwise: &str| match groups.missing.get(&controller) {
        Some(why) if !groups.controllers.contains_key(&controller) => {
            Enforcement::BestEffort { why: format!("{why}; {otherwise}") }
        }
        _ => Enforcement::Strict,
    };
    BTreeMap::from([
        (LimitKind::CpuMilli, by_group(Controller::Cpu, "processor time is shared evenly")),
        (LimitKind::MemoryBytes, by_group(Controller::Memory, "it is kept per process, by RLIMIT_DATA")),
        (LimitKind::Processes, by_group(Controller::Pids, "it is kept by RLIMIT_NPROC")),
        (LimitKind::DiskBytes, Enforcement::Strict),
        (LimitKind::WallMs, Enforcement::Strict),
        (LimitKind::LogBytes, Enforcement::Strict),
    ])
}

fn kinds(request: &RunRequest) -> [(LimitKind, Limit); 6] {
    let limits = &request.limits;
    [
        (LimitKind::CpuMilli, limits.cpu_milli),
        (LimitKind::MemoryBytes, limits.memory_bytes),
        (LimitKind::Processes, limits.processes),
        (LimitKind::DiskBytes, limits.disk_bytes),
        (LimitKind::WallMs, limits.wall_ms),
        (LimitKind::LogBytes, limits.log_bytes),
    ]
}
