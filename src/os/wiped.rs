//! A value whose own bytes are overwritten when it is dropped.
//!
//! For types of other libraries that hold secrets and do not wipe them. Memory that the value
//! holds elsewhere, and copies that were left behind when it was moved, are not reached.
#![expect(unsafe_code, reason = "bytes of a dropped value are overwritten in place")]

use std::mem::ManuallyDrop;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::atomic::compiler_fence;

/// Overwrites the value's own bytes after dropping it. Boxed, so that it is not moved about.
pub struct Wiped<T>(Box<ManuallyDrop<T>>);

impl<T> Wiped<T> {
    /// Takes the value into care.
    pub fn new(value: T) -> Self {
        Self(Box::new(ManuallyDrop::new(value)))
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: the value is dropped here and nowhere else, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut *self.0) };
        let place: *mut ManuallyDrop<T> = &raw mut *self.0;
        let bytes: *mut MaybeUninit<u8> = place.cast();
        for offset in 0..size_of::<T>() {
            // SAFETY: `offset` lies within the value, whose memory the box still owns.
            let byte = unsafe { bytes.add(offset) };
            // SAFETY: as above; any bit pattern may be written over a dropped value.
            unsafe { byte.write_volatile(MaybeUninit::new(0)) };
        }
        compiler_fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_value_is_dropped_exactly_once() {
        let witness = Arc::new(7);
        let wiped = Wiped::new(Arc::clone(&witness));
        assert_eq!((**wiped, Arc::strong_count(&witness)), (7, 2));
        drop(wiped);
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}
