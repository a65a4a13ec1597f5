//! A value that lies in secret memory where the process has some, and whose own bytes are
//! overwritten when it is dropped.
//!
//! For types of other libraries that hold secrets and do not wipe them. Memory that the value
//! holds elsewhere is not reached; what moving it left on the stack is what [`scrub_stack`] is for.
#![expect(unsafe_code, reason = "values are kept in slots, and overwritten in place when dropped")]

use std::hint::black_box;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::sync::atomic::compiler_fence;

use super::secret;
use super::secret::Arena;

/// Keeps a value in a slot of the process's secret memory, or on the heap where there is none, and
/// overwrites its own bytes after dropping it. It stays where it is until then.
pub struct Wiped<T> {
    place: NonNull<T>,
    /// Whose slot it is; `None` on the heap.
    arena: Option<&'static Arena>,
    owns: PhantomData<T>,
}

// SAFETY: it owns its value as a box does.
unsafe impl<T: Send> Send for Wiped<T> {}
// SAFETY: as above; a shared reference to it gives shared references to the value only.
unsafe impl<T: Sync> Sync for Wiped<T> {}

impl<T> Wiped<T> {
    /// Whether such a value is kept in secret memory: not one that is larger than a slot.
    pub const FITS_A_SLOT: bool =
        size_of::<T>() <= secret::SLOT && align_of::<T>() <= secret::ALIGN;

    /// Takes the value into care.
    pub fn new(value: T) -> Self {
        Self::within(secret::arena(), value)
    }

    fn within(arena: Option<&'static Arena>, value: T) -> Self {
        let slot =
            arena.filter(|_| Self::FITS_A_SLOT).and_then(|arena| Some((arena, arena.take()?)));
        match slot {
            Some((arena, place)) => {
                let place = place.cast::<T>();
                // SAFETY: the slot is ours alone, and large and aligned enough, as checked above.
                unsafe { place.write(value) };
                Self { place, arena: Some(arena), owns: PhantomData }
            }
            None => {
                let place = NonNull::from(Box::leak(Box::new(value)));
                Self { place, arena: None, owns: PhantomData }
            }
        }
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the value was written when this was made, and lives as long as this does.
        unsafe { self.place.as_ref() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: the value is dropped here and nowhere else, and not used afterwards.
        unsafe { self.place.drop_in_place() };
        let bytes = self.place.cast::<MaybeUninit<u8>>();
        for offset in 0..size_of::<T>() {
            // SAFETY: `offset` lies within the value, whose memory is still ours.
            let byte = unsafe { bytes.add(offset) };
            // SAFETY: as above; any bit pattern may be written over a dropped value.
            unsafe { byte.write_volatile(MaybeUninit::new(0)) };
        }
        compiler_fence(Ordering::SeqCst);
        match self.arena {
            // SAFETY: the slot came from this arena, and this was its only owner.
            Some(arena) => unsafe { arena.give_back(self.place.cast()) },
            // SAFETY: it came from a box of this very layout; the value is gone already.
            None => drop(unsafe { Box::from_raw(self.place.cast::<MaybeUninit<T>>().as_ptr()) }),
        }
    }
}

/// Octets of stack that are overwritten: more than the libraries' deepest call takes while it
/// reads or derives a key.
const SCRUBBED: usize = 16 * 1024;

/// Overwrites the part of the calling thread's stack that lies free below its caller: what a
/// function that has returned left there of a secret.
#[inline(never)]
pub fn scrub_stack() {
    let mut area = [0_u64; SCRUBBED / 8];
    black_box(&mut area);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_value_is_dropped_exactly_once() {
        for arena in [None, Some(secret::tests::apart(1))] {
            let witness = Arc::new(7);
            let wiped = Wiped::within(arena, Arc::clone(&witness));
            assert_eq!((**wiped, Arc::strong_count(&witness)), (7, 2));
            drop(wiped);
            assert_eq!(Arc::strong_count(&witness), 1);
        }
    }

    #[test]
    fn a_slot_is_overwritten_when_its_value_goes_and_used_again() {
        let arena = secret::tests::apart(1);
        let wiped = Wiped::within(Some(arena), [0xa5_u8; 200]);
        let place = wiped.place;
        // What is too large goes to the heap, and so does everything once the arena is full.
        assert!(Wiped::within(Some(secret::tests::apart(1)), [0_u8; 300]).arena.is_none());
        assert!(Wiped::within(Some(arena), 1_u8).arena.is_none());
        assert_eq!(*wiped, [0xa5; 200]);
        drop(wiped);
        // SAFETY: the arena is never unmapped, and the slot has no owner now.
        let left = unsafe { place.read_volatile() };
        assert_eq!(left, [0; 200]);
        assert_eq!(Wiped::within(Some(arena), 2_u64).place.cast(), place);
    }

    #[inline(never)]
    fn leave_behind(mark: u64) -> usize {
        let mut area = [mark; 512];
        black_box(&mut area).as_ptr().expose_provenance()
    }

    #[test]
    fn what_a_call_left_on_the_stack_is_overwritten() {
        let mark = 0x5ec2_e7a5_0b5e_55ed;
        let place = leave_behind(black_box(mark));
        let left = || {
            let pointer: *const u64 = std::ptr::with_exposed_provenance(place);
            let present = |at: &usize| {
                // SAFETY: the stack of this thread is mapped below its present end as far as it
                // was used, which is beyond this place.
                let word = unsafe { pointer.add(*at) };
                // SAFETY: as above, and any bits are a number.
                let word = unsafe { word.read_volatile() };
                word == mark
            };
            (0..512).filter(present).count()
        };
        assert!(left() > 100, "nothing is left to be scrubbed");
        scrub_stack();
        assert_eq!(left(), 0);
    }
}
