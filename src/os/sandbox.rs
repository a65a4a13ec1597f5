//! Ways in which a process gives up what it will not need.
//!
//! Each function is one wall and says honestly whether it stands. What to call, and in which
//! order, is decided by whoever walls itself in.
#![expect(unsafe_code, reason = "capability sets and _exit have no safe call")]

use std::collections::BTreeMap;
use std::io;

use landlock::ABI;
use landlock::Access;
use landlock::AccessFs;
use landlock::AccessNet;
use landlock::CompatLevel;
use landlock::Compatible;
use landlock::Ruleset;
use landlock::RulesetAttr;
use landlock::RulesetStatus;
use landlock::Scope;
use nix::sys::mman::MlockAllFlags;
use nix::sys::resource::Resource;
use nix::sys::signal::SigHandler;
use nix::sys::signal::Signal;
use seccompiler::SeccompAction;
use seccompiler::SeccompCmpArgLen;
use seccompiler::SeccompCmpOp;
use seccompiler::SeccompCondition;
use seccompiler::SeccompFilter;
use seccompiler::SeccompRule;

/// How far a wall stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Wholly.
    Full,
    /// Partly: an older kernel, or a limit, takes something away.
    Partial,
    /// Not at all.
    Absent,
}

impl Standing {
    /// What is called `name`, and in what way it is not whole.
    pub fn in_words(self, name: &str, detail: &str) -> String {
        match self {
            Self::Full => name.to_owned(),
            Self::Partial => format!("{name} (partly: {detail})"),
            Self::Absent => format!("{name} (missing: {detail})"),
        }
    }
}

/// No core dumps, no `ptrace` and no `/proc/PID/mem` from processes of the same user.
///
/// # Errors
/// When the kernel refuses.
pub fn forbid_dumps() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Gives up every capability: ambient, bounding (where that is allowed), effective, permitted
/// and inheritable. Also no program started later can gain any.
///
/// # Errors
/// When a set could not be cleared.
pub fn drop_privileges() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: the call takes numbers only.
    let ambient =
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    if ambient != 0 {
        return Err(io::Error::last_os_error());
    }
    // The bounding set can be narrowed by a privileged process only; the others need no such
    // thing, because without it they cannot gain anything after `no_new_privs`.
    for capability in 0..64_u64 {
        // SAFETY: the call takes numbers only; an unknown capability is refused.
        let _unprivileged = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    clear_capabilities()
}

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

fn clear_capabilities() -> io::Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    // Two records of effective, permitted, inheritable.
    let sets = [0_u32; 6];
    // SAFETY: both point at live values laid out as linux/capability.h says for version 3; the
    // kernel reads the sets, and writes at most the version it would have liked.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// No path, no TCP port, no abstract socket and no signal beyond this process, for the calling
/// thread and those it starts.
///
/// # Errors
/// When the kernel refuses; a kernel without Landlock is [`Standing::Absent`] instead.
pub fn forbid_paths_and_ports() -> io::Result<Standing> {
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V7))?
            .handle_access(AccessNet::from_all(ABI::V7))?
            .scope(Scope::from_all(ABI::V7))?
            .create()?
            .restrict_self()
    };
    let status = restrict().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Standing::Full,
        RulesetStatus::PartiallyEnforced => Standing::Partial,
        RulesetStatus::NotEnforced => Standing::Absent,
    })
}

/// Keeps memory out of swap.
///
/// Memory allocated later is locked as well, page by page as it is touched, where there is no
/// limit: with a limit, an allocation beyond it would fail, which ends the process.
///
/// # Errors
/// When the limit is below what the process has already.
pub fn lock_memory() -> io::Result<Standing> {
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_MEMLOCK)?;
    nix::sys::resource::setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)?;
    nix::sys::mman::mlockall(MlockAllFlags::MCL_CURRENT)?;
    if hard != libc::RLIM_INFINITY {
        return Ok(Standing::Partial);
    }
    let touched = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    nix::sys::mman::mlockall(MlockAllFlags::MCL_FUTURE.union(touched))?;
    Ok(Standing::Full)
}

/// System calls that a process which only computes and talks over open sockets needs. Threads
/// must exist already; memory never becomes executable.
const COMPUTING: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_futex,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Every other system call from any thread of the process ends it at once.
///
/// # Errors
/// When the architecture is unknown or the kernel refuses.
pub fn forbid_system_calls() -> io::Result<()> {
    let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let not_executable = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(u64::from(libc::PROT_EXEC.unsigned_abs())),
        0,
    )
    .and_then(|condition| SeccompRule::new(vec![condition]))
    .map_err(|error| other(&error))?;
    let only_get_flags = SeccompCondition::new(
        1,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        u64::from(libc::F_GETFD.unsigned_abs()),
    )
    .and_then(|condition| SeccompRule::new(vec![condition]))
    .map_err(|error| other(&error))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        COMPUTING.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_mmap, vec![not_executable.clone()]);
    rules.insert(libc::SYS_mprotect, vec![not_executable]);
    // Debug builds of the standard library look whether a descriptor is open before closing it.
    rules.insert(libc::SYS_fcntl, vec![only_get_flags]);
    let architecture = std::env::consts::ARCH.try_into().map_err(|error| other(&error))?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture)
            .map_err(|error| other(&error))?;
    let program: seccompiler::BpfProgram =
        filter.try_into().map_err(|error: seccompiler::BackendError| other(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| other(&error))
}

/// Leaves the signals with which a terminal or a service manager ends a whole group of processes
/// to the process that leads it.
pub fn ignore_group_signals() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: ignoring a signal runs no code of ours in a handler.
        let _only_invalid_numbers_fail =
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
    }
}

/// The opposite, for a process that was started by one that leaves them to another.
pub fn hear_group_signals() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: the default is no handler, so none can do harm.
        let _only_invalid_numbers_fail =
            unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
    }
}

/// Ends the process at once, from any thread, without running anything else.
pub fn exit_now(status: u8) -> ! {
    // SAFETY: the call does not return and touches no memory of ours.
    unsafe { libc::_exit(i32::from(status)) }
}

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
