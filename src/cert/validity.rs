//! When a certificate is good, and when it is to be renewed.
//!
//! The renewal moment is drawn once from a [`RenewalWindow`]: the CA's (RFC 9773) where it offers
//! one, else our own at two thirds of the life, or half of it below ten days. Whatever the window
//! says, the last twentieth of the validity is never reached (invariant 7).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::base::jitter::share;

/// Lives shorter than this are renewed at half, not at two thirds.
pub const SHORT_LIFE: Duration = Duration::from_secs(10 * 24 * 3600);

/// From `not_before` to `not_after`, both inside (RFC 5280, section 4.1.2.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// First good moment.
    pub not_before: Timestamp,
    /// Last good moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether `now` lies inside.
    pub fn contains(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// From the first to the last moment.
    pub const fn life(&self) -> Duration {
        self.not_after.since(self.not_before)
    }

    /// Share of the life that is left at `now`, in percent.
    pub fn percent_left(&self, now: Timestamp) -> u8 {
        let life = self.life().as_secs().max(1);
        let left = self.not_after.since(now).as_secs().min(life);
        u8::try_from(left.saturating_mul(100) / life).unwrap_or(100)
    }

    /// The first moment of the last twentieth of the life: no renewal is planned later.
    pub fn last_call(&self) -> Timestamp {
        self.not_after.minus(self.life() / 20)
    }

    /// Our own window, for a CA that offers none: a twentieth of the life, beginning at two
    /// thirds of it, or at half for lives below [`SHORT_LIFE`].
    pub fn own_window(&self) -> RenewalWindow {
        let life = self.life();
        let begin = if life < SHORT_LIFE { life / 2 } else { life - life / 3 };
        let start = self.not_before.plus(begin);
        RenewalWindow { start, end: start.plus(life / 20) }
    }

    /// The renewal moment for a uniform `draw` from `window`, bounded by [`Self::last_call`].
    pub fn renewal_moment(&self, window: RenewalWindow, draw: u32) -> Timestamp {
        window.pick(draw).min(self.last_call())
    }
}

/// The span in which a renewal should happen.
///
/// Invariant: `start <= end`. [`RenewalWindow::new`] is the only way in from outside and refuses
/// a reversed pair, because a silent swap would hide a CA's mistake from the operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RenewalWindow {
    start: Timestamp,
    end: Timestamp,
}

impl RenewalWindow {
    /// A window from `start` to `end`; `None` unless `start < end` (RFC 9773, section 4.2).
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// First moment.
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// End of the span.
    pub const fn end(&self) -> Timestamp {
        self.end
    }

    /// The moment a uniform draw stands for.
    pub const fn pick(&self, draw: u32) -> Timestamp {
        let offset = share(self.end.since(self.start).as_secs(), draw);
        self.start.plus(Duration::from_secs(offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = 24 * 3600;

    fn validity(days: u64) -> Validity {
        let not_before = Timestamp::from_unix(1_000_000);
        Validity { not_before, not_after: not_before.plus(Duration::from_secs(days * DAY)) }
    }

    #[test]
    fn ninety_days_renew_from_day_sixty_and_six_days_from_day_three() {
        let day = |v: &Validity, t: Timestamp| t.since(v.not_before).as_secs() / DAY;
        let long = validity(90);
        assert_eq!(day(&long, long.own_window().start()), 60);
        assert_eq!(day(&long, long.renewal_moment(long.own_window(), u32::MAX)), 64);
        let short = validity(6);
        assert_eq!(day(&short, short.own_window().start()), 3);
    }

    #[test]
    fn a_reversed_window_is_refused() {
        let (a, b) = (Timestamp::from_unix(1), Timestamp::from_unix(2));
        assert!(RenewalWindow::new(b, a).is_none());
        assert!(RenewalWindow::new(a, a).is_none());
    }

    proptest! {
        #[test]
        fn invariant_7_no_window_moves_a_renewal_into_the_last_twentieth(
            start in 0u64..1 << 40, span in 1u64..1 << 33,
            life in 60u64..1 << 33, from in 0u64..1 << 40, draw: u32,
        ) {
            let not_before = Timestamp::from_unix(from);
            let validity =
                Validity { not_before, not_after: not_before.plus(Duration::from_secs(life)) };
            let start = Timestamp::from_unix(start);
            let window = RenewalWindow::new(start, start.plus(Duration::from_secs(span))).unwrap();
            let moment = validity.renewal_moment(window, draw);
            prop_assert!(moment <= validity.last_call());
            prop_assert!(validity.not_after.since(moment).as_secs() >= life / 20);
        }
    }
}
