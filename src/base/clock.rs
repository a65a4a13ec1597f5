//! The only place that asks the operating system what time it is.
//!
//! Everything stored, or compared with a certificate, is a [`Timestamp`]: whole seconds, UTC.
//! Deadlines of input and output use tokio's clock instead, and the two do not convert.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(
    Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `seconds` after the epoch.
    pub const fn from_unix(seconds: u64) -> Self {
        Self(seconds)
    }

    /// From a signed count, as certificates carry it; moments before 1970 become the epoch.
    pub fn from_unix_signed(seconds: i64) -> Self {
        Self(u64::try_from(seconds).unwrap_or(0))
    }

    /// Seconds since the epoch.
    pub const fn as_unix(self) -> u64 {
        self.0
    }

    /// `self + duration` in whole seconds, at most the end of time.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// `self - duration` in whole seconds, at least the epoch.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, or the bare count of seconds beyond the year 9999.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()) {
            Some(moment) => write!(f, "{moment}"),
            None => write!(f, "@{}", self.0),
        }
    }
}

/// What time it is. Tasks hold one; pure functions take `now` instead.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The same in milliseconds since the epoch, for lines that are read beside others. Whole
    /// seconds where a clock has no more to say.
    fn now_millis(&self) -> u64 {
        self.now().as_unix().saturating_mul(1000)
    }
}

/// The wall clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| d.as_secs()))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now_millis(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicU64::new(start.as_unix()))
    }

    /// Moves the clock to `to`, forwards or backwards.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.as_unix(), Ordering::SeqCst);
    }

    /// Moves the clock forwards.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_unix(1_700_000_000).to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(Timestamp::from_unix(u64::MAX).to_string(), "@18446744073709551615");
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Timestamp::from_unix(5).minus(Duration::from_secs(9)), Timestamp::from_unix(0));
        assert_eq!(Timestamp::from_unix(5).since(Timestamp::from_unix(9)), Duration::ZERO);
        assert_eq!(Timestamp::from_unix_signed(-3), Timestamp::from_unix(0));
    }
}
