//! What a job may try, and how each of it ends: nothing outside is read, written, reached or used up.

use cobs::job::outcome::RunOutcome;
use scheduler::runner::request::RunRequest;

use crate::harness::{Tests, any_process_has, command, exited, finish, script, strict};

pub const TESTS: Tests = &[
    ("escapes::who_a_job_is", who_a_job_is),
    ("escapes::writing_outside", writing_outside),
    ("escapes::the_network", the_network),
    ("escapes::other_processes", other_processes),
    ("escapes::the_proc_of_the_host", the_proc_of_the_host),
    ("escapes::the_supervisor_from_inside", the_supervisor_from_inside),
    ("escapes::mounts_and_namespaces", mounts_and_namespaces),
    ("escapes::device_nodes", device_nodes),
    ("escapes::the_first_process", the_first_process),
    ("escapes::a_fork_bomb", a_fork_bomb),
    ("escapes::a_memory_bomb", a_memory_bomb),
    ("escapes::filling_the_disk", filling_the_disk),
    ("escapes::the_environment_and_descriptors", the_environment_and_descriptors),
    ("escapes::processor_time", processor_time),
];

fn python(text: &str) -> RunRequest {
    command(&["python3", "-c", text])
}

fn says(request: &RunRequest) -> String {
    let (finished, log) = finish(request);
    assert_eq!(finished.outcome, exited(0), "{:?} {log}", finished.reason);
    log
}

fn who_a_job_is() {
    // Not root inside or out, no capabilities, no new privileges, two filters.
    let log =
        says(&script("id -u; id -un; grep -E 'Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs|Seccomp' /proc/self/status; hostname"));
    assert!(log.starts_with("1000\njob\n"), "{log}");
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp_filters:\t2"] {
        assert!(log.contains(line), "{line} in {log}");
    }
}

fn writing_outside() {
    // Only work tree, home, temporary files and shared memory take a file.
    let places = "/ /usr /etc /bin /dev /proc /.rhizome /mnt /dir /home";
    let log = says(&script(&format!(
        "for d in {places}; do touch $d/x 2>/dev/null && echo wrote $d; done; \
         for d in /job /home/job /tmp /dev/shm; do touch $d/x || echo no $d; done; \
         ls -a / | tr '\\n' ' '; test -e /root || echo no root; test -e /sys || echo no sys"
    )));
    assert!(!log.contains("wrote") && !log.contains("no /"), "{log}");
    assert!(log.contains("no root") && log.contains("no sys"), "{log}");
}

fn the_network() {
    // Its own network namespace holds a loopback and nothing else; packet, host and kernel sockets are not to be had.
    let log = says(&python(
        "import socket\n\
         for family, name in ((17,'packet'), (40,'vsock'), (38,'alg')):\n\
         \x20try: socket.socket(family, socket.SOCK_RAW); print(name, 'open')\n\
         \x20except OSError as e: print(name, e.errno)\n\
         for at in (('192.0.2.1', 80), ('8.8.8.8', 53)):\n\
         \x20try: socket.create_connection(at, 2); print('reached')\n\
         \x20except OSError as e: print('net', e.errno)\n\
         print([n for _, n in socket.if_nameindex()])",
    ));
    assert_eq!(log, "packet 1\nvsock 1\nalg 1\nnet 101\nnet 101\n['lo']\n");
}

fn other_processes() {
    // A namespace of its own: it sees the sandbox's first process and itself, and no process of the host.
    let host = std::process::id();
    let log = says(&script(&format!(
        "ls /proc | grep -cE '^[0-9]+$'; kill -0 {host} 2>&1; kill -9 -1 2>/dev/null; echo still here"
    )));
    // `kill -1` ends what is in the sandbox at most, and the shell that called it is spared by the kernel.
    let count: u32 = log.lines().next().unwrap().parse().unwrap();
    assert!(count <= 5, "{log}");
    assert!(log.contains("No such process") && log.contains("still here"), "{log}");
}

fn the_proc_of_the_host() {
    // What /proc says of the machine as a whole is not to be written, its memory and messages not to be read, and no
    // process of it shows another root.
    let host = std::process::id();
    let log = says(&script(&format!(
        "for f in sysrq-trigger sys/kernel/hostname sys/kernel/core_pattern sys/vm/drop_caches 1/oom_score_adj; do \
           (echo 1 >/proc/$f) 2>/dev/null && echo wrote $f; done; \
         for f in kcore kmsg 1/environ 1/maps {host}/environ {host}/status; do \
           head -c 1 /proc/$f >/dev/null 2>&1 && echo read $f; done; \
         ls /proc/1/root/ /proc/1/cwd/ /proc/{host}/root/ 2>/dev/null; ls /proc/self/root/ | grep -cx root; echo end"
    )));
    assert_eq!(log, "0\nend\n");
}

fn the_supervisor_from_inside() {
    // No process inside is the supervisor, whatever number is tried; the run ends as its command does.
    let log = says(&script(
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'super[v]ise'; \
         i=2; while [ $i -lt 40000 ]; do [ $i = $$ ] || kill -9 $i 2>/dev/null; i=$((i+1)); done; echo ends by itself",
    ));
    assert_eq!(log, "0\nends by itself\n");
}

fn mounts_and_namespaces() {
    // Each way to a new mount or namespace is denied, also the ones that hide their flags.
    let tries = "unshare -U true|unshare -m true|unshare -Ur true|mount -t tmpfs x /tmp|mount --bind /tmp /job|\
                 umount /proc|nsenter -t 1 -m true|python3 -c 'import os; os.chroot(\"/tmp\")'";
    let tried: Vec<_> = tries.split('|').collect();
    let each: Vec<_> = tried.iter().map(|one| format!("{one} 2>/dev/null && echo done: {one:?}")).collect();
    assert_eq!(says(&script(&format!("{}; exit 0", each.join("; ")))), "");
    let clone = says(&python(
        "import ctypes, os\n\
         c = ctypes.CDLL(None, use_errno=True)\n\
         def call(n, *a):\n\
         \x20r = c.syscall(n, *a); print(n, r, ctypes.get_errno())\n\
         \x20if r == 0: os._exit(0)\n\
         call(56, 0x10000000 | 17, 0, 0, 0, 0)\n\
         call(56, 0x00020000 | 17, 0, 0, 0, 0)\n\
         call(435, 0, 0)\n\
         call(0x40000000 + 39)\n\
         call(101, 16, 1, 0, 0)\n\
         call(438, -1, 0, 0)\n",
    ));
    if cfg!(target_arch = "x86_64") {
        assert_eq!(clone, "56 -1 1\n56 -1 1\n435 -1 38\n1073741863 -1 38\n101 -1 1\n438 -1 1\n");
    }
}

fn device_nodes() {
    // None can be made, and those that are there are the harmless ones.
    let log = says(&script("mknod /tmp/sda b 8 0 2>&1; mknod /tmp/mem c 1 1 2>&1; ls /dev | tr '\\n' ' '"));
    assert_eq!(log.matches("Operation not permitted").count(), 2, "{log}");
    for device in ["vda", "sda", "mem", "kvm", "fuse"] {
        assert!(!log.lines().last().unwrap().split(' ').any(|name| name == device), "{log}");
    }
}

fn the_first_process() {
    // It neither dies by the job's signals nor shows its memory or descriptors, so results cannot be forged.
    let log = says(&script(
        "kill -TERM 1; kill -KILL 1; kill -INT 1; ls /proc/1/fd 2>&1; cat /proc/1/mem 2>&1; echo >/proc/1/fd/200; \
         cat /proc/1/environ 2>&1; tr '\\0' ' ' </proc/1/cmdline; echo alive",
    ));
    assert!(log.matches("Permission denied").count() >= 4, "{log}");
    assert!(log.ends_with("alive\n"), "{log}");
}

fn a_fork_bomb() {
    // It meets its own limit; the machine and this test go on, and nothing of it outlives the wall limit.
    // the shell itself does not fork once there is a bomb: that would fail as the bomb's do, and end it
    let mut request = script("sleep 60 & s=$!; echo up; b() { b 4716 | b 4716 & }; (b) & wait $s");
    request.limits.wall_ms = strict(1_500);
    request.limits.cpu_milli = strict(300);
    request.limits.processes = strict(20);
    let (finished, log) = finish(&request);
    assert_eq!(finished.outcome, RunOutcome::TimedOut, "{log}");
    assert!(log.contains("Cannot fork"), "{log}");
    // And exactly: the shell and seven sleepers are the eight that it may have.
    let mut request = script("i=0; while sleep 50 & do i=$((i+1)); echo $i; [ $i -gt 99 ] && break; done");
    request.limits.processes = strict(8);
    let (_, log) = finish(&request);
    assert!(log.contains("7\n") && log.contains("Cannot fork") && !log.contains('8'), "{log}");
    assert!(!any_process_has("4716"));
}

fn a_memory_bomb() {
    // In processes or in the scratch space, it is the job's own memory.
    let mut request = script("exec tail /dev/zero");
    request.limits.memory_bytes = strict(32 << 20);
    assert_eq!(finish(&request).0.outcome, RunOutcome::OutOfMemory);
    let mut request = script("exec dd if=/dev/zero of=/tmp/x bs=1M count=500");
    request.limits.memory_bytes = strict(32 << 20);
    request.limits.disk_bytes = strict(1 << 30);
    assert_eq!(finish(&request).0.outcome, RunOutcome::OutOfMemory);
}

fn filling_the_disk() {
    // Work tree, temporary files, home and shared memory share one limit, in bytes and in files.
    let mut request = script(
        "for f in /job/a /tmp/b /home/job/c /dev/shm/d; do dd if=/dev/zero of=$f bs=64k count=40 2>&1 | tail -1; done; \
         cat /job/a /tmp/b /home/job/c /dev/shm/d | wc -c; i=0; while : >/job/f$i; do i=$((i+1)); done 2>/dev/null; echo no",
    );
    request.limits.disk_bytes = strict(8 << 20);
    let (finished, log) = finish(&request);
    let bytes: u64 = log.lines().find_map(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("{log}"));
    assert!(bytes <= 8 << 20 && bytes > 7 << 20, "{log}");
    assert!(matches!(finished.outcome, RunOutcome::Exited { .. }), "{log}");
}

fn the_environment_and_descriptors() {
    // Nothing of ours is inherited but what was made for the job.
    let request = script("env | sort; ls /proc/self/fd | tr '\\n' ' '; ulimit -c");
    let log = says(&request);
    let names: Vec<_> = log.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let expected = ["CI", "HOME", "LANG", "LOGNAME", "PATH", "PWD", "RHIZOME_JOB", "RHIZOME_TOKEN", "TERM", "USER"];
    assert_eq!(names, expected);
    assert!(log.contains(&format!("RHIZOME_TOKEN={}\n", request.run.token)), "{log}");
    // The directory that `ls` reads is the fourth.
    assert!(log.ends_with("0 1 2 3 0\n"), "{log}");
}

fn processor_time() {
    // A quarter of a core is a quarter of a core. What the interpreter took to start, seconds where it is emulated, is none
    // of the time that is looked at.
    let mut request = python(
        "import time, os\nused = lambda: sum(os.times()[:2])\nbefore, start = used(), time.monotonic()\n\
         while time.monotonic() - start < 1.5: pass\nprint(used() - before)",
    );
    request.limits.cpu_milli = strict(250);
    let seconds: f64 = says(&request).trim().parse().unwrap();
    assert!(seconds < 0.8, "{seconds}");
}
