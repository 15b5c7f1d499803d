//! How bubblewrap is called: its arguments, the job's environment, and starting it on a [`Stage`].
//!
//! The one place that knows bubblewrap.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cobs::job::spec::Work;
use rustix::fs::MemfdFlags;

use super::group::{Controller, Group};
use super::init::WORK_TREE;
use super::inside::{CONTROL_FD, Plan, write_frame};
use super::launch::Launch;
use super::request::RunRequest;
use super::seccomp;
use super::stage::{Bind, BindKind, HostUser, Maps, STAGE, Stage};

/// Where the sandbox's own binary is bound.
const INIT: &str = "/.rhizome/init";
/// The job's home, outside of the work tree so that caches do not end up in it.
const HOME: &str = "/home/job";
/// Who the job is inside.
const JOB_ID: &str = "1000";
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Bytes of scratch space per file that may be made in it, and the least number of files.
const BYTES_PER_INODE: u64 = 2048;
const INODES_MIN: u64 = 16 << 10;

/// What of the host's configuration programs need to find their libraries, alternatives and certificates.
const ETC: &[&str] =
    &["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ssl/certs"];
const PASSWD: &str = "root:x:0:0:root:/:/usr/sbin/nologin\njob:x:1000:1000:job:/home/job:/bin/sh\n";
const GROUPS: &str = "root:x:0:\njob:x:1000:\n";

/// A sandbox that was started and waits for its work tree.
#[derive(Debug)]
pub(super) struct Started {
    pub child: Child,
    /// To the first process inside; the plan is on its way.
    pub control: UnixStream,
}

/// Starts bubblewrap, which starts `init` inside. Must be called on a thread that lives as long as the run, because
/// the kernel ends the sandbox with the thread that started it.
pub(super) fn start(launch: &Launch, group: &Group, init: &[String]) -> io::Result<Started> {
    let request = &launch.request;
    let (control, inside) = UnixStream::pair()?;
    let data = data_files()?;
    let procs: Vec<File> = join_files(group)?;
    let inherited: Vec<RawFd> = [inside.as_raw_fd()].into_iter().chain(data.iter().map(AsRawFd::as_raw_fd)).collect();
    let root = rustix::process::geteuid().is_root();
    let stage = Stage {
        procs_fds: procs.iter().map(AsRawFd::as_raw_fd).collect(),
        binds: binds(request)?,
        scratch_options: scratch_options(request.limits.disk_bytes.value),
        user: if root { HostUser::Drop { uid: launch.uid, gid: launch.gid } } else { HostUser::Keep },
        inherited,
        supervisor: rustix::process::getpid().as_raw_nonzero().get(),
        maps: (!root).then(Maps::own),
    };
    let mut command = Command::new(&launch.bubblewrap);
    command.args(arguments(request)).args(init).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: `enter` only makes system calls on memory laid out here.
    unsafe { command.pre_exec(move || stage.enter()) };
    let child = command.spawn()?;
    let mut sender = control.try_clone()?;
    write_frame(&mut sender, &plan(request, launch))?;
    Ok(Started { child, control })
}

/// Everything up to and including the first program inside.
pub(super) fn arguments(request: &RunRequest) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    add(&["--ro-bind", "/usr", "/usr"]);
    for dir in ["/bin", "/sbin", "/lib", "/lib32", "/lib64"] {
        match fs::read_link(dir) {
            Ok(target) => add(&["--symlink", &target.to_string_lossy(), dir]),
            Err(_) => add(&["--ro-bind-try", dir, dir]),
        }
    }
    for path in ETC {
        add(&["--ro-bind-try", path, path]);
    }
    add(&["--ro-bind-data", &fd(1), "/etc/passwd", "--ro-bind-data", &fd(2), "/etc/group"]);
    add(&["--ro-bind", &format!("{STAGE}/init"), INIT]);
    for (index, directory) in request.directories.iter().enumerate() {
        add(&["--ro-bind", &format!("{STAGE}/dir{index}"), &directory.mount_point().to_string_lossy()]);
    }
    add(&["--proc", "/proc", "--dev", "/dev"]);
    for (name, inside) in [("shm", "/dev/shm"), ("tmp", "/tmp"), ("home", HOME), ("job", WORK_TREE)] {
        add(&["--bind", &format!("{STAGE}/scratch/{name}"), inside]);
    }
    // Both are file systems in memory that nothing else would cap.
    add(&["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK_TREE]);
    add(&["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup"]);
    add(&["--disable-userns", "--die-with-parent", "--new-session", "--hostname", "job"]);
    add(&["--uid", JOB_ID, "--gid", JOB_ID, "--clearenv", "--setenv", "PATH", PATH, "--setenv", "LANG", "C.UTF-8"]);
    add(&["--add-seccomp-fd", &fd(3), "--add-seccomp-fd", &fd(4), "--as-pid-1", "--", INIT]);
    args
}

/// Bubblewrap alone with the same arguments, for measuring: no supervisor, control group, stage or process of ours.
pub(super) fn bare(launch: &Launch, words: &[&str]) -> io::Result<Command> {
    let data = data_files()?;
    let size = launch.request.limits.disk_bytes.value.to_string();
    let scratch = format!("{STAGE}/scratch/");
    let mut args: Vec<OsString> = Vec::new();
    for arg in arguments(&launch.request) {
        let text = arg.to_string_lossy();
        if text.starts_with(&scratch) {
            // What the stage would have bound is a file system of its own here.
            args.pop();
            args.extend(["--size", &size, "--tmpfs"].map(OsString::from));
        } else if text == format!("{STAGE}/init") {
            args.push("/usr/bin/true".into());
        } else {
            args.push(arg);
        }
    }
    args.pop();
    let mut command = Command::new(&launch.bubblewrap);
    command.args(args).args(words).env_clear().current_dir("/").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(launch.uid).gid(launch.gid);
    }
    // SAFETY: `dup2` only; the files live as long as the closure that holds them.
    unsafe {
        command.pre_exec(move || {
            for (at, file) in (CONTROL_FD + 1..).zip(&data) {
                if libc::dup2(file.as_raw_fd(), at) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    Ok(command)
}

/// The number of the descriptor passed at `place`, the control socket being at 0.
fn fd(place: i32) -> String {
    (CONTROL_FD + place).to_string()
}

fn plan(request: &RunRequest, launch: &Launch) -> Plan {
    let Work::Command { command, working_directory, .. } = &request.work;
    let counted = |controller| launch.groups.controllers.contains_key(&controller);
    Plan {
        command: command.clone(),
        environment: environment(request),
        working_directory: working_directory.clone(),
        artifacts: request.artifacts.clone(),
        processes_max: (!counted(Controller::Pids)).then_some(request.limits.processes.value),
        data_bytes_max: (!counted(Controller::Memory)).then_some(request.limits.memory_bytes.value),
    }
}

/// The job's whole environment: what the sandbox says, then the directories, then the job; who it is stays ours.
fn environment(request: &RunRequest) -> BTreeMap<String, String> {
    let Work::Command { environment, .. } = &request.work;
    let bins = request.directories.iter().flat_map(|directory| {
        directory.bin.iter().map(|bin| directory.mount_point().join(bin).to_string_lossy().into_owned())
    });
    let path = bins.chain([PATH.to_owned()]).collect::<Vec<_>>().join(":");
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let mut all = text(&[
        ("CI", "true"),
        ("HOME", HOME),
        ("LANG", "C.UTF-8"),
        ("LOGNAME", "job"),
        ("PATH", &path),
        ("TERM", "dumb"),
        ("USER", "job"),
    ]);
    for directory in &request.directories {
        all.extend(directory.environment.clone());
    }
    all.extend(environment.clone());
    let run = &request.run;
    all.extend(text(&[("RHIZOME_JOB", &run.job.to_string()), ("RHIZOME_TOKEN", &run.token.to_string())]));
    all
}

fn binds(request: &RunRequest) -> io::Result<Vec<Bind>> {
    let own = std::env::current_exe()?;
    let mut binds = vec![Bind::new(&own, "init", BindKind::File)?];
    for (index, directory) in request.directories.iter().enumerate() {
        binds.push(Bind::new(&directory.host, &format!("dir{index}"), BindKind::Directory)?);
    }
    Ok(binds)
}

fn scratch_options(bytes: u64) -> CString {
    let inodes = (bytes / BYTES_PER_INODE).max(INODES_MIN);
    CString::new(format!("mode=0755,size={bytes},nr_inodes={inodes}")).expect("numbers hold no NUL")
}

fn join_files(group: &Group) -> io::Result<Vec<File>> {
    let open = |path: PathBuf| File::options().write(true).open(path);
    group.procs_files().into_iter().map(open).collect()
}

/// What bubblewrap reads from descriptors, in their order after the control socket.
fn data_files() -> io::Result<Vec<File>> {
    let [denied, absent] = seccomp::programs().map_err(io::Error::other)?;
    let files = [("passwd", PASSWD.as_bytes()), ("group", GROUPS.as_bytes()), ("denied", &denied), ("absent", &absent)];
    files.into_iter().map(|(name, bytes)| in_memory(name, bytes)).collect()
}

/// A file without a place, for bubblewrap to read from its start.
fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Names what of `launch` is not there, before a system call in the child can only say that something is not.
pub(super) fn missing(launch: &Launch) -> Option<String> {
    let gone = |what: &str, path: &Path| format!("{what} '{}' is not there", path.display());
    if !launch.bubblewrap.is_file() {
        return Some(gone("bubblewrap", &launch.bubblewrap));
    }
    let directories = &launch.request.directories;
    let missing = directories.iter().find(|directory| !directory.host.is_dir());
    missing.map(|directory| gone(&format!("the directory '{}'", directory.name), &directory.host))
}
