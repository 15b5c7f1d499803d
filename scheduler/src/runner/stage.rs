//! What happens between the fork and bubblewrap: joining the control group, a mount namespace of our own with the
//! job's directories and scratch space in it, and giving up root.
//!
//! Staging the directories there, while still privileged, makes them reachable below a parent that the job's user
//! may not enter; and one size-capped file system that holds work tree, home, temporary files and shared memory is
//! what makes the disk limit one limit. All of it runs in the child of a process with threads, so it only makes system calls, on
//! memory that was laid out before the fork.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::ptr;

use super::inside::CONTROL_FD;

/// Covered in the private mount namespace; every Linux system has it.
pub(super) const STAGE: &str = "/mnt";
/// The job's directories on the scratch file system, with their modes.
const SCRATCH: [(&CStr, &CStr, libc::mode_t); 4] = [
    (c"/mnt/scratch/job", c"job", 0o755),
    (c"/mnt/scratch/home", c"home", 0o755),
    (c"/mnt/scratch/tmp", c"tmp", 0o1777),
    (c"/mnt/scratch/shm", c"shm", 0o1777),
];
/// How much sooner than anything else the kernel takes the job when memory runs out, 0 to 1000.
const OOM_SCORE_ADJ: &[u8] = b"800";

/// Everything the child needs, laid out before the fork.
#[derive(Debug)]
pub(super) struct Stage {
    /// Control groups to join.
    pub procs_fds: Vec<RawFd>,
    /// What is bound where below [`STAGE`].
    pub binds: Vec<Bind>,
    /// Mount options of the scratch space.
    pub scratch_options: CString,
    /// Who the job is on the host.
    pub user: HostUser,
    /// Kept open across the exec at [`CONTROL_FD`] and after it, in this order.
    pub inherited: Vec<RawFd>,
    /// The process whose death is to be the job's.
    pub supervisor: libc::pid_t,
    /// Lines for a user namespace, where one is needed to mount at all.
    pub maps: Option<Maps>,
}

/// One directory or file of the host.
#[derive(Debug)]
pub(super) struct Bind {
    source: CString,
    target: CString,
    kind: BindKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BindKind {
    Directory,
    File,
}

/// Who the job is on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HostUser {
    /// We are root and become these.
    Drop { uid: libc::uid_t, gid: libc::gid_t },
    /// We are not root, and the job is who we are.
    Keep,
}

#[derive(Debug)]
pub(super) struct Maps {
    uid: CString,
    gid: CString,
}

impl Maps {
    pub fn own() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let line = |id| CString::new(format!("{id} {id} 1")).expect("numbers hold no NUL");
        Self { uid: line(uid), gid: line(gid) }
    }
}

impl Bind {
    pub fn new(source: &Path, name: &str, kind: BindKind) -> io::Result<Self> {
        let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
        let target = Path::new(STAGE).join(name);
        Ok(Self { source: text(source)?, target: text(&target)?, kind })
    }
}

impl Stage {
    /// Runs in the child, after the fork and before the exec.
    pub fn enter(&self) -> io::Result<()> {
        self.join_groups()?;
        write_file(c"/proc/self/oom_score_adj", OOM_SCORE_ADJ)?;
        self.unshare()?;
        self.bind_all()?;
        self.make_scratch()?;
        let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `no_core` outlives the call.
        check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core) })?;
        self.drop_root()?;
        self.pass_descriptors()?;
        self.die_with_supervisor()
    }

    fn join_groups(&self) -> io::Result<()> {
        for fd in &self.procs_fds {
            // SAFETY: the bytes are static; "0" means the writer itself.
            check_size(unsafe { libc::write(*fd, b"0".as_ptr().cast(), 1) })?;
        }
        Ok(())
    }

    fn unshare(&self) -> io::Result<()> {
        let user = if self.maps.is_some() { libc::CLONE_NEWUSER } else { 0 };
        // SAFETY: no memory is involved.
        check(unsafe { libc::unshare(libc::CLONE_NEWNS | user) })?;
        if let Some(maps) = &self.maps {
            write_file(c"/proc/self/setgroups", b"deny")?;
            write_file(c"/proc/self/uid_map", maps.uid.as_bytes())?;
            write_file(c"/proc/self/gid_map", maps.gid.as_bytes())?;
        }
        mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None)
    }

    fn bind_all(&self) -> io::Result<()> {
        // Every source is opened before the stage covers what may lie below it.
        let mut opened = [-1; super::request::DIRECTORIES_MAX + 1];
        for (slot, bind) in opened.iter_mut().zip(&self.binds) {
            // SAFETY: the path is NUL-terminated.
            *slot = check(unsafe { libc::open(bind.source.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) })?;
        }
        mount(Some(c"tmpfs"), c"/mnt", Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, Some(c"mode=0755,size=1m"))?;
        for (fd, bind) in opened.iter().zip(&self.binds) {
            bind.make_target()?;
            let mut path = [0; 32];
            mount(Some(fd_path(*fd, &mut path)), &bind.target, None, libc::MS_BIND | libc::MS_REC, None)?;
        }
        Ok(())
    }

    fn make_scratch(&self) -> io::Result<()> {
        make_directory(c"/mnt/scratch", 0o755)?;
        let options = Some(self.scratch_options.as_c_str());
        mount(Some(c"tmpfs"), c"/mnt/scratch", Some(c"tmpfs"), libc::MS_NOSUID | libc::MS_NODEV, options)?;
        for (path, _, mode) in SCRATCH {
            make_directory(path, mode)?;
            if let HostUser::Drop { uid, gid } = self.user {
                // SAFETY: the path is NUL-terminated.
                check(unsafe { libc::chown(path.as_ptr(), uid, gid) })?;
            }
        }
        Ok(())
    }

    fn drop_root(&self) -> io::Result<()> {
        let HostUser::Drop { uid, gid } = self.user else { return Ok(()) };
        // The raw calls: libc's wrappers would first ask the threads that the fork left behind.
        // SAFETY: no memory is involved but an empty list of groups.
        unsafe {
            check_long(libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()))?;
            check_long(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            check_long(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        }
        Ok(())
    }

    /// Puts the inherited descriptors at [`CONTROL_FD`] and after, without the flag that would close them.
    fn pass_descriptors(&self) -> io::Result<()> {
        for (at, fd) in (CONTROL_FD..).zip(&self.inherited) {
            // SAFETY: no memory is involved, and the target lies above every descriptor that this process has.
            check(unsafe { libc::dup2(*fd, at) })?;
        }
        Ok(())
    }

    /// After the last change of credentials, which would clear it again.
    fn die_with_supervisor(&self) -> io::Result<()> {
        // SAFETY: no memory is involved.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // SAFETY: as above.
        if unsafe { libc::getppid() } == self.supervisor {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    }
}

impl Bind {
    fn make_target(&self) -> io::Result<()> {
        match self.kind {
            BindKind::Directory => make_directory(&self.target, 0o755),
            BindKind::File => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC;
                // SAFETY: the path is NUL-terminated.
                let fd = check(unsafe { libc::open(self.target.as_ptr(), flags, 0o644) })?;
                // SAFETY: it was opened just now and nobody else knows it.
                check(unsafe { libc::close(fd) }).map(drop)
            }
        }
    }
}

fn make_directory(path: &CStr, mode: libc::mode_t) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated. The second call undoes the umask.
    unsafe {
        check(libc::mkdir(path.as_ptr(), mode))?;
        check(libc::chmod(path.as_ptr(), mode)).map(drop)
    }
}

fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let text = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or NUL-terminated.
    let done = unsafe { libc::mount(text(source), target.as_ptr(), text(kind), flags, text(options).cast()) };
    check(done).map(drop)
}

fn write_file(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated, and the bytes outlive the call.
    unsafe {
        let fd = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = check_size(libc::write(fd, bytes.as_ptr().cast(), bytes.len()));
        libc::close(fd);
        written
    }
}

/// `/proc/self/fd/N`, without allocating.
fn fd_path(fd: RawFd, buffer: &mut [u8; 32]) -> &CStr {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    buffer[..PREFIX.len()].copy_from_slice(PREFIX);
    let mut divisor = 1;
    while fd / divisor >= 10 {
        divisor *= 10;
    }
    let mut at = PREFIX.len();
    while divisor > 0 {
        buffer[at] = b'0' + u8::try_from(fd / divisor % 10).expect("a digit");
        at += 1;
        divisor /= 10;
    }
    buffer[at] = 0;
    CStr::from_bytes_until_nul(buffer).expect("it was just terminated")
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_size(result: libc::ssize_t) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_paths_are_spelled_without_allocating() {
        // One, two and many digits.
        for fd in [0, 9, 10, 107, 1_048_576] {
            assert_eq!(fd_path(fd, &mut [0; 32]).to_str().unwrap(), format!("/proc/self/fd/{fd}"));
        }
    }
}
