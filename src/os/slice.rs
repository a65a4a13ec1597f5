//! How long a thread runs in one go before others of its core have their turn.
//!
//! Since Linux 6.12 a thread may ask for short turns. It gets no more of the core by that, but when it
//! is woken it runs at once, before others whose turns are longer (EEVDF, `sched_setattr(2)`). Why
//! anybody wants that is not known here.
#![expect(unsafe_code, reason = "the C library has no function for these system calls")]

use std::io;
use std::time::Duration;

/// `struct sched_attr` of linux/sched/types.h, in its first version.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// For a thread of the usual policies: its slice in nanoseconds.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `SCHED_FLAG_KEEP_POLICY` of linux/sched.h.
const KEEP_POLICY: u64 = 0x08;

/// Asks for turns of `slice` for the calling thread, whose policy and niceness stay. The kernel
/// takes what lies between 0.1 and 100 ms; one that knows of no such thing changes nothing.
///
/// # Errors
/// When the process may not ask; the thread then takes its turns as all do.
pub fn shorten(slice: Duration) -> io::Result<()> {
    let present = read()?;
    let attributes = Attributes {
        flags: KEEP_POLICY,
        runtime: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        size: SIZE,
        ..present
    };
    // SAFETY: the kernel reads `attributes`, which says how large it is, and writes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&attributes), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Octets of [`Attributes`].
const SIZE: u32 = 48;
const _: () = assert!(size_of::<Attributes>() == SIZE as usize);

fn read() -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    let place = std::ptr::from_mut(&mut attributes);
    // SAFETY: the kernel writes at most as much as the size says, into a live value of that size
    // in which any numbers may stand.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, place, SIZE, 0) };
    if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_shorter_turns_and_stays_what_it_was() {
        std::thread::spawn(|| {
            let before = read().unwrap();
            shorten(Duration::from_micros(200)).unwrap();
            let after = read().unwrap();
            // Before Linux 6.12 there is no slice to be told.
            let expected = if before.runtime == 0 { 0 } else { 200_000 };
            assert_ne!(before.runtime, 200_000);
            assert_eq!((after.runtime, after.nice), (expected, before.nice));
            assert_eq!(after.policy, before.policy);
        })
        .join()
        .unwrap();
    }
}
