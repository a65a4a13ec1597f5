//! Random draws that protect no secret: renewal moments and retry delays.
//!
//! Keys are drawn elsewhere (inside the vault, from the operating system). Pure code receives a
//! drawn number, never a generator, so that a decision can be repeated in a test.

use std::sync::Mutex;

/// A small seedable generator behind a lock.
#[derive(Debug)]
pub struct Jitter(Mutex<fastrand::Rng>);

impl Jitter {
    /// Seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Mutex::new(fastrand::Rng::new()))
    }

    /// Repeatable draws, for tests.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// A uniform number over the whole range of `u32`.
    pub fn draw(&self) -> u32 {
        match self.0.lock() {
            Ok(mut rng) => rng.u32(..),
            Err(poisoned) => poisoned.into_inner().u32(..),
        }
    }
}

/// `span * draw / 2^32`: the share of `span` that a uniform draw stands for; below `span`.
pub const fn share(span: u64, draw: u32) -> u64 {
    let wide = (span as u128 * draw as u128) >> 32;
    // Below `span`, so it fits.
    #[expect(clippy::cast_possible_truncation, reason = "the product over 2^32 is below span")]
    {
        wide as u64
    }
}
