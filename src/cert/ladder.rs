//! How long to wait after the n-th failure in a row.
//!
//! The rungs follow what Let's Encrypt advises (1, 10, 100 minutes, then daily), with two more in
//! between, so that a fault of an hour costs little more than an hour. Each wait is drawn from
//! between three quarters and five quarters of its rung, so that ten thousand certificates that
//! failed together do not come back together.

use std::time::Duration;

use crate::base::jitter::share;

/// The rungs in seconds; the last one repeats for ever.
const RUNGS: &[u64] = &[60, 300, 600, 1800, 6000, 6 * 3600, 24 * 3600];

/// The wait after failure number `attempt` (the first is 1), for a uniform `draw`.
pub fn wait(attempt: u32, draw: u32) -> Duration {
    let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    let rung = RUNGS.get(index).or(RUNGS.last()).copied().unwrap_or(60);
    Duration::from_secs(rung - rung / 4 + share(rung / 2, draw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wait_is_about_a_minute_and_the_seventh_about_a_day() {
        assert_eq!(wait(1, u32::MAX / 2).as_secs(), 59);
        assert_eq!(wait(7, 0).as_secs(), 18 * 3600);
        assert_eq!(wait(u32::MAX, 0), wait(7, 0));
        assert_eq!(wait(0, 0), wait(1, 0));
    }

    #[test]
    fn waits_never_shrink_from_rung_to_rung_for_the_same_draw() {
        for draw in [0, 7, u32::MAX / 3, u32::MAX] {
            assert!((1..20).all(|n| wait(n, draw) <= wait(n + 1, draw)));
        }
    }
}
