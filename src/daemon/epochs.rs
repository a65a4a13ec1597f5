//! When the ratchet of session tickets turns: pure, with both clocks as arguments.
//!
//! While the daemon runs, the age of an epoch is counted by a clock that nobody sets, so that a
//! stepped wall clock neither loses an epoch nor keeps one alive. The wall clock counts across
//! restarts only; the moment an epoch is said to have begun follows it when it is set.

use std::time::Duration;

use crate::base::Timestamp;
use crate::base::bounds::CLOCK_BEHIND;
use crate::base::bounds::TICKET_CLOCK_DRIFT;
use crate::vault::wire_tickets::Step;

/// What is due, and when the epoch begins by the wall clock, or began.
pub(super) type Due = (Step, Timestamp);

/// At a start, for a state whose epoch began at `since`.
pub(super) fn at_start(since: Timestamp, now: Timestamp, rotation: Duration) -> Due {
    if since > now.plus(CLOCK_BEHIND) {
        // By this clock it is yet to begin: how old it is nobody knows.
        return (Step::Anew, now);
    }
    if since > now {
        return (Step::Restamp, now);
    }
    let age = now.since(since);
    if age >= rotation { (after(age, rotation), now) } else { (Step::Look, since) }
}

/// While the daemon runs: for an epoch of this `age`, which is said to have begun at `since`.
pub(super) fn in_course(
    age: Duration,
    since: Timestamp,
    now: Timestamp,
    rotation: Duration,
) -> Due {
    if age >= rotation {
        return (after(age, rotation), now);
    }
    let began = now.minus(age);
    let drift = began.since(since).max(since.since(began));
    if drift > TICKET_CLOCK_DRIFT { (Step::Restamp, began) } else { (Step::Look, since) }
}

/// A key that is two rotations old was accepted for as long as it should.
fn after(age: Duration, rotation: Duration) -> Step {
    if age >= rotation.saturating_mul(2) { Step::Skip } else { Step::Next }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_start_goes_on_with_the_epoch_that_the_clock_says() {
        let since = at(1_000_000);
        for (now, due) in [
            (1_000_000, (Step::Look, since)),
            (1_003_599, (Step::Look, since)),
            (1_003_600, (Step::Next, at(1_003_600))),
            (1_007_199, (Step::Next, at(1_007_199))),
            (1_007_200, (Step::Skip, at(1_007_200))),
            (9_000_000, (Step::Skip, at(9_000_000))),
            // A clock that was put right by a little.
            (999_701, (Step::Restamp, at(999_701))),
            // A clock that lost its battery: the tickets may be a year old.
            (999_699, (Step::Anew, at(999_699))),
            (0, (Step::Anew, at(0))),
        ] {
            assert_eq!(at_start(since, at(now), HOUR), due, "{now}");
        }
    }

    #[test]
    fn a_clock_that_is_set_while_we_run_moves_no_epoch() {
        let since = at(1_000_000);
        // Ten minutes into the epoch, by the clock that nobody sets.
        let age = seconds(600);
        assert_eq!(in_course(age, since, at(1_000_600), HOUR), (Step::Look, since));
        assert_eq!(in_course(age, since, at(1_000_640), HOUR), (Step::Look, since));
        // A year ahead, a year back, before the epoch, and at the beginning of time.
        for now in [33_000_000, 1_001_200, 999_000, 600] {
            let (step, began) = in_course(age, since, at(now), HOUR);
            assert_eq!((step, began), (Step::Restamp, at(now - 600)), "{now}");
            // A restart at that moment goes on with the same epoch, at the same age.
            assert_eq!(at_start(began, at(now), HOUR), (Step::Look, began));
            assert_eq!(at_start(began, at(now + 3000), HOUR).0, Step::Next);
        }
    }

    proptest! {
        /// However the wall clock jumps, an epoch ends after one rotation, and not before.
        #[test]
        fn an_epoch_lasts_as_long_as_it_should(
            jumps in proptest::collection::vec((0..2_000_000_000_u64, 1..600_u64), 1..60),
        ) {
            let (mut since, mut age) = (at(1_000_000), Duration::ZERO);
            for (now, passed) in jumps {
                age += seconds(passed);
                let (step, began) = in_course(age, since, at(now), HOUR);
                prop_assert_eq!(matches!(step, Step::Next | Step::Skip), age >= HOUR);
                prop_assert_ne!(step, Step::Anew);
                since = began;
                if age >= HOUR {
                    age = Duration::ZERO;
                }
            }
        }
    }
}
