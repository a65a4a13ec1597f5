//! Behind the last wall: each system call that is not on the list, one after the other.

use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;
use nix::unistd::fork;

use super::*;

/// Arguments that no call does anything with: no address, no descriptor, no process has this.
const NOTHING: [libc::c_long; 6] = [-1; 6];

/// What becomes of a process that makes one call, behind the wall or without it.
fn after(walled: bool, call: libc::c_long, arguments: [libc::c_long; 6]) -> WaitStatus {
    // SAFETY: the child uses the kernel and the allocator, whose locks the C library carries over
    // a fork, and ends without running anything of the test.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        ForkResult::Child => {
            // SAFETY: takes a number; the kernel ends a child that a call puts to sleep.
            unsafe { libc::alarm(30) };
            if walled && forbid_system_calls().is_err() {
                exit_now(99);
            }
            let [a, b, c, d, e, f] = arguments;
            // SAFETY: the arguments are numbers, and nothing of this process lies at -1.
            unsafe { libc::syscall(call, a, b, c, d, e, f) };
            exit_now(0)
        }
    }
}

fn is_killed(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _))
}

#[test]
fn every_system_call_that_is_not_on_the_list_ends_the_process() {
    let looked_at = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_fcntl];
    // Linux 6.14 and newer pass these two by every filter: probes of the kernel return by them, and
    // from anywhere else they do nothing (uretprobe and uprobe).
    let probes = if cfg!(target_arch = "x86_64") { 335..337 } else { 0..0 };
    let highest = 600;
    let mut let_through = Vec::new();
    let mut tried = 0;
    // Numbers that no kernel knows yet are calls of tomorrow; x32 is another way to the same ones.
    let x32 = [0x4000_0000 | libc::SYS_read, 0x4000_0000 | 520];
    for call in (0..highest).chain(x32) {
        if COMPUTING.contains(&call) || looked_at.contains(&call) || probes.contains(&call) {
            continue;
        }
        tried += 1;
        if !is_killed(after(true, call, NOTHING)) {
            let_through.push(call);
        }
    }
    assert_eq!(let_through, Vec::<libc::c_long>::new());
    assert!(tried > 550, "{tried}");
}

#[test]
fn the_calls_of_an_intruder_do_nothing_behind_the_wall_that_they_do_outside() {
    // With arguments that are refused: outside the process lives on.
    for call in [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_openat,
        libc::SYS_execve,
        libc::SYS_clone3,
        libc::SYS_memfd_create,
        libc::SYS_pidfd_getfd,
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_kill,
    ] {
        let outside = after(false, call, NOTHING);
        assert!(matches!(outside, WaitStatus::Exited(_, 0)), "{call}: {outside:?}");
        let inside = after(true, call, NOTHING);
        assert!(is_killed(inside), "{call}: {inside:?}");
    }
}

#[test]
fn memory_never_becomes_executable_and_descriptors_are_only_looked_at() {
    let at_least = |rights: i32| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        [0, 4096, libc::c_long::from(rights), libc::c_long::from(flags), -1, 0]
    };
    let (plain, code) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC);
    let of = |command: i32| [0, libc::c_long::from(command), 0, 0, 0, 0];
    for (call, allowed, forbidden) in [
        (libc::SYS_mmap, at_least(plain), at_least(code)),
        (libc::SYS_mprotect, at_least(plain), at_least(code)),
        (libc::SYS_fcntl, of(libc::F_GETFD), of(libc::F_DUPFD)),
    ] {
        let status = after(true, call, allowed);
        assert!(matches!(status, WaitStatus::Exited(_, 0)), "{call}: {status:?}");
        let outside = after(false, call, forbidden);
        assert!(matches!(outside, WaitStatus::Exited(_, 0)), "{call}: {outside:?}");
        let inside = after(true, call, forbidden);
        assert!(is_killed(inside), "{call}: {inside:?}");
    }
}
