//! Whether a server of a site is up, as all workers know it.
//!
//! What its own requests taught each worker is in `balance`; who asks the servers how they are, and
//! when, in `checking`. Here is what both came to.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::bounds::origins::RAMP_BEGINS;

/// What is known of one server.
#[derive(Debug)]
pub(super) struct Standing {
    /// The site that named it first, and its address, for those who are told.
    pub(super) site: Box<str>,
    pub(super) server: Box<str>,
    down: AtomicBool,
    /// Milliseconds from `begin` to when it came back; 0 is never.
    risen: AtomicU64,
    /// Milliseconds from `begin` until which some worker leaves it out.
    left_out: AtomicU64,
    begin: Instant,
    last: Mutex<Last>,
}

/// The last word of those who check it.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    /// When it went up or down; `None` while nothing is known.
    pub(super) since: Option<Instant>,
    /// Why it is down.
    pub(super) reason: Option<String>,
}

impl Standing {
    pub(super) fn new(site: &str, server: &str) -> Self {
        Self {
            site: site.into(),
            server: server.into(),
            down: AtomicBool::new(false),
            risen: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            begin: Instant::now(),
            last: Mutex::default(),
        }
    }

    /// Whether the checks say that it is down.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// It is up from `now` on.
    pub(super) fn rise(&self, now: Instant) {
        if self.down.swap(false, Ordering::Relaxed) {
            self.risen.store(self.millis(now).max(1), Ordering::Relaxed);
        }
        *self.lock() = Last { since: Some(now), reason: None };
    }

    /// It is down from `now` on.
    pub(super) fn fall(&self, reason: String, now: Instant) {
        self.down.store(true, Ordering::Relaxed);
        *self.lock() = Last { since: Some(now), reason: Some(reason) };
    }

    /// Some worker leaves it out until then.
    pub(super) fn leave_out(&self, until: Instant) {
        self.left_out.fetch_max(self.millis(until), Ordering::Relaxed);
    }

    /// A worker takes it in again.
    pub(super) fn take_in(&self) {
        if self.left_out.load(Ordering::Relaxed) != 0 {
            self.left_out.store(0, Ordering::Relaxed);
        }
    }

    /// Whether some worker leaves it out.
    pub(super) fn is_left_out(&self, now: Instant) -> bool {
        self.left_out.load(Ordering::Relaxed) > self.millis(now)
    }

    pub(super) fn last(&self) -> Last {
        self.lock().clone()
    }

    /// How many hundredths of its share it gets, `span` after it came back being the whole.
    pub(super) fn share(&self, span: Duration, now: impl FnOnce() -> Instant) -> u32 {
        let risen = self.risen.load(Ordering::Relaxed);
        if risen == 0 || span.is_zero() {
            return 100;
        }
        ramp(self.millis(now()).saturating_sub(risen), span)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begin).as_millis()).unwrap_or(u64::MAX)
    }

    /// What is behind the lock is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ramp(millis: u64, span: Duration) -> u32 {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
    let share = millis.saturating_mul(100) / span;
    u32::try_from(share).unwrap_or(100).clamp(RAMP_BEGINS, 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_came_back_gets_its_share_by_and_by() {
        let (standing, span) =
            (Standing::new("a.example", "http://10.0.0.1:80"), Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        // One that never fell has all of it.
        standing.rise(at(0));
        assert_eq!(standing.share(span, || at(0)), 100);
        standing.fall("refused".to_owned(), at(1));
        assert!(standing.is_down());
        assert_eq!(standing.last().reason.as_deref(), Some("refused"));
        standing.rise(at(20));
        assert!(!standing.is_down() && standing.last().reason.is_none());
        assert_eq!(standing.share(span, || at(20)), RAMP_BEGINS);
        assert!((49..=51).contains(&standing.share(span, || at(25))));
        assert_eq!(standing.share(span, || at(30)), 100);
        assert_eq!(standing.share(Duration::ZERO, || at(20)), 100);
    }

    #[test]
    fn the_worker_that_leaves_it_out_for_longest_is_told() {
        let (standing, now) = (Standing::new("a.example", "x"), Instant::now());
        assert!(!standing.is_left_out(now));
        standing.leave_out(now + Duration::from_secs(9));
        standing.leave_out(now + Duration::from_secs(3));
        assert!(standing.is_left_out(now + Duration::from_secs(5)));
        assert!(!standing.is_left_out(now + Duration::from_secs(10)));
        standing.take_in();
        assert!(!standing.is_left_out(now));
    }
}
