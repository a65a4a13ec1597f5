//! Memory that two processes share, and the words in it at which they wait for each other.
//!
//! Whoever holds the other end may write anything at any moment. So the memory is only ever
//! touched as atomic numbers, which makes that harmless to this process, and what is in it is
//! copied out before it is looked at. Its size cannot change: whoever could cut it off would end
//! the other process. What the numbers mean is not known here.
#![expect(unsafe_code, reason = "memory is mapped, and the kernel's futex call takes an address")]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::fcntl::FcntlArg;
use nix::fcntl::SealFlag;
use nix::sys::memfd::MFdFlags;
use nix::sys::mman::MapFlags;
use nix::sys::mman::ProtFlags;

/// The seals without which memory of somebody else is not mapped.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Octets of one cell.
const CELL: usize = size_of::<AtomicU32>();

/// Memory of `len` octets, all zero, that can be neither shrunk nor grown; closed on exec.
///
/// # Errors
/// When the kernel has no such memory, or none is left.
pub fn sealed(len: usize) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC.union(MFdFlags::MFD_ALLOW_SEALING);
    let memory = nix::sys::memfd::memfd_create(c"keyward-gate", flags)?;
    let len = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    nix::unistd::ftruncate(&memory, len)?;
    nix::fcntl::fcntl(memory.as_fd(), FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(memory)
}

/// Whether `memory` is what [`sealed`] makes, of this very length.
pub fn is_sealed(memory: &OwnedFd, len: usize) -> bool {
    let seals = nix::fcntl::fcntl(memory.as_fd(), FcntlArg::F_GET_SEALS);
    let sealed = seals.is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(SEALS));
    let size = nix::sys::stat::fstat(memory).map(|stat| stat.st_size);
    sealed && size.is_ok_and(|size| usize::try_from(size) == Ok(len))
}

/// A part of such memory, mapped into this process until it is dropped.
#[derive(Debug)]
pub struct Shared {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and it is only reached through atomics.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps `len` octets from `offset` on; both are whole pages.
    ///
    /// # Errors
    /// When the memory is not sealed or ends earlier, or the kernel refuses.
    pub fn map(memory: &OwnedFd, offset: usize, len: usize) -> io::Result<Self> {
        let size = usize::try_from(nix::sys::stat::fstat(memory)?.st_size).unwrap_or(0);
        let within = offset.checked_add(len).is_some_and(|end| end <= size);
        let (Some(octets), true) = (NonZeroUsize::new(len), within && is_sealed(memory, size))
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let rights = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
        // SAFETY: a new mapping at a place of the kernel's choice disturbs no other; it lies
        // within the memory, which the seals keep from shrinking.
        let start = unsafe {
            nix::sys::mman::mmap(None, octets, rights, MapFlags::MAP_SHARED, memory, offset)
        }?;
        Ok(Self { start, len })
    }

    /// The memory as cells of four octets.
    pub const fn cells(&self) -> &[AtomicU32] {
        // SAFETY: the mapping is page-aligned, readable, writable and `len` octets long, and
        // lives as long as `self`. Every value is a valid number. Nobody in this process holds
        // a plain reference into it, and atomics may be changed by others, processes included.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len / CELL) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and no reference outlives `self`.
        let _cannot_fail = unsafe { nix::sys::mman::munmap(self.start, self.len) };
    }
}

/// Copies `bytes` into cells, as far as they reach. Not ordered before anything: publish them by
/// a store with release order afterwards.
pub fn copy_in(cells: &[AtomicU32], bytes: &[u8]) {
    for (cell, part) in cells.iter().zip(bytes.chunks(CELL)) {
        let mut octets = [0; CELL];
        if let Some(octets) = octets.get_mut(..part.len()) {
            octets.copy_from_slice(part);
        }
        cell.store(u32::from_le_bytes(octets), Ordering::Relaxed);
    }
}

/// Copies cells out into `bytes`, as far as they reach. To be called after a load with acquire
/// order has shown that they were published.
pub fn copy_out(cells: &[AtomicU32], bytes: &mut [u8]) {
    for (cell, part) in cells.iter().zip(bytes.chunks_mut(CELL)) {
        let octets = cell.load(Ordering::Relaxed).to_le_bytes();
        if let Some(octets) = octets.get(..part.len()) {
            part.copy_from_slice(octets);
        }
    }
}

/// Waits until somebody calls [`wake`] for `cell`, as long as it holds `value`. May return early
/// for no reason; `false` when `limit` has passed. Without a limit there is no timer to be set.
pub fn wait(cell: &AtomicU32, value: u32, limit: Option<Duration>) -> bool {
    let time = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(limit.subsec_nanos().cast_signed()),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `cell` and what `time` points at, if anything, are live for the call; the kernel
    // reads both and writes neither.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, cell.as_ptr(), libc::FUTEX_WAIT, value, time) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
}

/// Wakes one who waits at `cell`, whichever process it is in.
pub fn wake(cell: &AtomicU32) {
    // SAFETY: the kernel takes the address as a name and touches nothing there.
    unsafe { libc::syscall(libc::SYS_futex, cell.as_ptr(), libc::FUTEX_WAKE, 1) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    #[test]
    fn two_mappings_of_a_part_are_the_same_memory_and_another_part_is_not() {
        let memory = sealed(2 * PAGE).unwrap();
        let [one, other] = [0, PAGE].map(|offset| Shared::map(&memory, offset, PAGE).unwrap());
        let again = Shared::map(&memory, PAGE, PAGE).unwrap();
        copy_in(other.cells(), b"seven b");
        let mut bytes = *b"........";
        copy_out(again.cells(), bytes.get_mut(..7).unwrap());
        assert_eq!(&bytes, b"seven b.");
        copy_out(one.cells(), &mut bytes);
        assert_eq!(bytes, [0; 8]);
        assert_eq!(one.cells().len(), PAGE / 4);
        // What does not fit is left, at either side.
        copy_in(&one.cells()[..1], b"12345");
        let mut more = *b"........";
        copy_out(&one.cells()[..2], &mut more);
        assert_eq!(&more, b"1234\0\0\0\0");
    }

    #[test]
    fn memory_that_could_be_cut_off_is_not_mapped() {
        let memory = sealed(PAGE).unwrap();
        assert!(is_sealed(&memory, PAGE) && !is_sealed(&memory, 2 * PAGE));
        assert!(nix::unistd::ftruncate(&memory, 0).is_err());
        assert!(nix::unistd::ftruncate(&memory, 8192).is_err());
        for (offset, len) in [(0, 2 * PAGE), (PAGE, PAGE), (0, 0), (PAGE, usize::MAX)] {
            assert!(Shared::map(&memory, offset, len).is_err(), "{offset} {len}");
        }
        let open = nix::sys::memfd::memfd_create(c"open", MFdFlags::MFD_CLOEXEC).unwrap();
        nix::unistd::ftruncate(&open, 4096).unwrap();
        assert!(Shared::map(&open, 0, PAGE).is_err());
        let (socket, _) = crate::os::descriptors::seqpacket_pair().unwrap();
        assert!(Shared::map(&socket, 0, PAGE).is_err());
    }

    #[test]
    fn a_wait_ends_by_a_wake_by_another_value_and_by_its_limit() {
        let memory = sealed(PAGE).unwrap();
        let [near, far] = [0, 0].map(|offset| Shared::map(&memory, offset, PAGE).unwrap());
        let short = Duration::from_millis(5);
        assert!(!wait(&near.cells()[0], 0, Some(short)));
        assert!(wait(&near.cells()[0], 7, Some(Duration::from_secs(60))));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while near.cells()[0].load(Ordering::Acquire) == 0 {
                    wait(&near.cells()[0], 0, None);
                }
            });
            // Through the other mapping, as from another process.
            far.cells()[0].store(1, Ordering::Release);
            wake(&far.cells()[0]);
        });
    }
}
