//! A value that neither prints nor survives its owner.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes or text that must not appear in a log or an error, and are wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into care.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. The name is long on purpose: each use is a place to look at.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
