//! The two system call filters of the sandbox, as raw BPF for bubblewrap.
//!
//! The first is a deny list that answers EPERM: what a build never needs and an escape does. The second answers
//! ENOSYS where libc knows a fallback that the first can look into (`clone3` hides its flags behind a pointer).

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

const DENIED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vmsplice,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];

const NAMESPACE_FLAGS: &[i32] = &[
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Kernel memory, packets and host sockets stay out of reach even where the kernel would let a job open them.
const DENIED_FAMILIES: &[i32] = &[libc::AF_ALG, libc::AF_PACKET, libc::AF_VSOCK];

/// Typing into a terminal that somebody else reads.
const DENIED_IOCTLS: &[u64] = &[libc::TIOCSTI, TIOCLINUX];
const TIOCLINUX: u64 = 0x541C;

/// Calls of the x32 ABI have this bit and would slip past numbers of the 64-bit one.
const X32_BIT: u32 = 0x4000_0000;

/// Both filters, each as bubblewrap reads it from a file descriptor.
pub(super) fn programs() -> Result<[Vec<u8>; 2], BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let flag = |bit: &i32| masked(0, u64::from(bit.cast_unsigned()));
    rules.insert(libc::SYS_clone, NAMESPACE_FLAGS.iter().map(flag).collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_ioctl, DENIED_IOCTLS.iter().map(|call| equals(1, *call)).collect::<Result<_, _>>()?);
    let family = |family: &i32| equals(0, u64::from(family.cast_unsigned()));
    rules.insert(libc::SYS_socket, DENIED_FAMILIES.iter().map(family).collect::<Result<_, _>>()?);
    let deny = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into()?;
    let list: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, deny, arch)?.try_into()?;
    Ok([bytes(&list), bytes(&no_such_call())])
}

fn equals(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
    SeccompRule::new(vec![condition])
}

fn masked(argument: u8, bit: u64) -> Result<SeccompRule, BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit)?;
    SeccompRule::new(vec![condition])
}

/// `clone3` and the whole x32 ABI do not exist. The architecture was checked by the first filter.
fn no_such_call() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const RETURN_ERRNO: u32 = 0x0005_0000;
    const RETURN_ALLOW: u32 = 0x7fff_0000;
    let clone3 = u32::try_from(libc::SYS_clone3).expect("call numbers are small");
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        instruction(LOAD_NUMBER, 0, 0, 0),
        instruction(JUMP_EQUAL, 2, 0, clone3),
        instruction(JUMP_AT_LEAST, 1, 0, X32_BIT),
        instruction(RETURN, 0, 0, RETURN_ALLOW),
        instruction(RETURN, 0, 0, RETURN_ERRNO | libc::ENOSYS.cast_unsigned()),
    ]
}

/// `struct sock_filter` as the kernel lays it out.
fn bytes(program: &BpfProgram) -> Vec<u8> {
    let one = |step: &sock_filter| {
        let [c0, c1] = step.code.to_ne_bytes();
        let [k0, k1, k2, k3] = step.k.to_ne_bytes();
        [c0, c1, step.jt, step.jf, k0, k1, k2, k3]
    };
    program.iter().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_compile() {
        // Each is a whole number of 8-byte instructions and within the kernel's 4,096.
        for program in programs().unwrap() {
            assert!(!program.is_empty() && program.len() % 8 == 0 && program.len() / 8 <= 4096);
        }
    }
}
