//! Whose turn it is: one errand at a time to each target, and few at a time over all; those that are
//! slow or failed are in a lane of their own, so that they hold up nobody else.
//!
//! Pure: moments are arguments.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::bounds::deployment::QUICK;
use crate::base::bounds::deployment::SLOW_LANE;
use crate::cert::deployment::TargetName;

/// The errands that are under way, and what is known of targets.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    running: HashMap<TargetName, Running>,
    /// How long the last errand to a target took.
    took: HashMap<TargetName, Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    since: Instant,
    slow: bool,
}

/// What is known of a target before an errand; the order is that of their turns.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) enum Pace {
    /// The last errand was quick.
    Quick,
    /// There was none.
    Unknown,
    /// It was slow, or failed.
    Bad,
}

impl Lanes {
    /// Whether an errand to `target` is under way.
    pub(super) fn is_busy(&self, target: &TargetName) -> bool {
        self.running.contains_key(target)
    }

    /// What is known of `target`, the deployment to which has failed so often in a row.
    pub(super) fn pace(&self, target: &TargetName, failures: u32) -> Pace {
        match self.took.get(target) {
            _ if failures > 0 => Pace::Bad,
            Some(took) if *took > QUICK => Pace::Bad,
            Some(_) => Pace::Quick,
            None => Pace::Unknown,
        }
    }

    /// Takes a place for an errand to `target`, if there is one.
    pub(super) fn enter(
        &mut self,
        target: &TargetName,
        pace: Pace,
        together: usize,
        now: Instant,
    ) -> bool {
        self.make_room(together, now);
        let slow = pace == Pace::Bad;
        let most = if slow { together.saturating_mul(SLOW_LANE) } else { together };
        if self.is_busy(target) || self.count(slow) >= most {
            return false;
        }
        self.running.insert(target.clone(), Running { since: now, slow });
        true
    }

    /// The errand to `target` is over.
    pub(super) fn leave(&mut self, target: &TargetName, now: Instant) {
        if let Some(running) = self.running.remove(target) {
            self.took.insert(target.clone(), now.duration_since(running.since));
        }
    }

    /// Forgets targets that are not there any more.
    pub(super) fn retain(&mut self, there: impl Fn(&TargetName) -> bool) {
        self.took.retain(|target, _| there(target));
    }

    /// When some errand that is under way turns out to be slow, if none ends before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.running.values().filter(|one| !one.slow).map(|one| one.since + QUICK).min()
    }

    /// Those that turned out to be slow go to their own lane, as far as there is room.
    fn make_room(&mut self, together: usize, now: Instant) {
        let mut room = together.saturating_mul(SLOW_LANE).saturating_sub(self.count(true));
        for one in self.running.values_mut() {
            if room > 0 && !one.slow && now.duration_since(one.since) >= QUICK {
                one.slow = true;
                room -= 1;
            }
        }
    }

    fn count(&self, slow: bool) -> usize {
        self.running.values().filter(|one| one.slow == slow).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: usize) -> TargetName {
        TargetName::parse(&format!("t{number}")).unwrap()
    }

    #[test]
    fn slow_ones_make_room_and_failed_ones_take_none() {
        let (mut lanes, start) = (Lanes::default(), Instant::now());
        let quick: Vec<_> =
            (0..5).map(|n| lanes.enter(&target(n), Pace::Unknown, 2, start)).collect();
        assert_eq!(quick, [true, true, false, false, false]);
        assert!(!lanes.enter(&target(0), Pace::Bad, 2, start), "one at a time to each");
        // Those that failed have another lane.
        let bad: Vec<_> = (10..20).map(|n| lanes.enter(&target(n), Pace::Bad, 2, start)).collect();
        assert_eq!(bad.iter().filter(|taken| **taken).count(), 2 * SLOW_LANE);
        // Which is full, so that nobody may move there.
        let later = start + QUICK;
        assert!(!lanes.enter(&target(2), Pace::Quick, 2, later));
        lanes.leave(&target(10), later);
        assert!(lanes.enter(&target(2), Pace::Quick, 2, later));
        assert!(!lanes.enter(&target(3), Pace::Quick, 2, later));
        lanes.leave(&target(2), later + Duration::from_millis(1));
        assert_eq!(lanes.pace(&target(2), 0), Pace::Quick);
        assert_eq!(lanes.pace(&target(2), 1), Pace::Bad);
        assert_eq!(lanes.pace(&target(3), 0), Pace::Unknown);
        lanes.leave(&target(0), later + QUICK);
        assert_eq!(lanes.pace(&target(0), 0), Pace::Bad);
    }
}
