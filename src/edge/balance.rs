//! Which of several servers is asked, which are left out for a while, and how often another one is
//! tried: decisions, and nothing that acts on them.
//!
//! Everything is per worker. What time it is and what was drawn are arguments.

use tokio::time::Instant;

use crate::base::bounds::origins::EJECTED_AT_MOST;
use crate::base::bounds::origins::RETRY_RESERVE;
use crate::config::Asking;

/// A server at the moment of a choice.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Its share; never 0.
    pub(super) weight: u32,
    /// Requests that it has now.
    pub(super) open: u32,
    /// The most that it may have; 0 is no limit.
    pub(super) most: u32,
    /// Whether it is left out for having failed.
    pub(super) out: bool,
    /// Whether it has failed this very request.
    pub(super) tried: bool,
}

/// What a choice came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Choice {
    /// The server with this number.
    Server(usize),
    /// Those that could be asked have as many requests as they may have.
    Full,
    /// All were tried.
    Nobody,
}

impl View {
    /// Whether it may be asked without looking at the others.
    pub(super) const fn is_fit(&self) -> bool {
        !self.out && !self.tried && self.has_room()
    }

    const fn has_room(&self) -> bool {
        self.most == 0 || self.open < self.most
    }
}

/// Chooses one of `count` servers: of two that are drawn by weight, the one that has less to do for
/// its weight. Two draws are nearly as good as looking at all, and do not send every worker to the
/// same server at once (M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing).
///
/// Servers that are left out are asked only where all are. `draw` gives a number below the one it is
/// given.
pub(super) fn choose(
    count: usize,
    see: impl Fn(usize) -> View,
    mut draw: impl FnMut(u64) -> u64,
) -> Choice {
    let all_out = (0..count).all(|number| see(number).out);
    let meant = |view: &View| !view.tried && (all_out || !view.out);
    let fit = |view: &View| meant(view) && view.has_room();
    let weights = |without: Option<usize>| -> u64 {
        let others = (0..count).filter(|number| Some(*number) != without);
        others.map(&see).filter(fit).map(|view| u64::from(view.weight)).sum()
    };
    let mut pick = |without: Option<usize>| {
        let total = weights(without);
        let mut left = if total == 0 { return None } else { draw(total) };
        (0..count).filter(|number| Some(*number) != without).find(|number| {
            let view = see(*number);
            let weight = u64::from(view.weight);
            let hit = fit(&view) && left < weight;
            left = if fit(&view) { left.saturating_sub(weight) } else { left };
            hit
        })
    };
    let Some(first) = pick(None) else {
        let full = (0..count).any(|number| meant(&see(number)));
        return if full { Choice::Full } else { Choice::Nobody };
    };
    let Some(second) = pick(Some(first)) else { return Choice::Server(first) };
    let (one, two) = (see(first), see(second));
    // Of two fractions the smaller, without dividing; where they are the same, as it was drawn.
    let (one, two) = (
        u64::from(one.open).saturating_mul(u64::from(two.weight)),
        u64::from(two.open).saturating_mul(u64::from(one.weight)),
    );
    Choice::Server(if two < one { second } else { first })
}

/// How a server has fared lately.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Health {
    /// In a row.
    failures: u32,
    /// How often it was left out without an answer in between.
    times: u32,
    until: Option<Instant>,
}

impl Health {
    /// Whether it is left out; `now` is asked for only if it has failed.
    pub(super) fn is_out(&self, now: impl FnOnce() -> Instant) -> bool {
        self.until.is_some_and(|until| now() < until)
    }

    /// Until when it is left out, if it was.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// After a `good` or bad exchange. One that is left out and asked all the same stays so for no
    /// longer, and one good exchange ends it.
    ///
    /// Whoever was left out once is so again with the next failure, and for twice as long.
    pub(super) fn after(self, good: bool, now: impl FnOnce() -> Instant, asking: &Asking) -> Self {
        if good {
            return Self::default();
        }
        let now = now();
        if asking.eject_after == 0 || self.is_out(|| now) {
            return self;
        }
        let failures = self.failures.saturating_add(1);
        if failures < asking.eject_after {
            return Self { failures, ..self };
        }
        let doubled = asking.eject_for.saturating_mul(1 << self.times.min(16));
        // What the operator says holds, even where it is longer than growing would make it.
        let span = doubled.min(EJECTED_AT_MOST.max(asking.eject_for));
        let failures = asking.eject_after.saturating_sub(1);
        Self { failures, times: self.times.saturating_add(1), until: Some(now + span) }
    }
}

/// What may still be tried again, in hundredths of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Budget(u32);

impl Budget {
    const FULL: u32 = RETRY_RESERVE * 100;

    /// A full one; where no request may be tried again, an empty one.
    pub(super) const fn new(percent: u8) -> Self {
        Self(if percent == 0 { 0 } else { Self::FULL })
    }

    /// One more request was taken, of which `percent` of one may be tried again.
    pub(super) fn taken(self, percent: u8) -> Self {
        Self(self.0.saturating_add(u32::from(percent)).min(Self::FULL))
    }

    /// What is left after another try, if there may be one.
    pub(super) fn spend(self) -> Option<Self> {
        self.0.checked_sub(100).map(Self)
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
