//! Which core a thread runs on.

use std::io;

use nix::sched::CpuSet;
use nix::unistd::Pid;

/// Binds the calling thread to core `core`.
///
/// # Errors
/// When there is no such core, or the process may not choose; the thread then runs where it did.
pub fn bind_thread(core: usize) -> io::Result<()> {
    bind_thread_to(&[core])
}

/// Binds the calling thread to these cores.
///
/// # Errors
/// As [`bind_thread`].
pub fn bind_thread_to(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    nix::sched::sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// The cores on which the calling thread may run, ascending.
///
/// # Errors
/// When the kernel does not say.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect())
}

/// The core for worker `index` of `workers`: one each when there are exactly as many allowed cores,
/// else none, and the kernel places them.
pub fn core_of_worker(index: usize, workers: usize) -> Option<usize> {
    let cores = allowed_cores().ok()?;
    cores.get(index).copied().filter(|_| workers > 1 && workers == cores.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_thread_is_allowed_one_core() {
        std::thread::spawn(|| {
            let all = allowed_cores().unwrap();
            let first = *all.first().unwrap();
            bind_thread(first).unwrap();
            assert_eq!(allowed_cores().unwrap(), [first]);
            assert!(bind_thread(CpuSet::count()).is_err());
            // Those that the process has are had again.
            bind_thread_to(&all).unwrap();
            assert_eq!(allowed_cores().unwrap(), all);
        })
        .join()
        .unwrap();
    }
}
