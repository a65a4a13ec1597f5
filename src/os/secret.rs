//! Pages for secrets: equal slots in memory that neither swap nor dumps nor, where the kernel has
//! `memfd_secret`, the kernel's own mappings and a superuser's `/proc/PID/mem` can reach.
//!
//! The whole arena is mapped at once and filled as it is used: the first touch of a hidden page
//! costs some 27 us, and behind the last wall nothing could be locked any more. What is put into a
//! slot, and its wiping, is [`super::wiped`]'s affair.
#![expect(unsafe_code, reason = "memory is mapped, and slots of it are handed out")]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use nix::sys::mman::MapFlags;
use nix::sys::mman::MmapAdvise;
use nix::sys::mman::ProtFlags;

/// Octets of a slot: a P-256 or RSA key of ring has 240, its key for HMAC and HKDF fewer.
pub const SLOT: usize = 256;

/// What a slot may be aligned to.
pub(super) const ALIGN: usize = 64;

/// The smallest arena that is worth having: some hundred keys.
const LEAST: usize = 32 * 1024;

/// What the kernel gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pages {
    /// Taken out of every mapping but this process's (`memfd_secret`, Linux 5.14).
    Hidden,
    /// Locked in memory, and left out of dumps.
    Locked,
    /// None: secrets are kept among everything else.
    Absent,
}

/// How an arena turned out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Furnished {
    /// What it is made of.
    pub pages: Pages,
    /// Octets asked for, rounded up to pages.
    pub wanted: usize,
    /// Octets there are; fewer where `RLIMIT_MEMLOCK` says so.
    pub room: usize,
}

impl Furnished {
    /// Whether it is all that was asked for, of the better kind.
    pub const fn is_whole(&self) -> bool {
        matches!(self.pages, Pages::Hidden) && self.room >= self.wanted
    }
}

/// One mapping, cut into slots.
#[derive(Debug)]
pub(super) struct Arena {
    base: NonNull<u8>,
    slots: usize,
    free: Mutex<Free>,
}

/// Locked when a key is opened or dropped, never when one signs.
#[derive(Debug)]
struct Free {
    /// Slots that were given back.
    returned: Vec<u32>,
    /// Slots from here on were never used, and their pages not touched.
    fresh: usize,
}

// SAFETY: the mapping lives as long as the process, and slots of it are handed out to one owner
// at a time, under the lock.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

static ARENA: OnceLock<Arena> = OnceLock::new();

/// Maps the arena of this process, with room for `slots` secrets. From now on every
/// [`super::wiped::Wiped`] value lies there while there is room, and on the heap beyond it.
///
/// To be called once, before the capability to lock memory is given up.
///
/// # Errors
/// When there is an arena already.
pub fn furnish(slots: usize) -> io::Result<Furnished> {
    let wanted = slots.saturating_mul(SLOT).max(LEAST).next_multiple_of(page());
    let Some((pages, base, room)) = map(wanted) else {
        return Ok(Furnished { pages: Pages::Absent, wanted, room: 0 });
    };
    let arena = Arena::new(base, room);
    ARENA.set(arena).map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
    Ok(Furnished { pages, wanted, room })
}

/// The arena of this process, if it has one.
pub(super) fn arena() -> Option<&'static Arena> {
    ARENA.get()
}

impl Arena {
    fn new(base: NonNull<u8>, room: usize) -> Self {
        let free = Free { returned: Vec::new(), fresh: 0 };
        Self { base, slots: (room / SLOT).min(u32::MAX as usize), free: Mutex::new(free) }
    }

    /// A slot for its only owner, aligned to [`ALIGN`]; `None` when all are taken.
    pub(super) fn take(&self) -> Option<NonNull<u8>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match free.returned.pop() {
            Some(index) => usize::try_from(index).ok()?,
            None if free.fresh < self.slots => {
                free.fresh += 1;
                free.fresh - 1
            }
            None => return None,
        };
        // SAFETY: `index` is less than `slots`, so the slot lies within the mapping.
        Some(unsafe { self.base.add(index * SLOT) })
    }

    /// Takes a slot back from its owner, who has wiped it.
    ///
    /// # Safety
    /// `place` came from [`Arena::take`] of this arena, and is not used any more.
    pub(super) unsafe fn give_back(&self, place: NonNull<u8>) {
        let offset = place.addr().get().wrapping_sub(self.base.addr().get());
        if let Ok(index) = u32::try_from(offset / SLOT) {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).returned.push(index);
        }
    }
}

fn page() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// As much of `wanted` octets as can be had, of the best kind that can be had.
fn map(wanted: usize) -> Option<(Pages, NonNull<u8>, usize)> {
    if let Ok(secret) = memfd_secret(wanted)
        && let Some((base, room)) = shrinking(wanted, |len| hidden(&secret, len))
    {
        return Some((Pages::Hidden, base, room));
    }
    shrinking(wanted, locked).map(|(base, room)| (Pages::Locked, base, room))
}

/// Tries ever smaller sizes: with `RLIMIT_MEMLOCK`, less may fit.
fn shrinking(
    wanted: usize,
    attempt: impl Fn(NonZeroUsize) -> nix::Result<NonNull<u8>>,
) -> Option<(NonNull<u8>, usize)> {
    let mut len = wanted;
    while len >= LEAST {
        if let Ok(base) = attempt(NonZeroUsize::new(len)?) {
            return Some((base, len));
        }
        // In eighths, so that little of a limit is left unused.
        len = (len - len / 8) / page() * page();
    }
    None
}

fn memfd_secret(len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // Its size can be set once only, and may be more than what is mapped of it.
    nix::unistd::ftruncate(&fd, i64::try_from(len).unwrap_or(i64::MAX))?;
    Ok(fd)
}

fn hidden(secret: &OwnedFd, len: NonZeroUsize) -> nix::Result<NonNull<u8>> {
    let rights = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
    // SAFETY: a new mapping at a place that the kernel chooses overlays nothing; the file behind
    // it is as long, has no other user and cannot be cut.
    let base = unsafe { nix::sys::mman::mmap(None, len, rights, MapFlags::MAP_SHARED, secret, 0) }?;
    Ok(base.cast())
}

fn locked(len: NonZeroUsize) -> nix::Result<NonNull<u8>> {
    let rights = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);
    let flags = MapFlags::MAP_PRIVATE.union(MapFlags::MAP_NORESERVE);
    // SAFETY: a new mapping at a place that the kernel chooses overlays nothing.
    let base = unsafe { nix::sys::mman::mmap_anonymous(None, len, rights, flags) }?;
    // SAFETY: the range was mapped just now; its content is not touched.
    let result =
        unsafe { libc::syscall(libc::SYS_mlock2, base.as_ptr(), len.get(), libc::MLOCK_ONFAULT) };
    if result != 0 {
        let error = nix::errno::Errno::last();
        // SAFETY: nobody knows the range yet.
        let _kept = unsafe { nix::sys::mman::munmap(base, len.get()) };
        return Err(error);
    }
    for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_WIPEONFORK] {
        // SAFETY: neither changes what this process sees in the range.
        let _older_kernel = unsafe { nix::sys::mman::madvise(base, len.get(), advice) };
    }
    Ok(base.cast())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An arena apart from the process's own.
    pub(in crate::os) fn apart(slots: usize) -> &'static Arena {
        let (_, base, room) = map((slots * SLOT).max(LEAST)).unwrap();
        Box::leak(Box::new(Arena::new(base, room.min(slots * SLOT))))
    }

    #[test]
    fn slots_are_apart_aligned_and_come_back() {
        let arena = apart(3);
        let taken: Vec<_> = std::iter::from_fn(|| arena.take()).collect();
        assert_eq!(taken.len(), 3);
        for (at, place) in taken.iter().enumerate() {
            assert_eq!(place.addr().get() % ALIGN, 0);
            assert_eq!(place.addr().get() - taken[0].addr().get(), at * SLOT);
        }
        // SAFETY: taken above, and not used any more.
        unsafe { arena.give_back(taken[1]) };
        assert_eq!(arena.take(), Some(taken[1]));
        assert_eq!(arena.take(), None);
    }

    #[test]
    fn each_kind_of_page_can_be_written_and_is_left_out_of_dumps() {
        let len = NonZeroUsize::new(LEAST).unwrap();
        let mut kinds = vec![locked(len).unwrap()];
        // Where the kernel has none, status says so, and there is nothing to look at.
        kinds.extend(memfd_secret(LEAST).ok().map(|fd| hidden(&fd, len).unwrap()));
        for base in kinds {
            // SAFETY: mapped above, for reading and writing.
            unsafe { base.as_ptr().write_volatile(7) };
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let start = format!("{:x}-", base.addr());
            let (_, rest) = smaps.split_once(&start).unwrap();
            let flags = rest.lines().find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
            for wanted in ["lo", "dd"] {
                assert!(flags.split_whitespace().any(|flag| flag == wanted), "{flags}");
            }
        }
    }
}
