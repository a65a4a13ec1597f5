//! The moment until which a hand works, in a process without a runtime.

use std::time::Duration;
use std::time::Instant;

/// A moment of the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(in crate::deploy) struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    #[expect(clippy::disallowed_methods, reason = "there is no runtime in a hand")]
    pub(in crate::deploy) fn within(time: Duration) -> Self {
        let now = Instant::now();
        // A clock does not come so near to its end.
        Self(now.checked_add(time).unwrap_or(now))
    }

    /// What is left, zero when it is past.
    #[expect(clippy::disallowed_methods, reason = "there is no runtime in a hand")]
    pub(in crate::deploy) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it is past.
    pub(in crate::deploy) fn is_past(self) -> bool {
        self.left().is_zero()
    }
}
