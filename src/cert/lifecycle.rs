//! The phase machine: what the house is doing about one certificate, as opposed to what it
//! serves.
//!
//! `(phase, event, now) -> (phase, effects)`. The clock and every random draw are arguments, so
//! the machine can be run through ten years in a test. It performs nothing itself: the scheduler
//! carries the effects out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::failure::{Failure, FailureKind, Remedy};
use super::key::KeyId;
use super::ladder;
use super::validity::{RenewalWindow, Validity};
use crate::base::Timestamp;

/// What an issuance has made durable so far, so that the next attempt goes on instead of
/// beginning again.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// The key the order is for; sealed and stored before it is named here.
    pub key: KeyId,
    /// The order's URL, once the CA gave it.
    pub order: Option<String>,
}

/// What the house is doing about one certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing to wait for: to be ordered at the next turn.
    Due {
        /// Failures in a row so far.
        attempt: u32,
        /// What an earlier attempt left behind.
        in_flight: Option<InFlight>,
    },
    /// A job is at work on it, and no second one may be until `deadline`.
    Ordering {
        /// Failures in a row so far.
        attempt: u32,
        /// What is durable of this issuance.
        in_flight: Option<InFlight>,
        /// When the lease lapses.
        deadline: Timestamp,
    },
    /// A certificate is installed and its renewal moment is drawn.
    Holding {
        /// When it becomes due.
        renew_at: Timestamp,
        /// The window the moment was drawn from.
        window: RenewalWindow,
        /// When the CA's renewal information is to be asked next (RFC 9773); `None` if it has none.
        recheck_at: Option<Timestamp>,
    },
    /// The last attempt failed in a way that time may cure.
    Waiting {
        /// Failures in a row, this one included.
        attempt: u32,
        /// When it becomes due again.
        until: Timestamp,
        /// What went wrong.
        failure: Failure,
        /// What the attempt left behind.
        in_flight: Option<InFlight>,
    },
    /// The last attempt failed in a way that only a person can cure.
    Halted {
        /// What went wrong.
        failure: Failure,
        /// Since when.
        since: Timestamp,
    },
    /// No site wants it any more; it is deleted at `until`.
    Retiring {
        /// When it is deleted.
        until: Timestamp,
    },
}

/// What happened to a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A job takes it on until `deadline`.
    Leased {
        /// When the lease lapses.
        deadline: Timestamp,
    },
    /// The job's key is sealed and stored.
    KeyStored(KeyId),
    /// The key of this issuance is not to be used after all, and so its order is of no use either.
    KeyDropped,
    /// The CA opened an order at this URL.
    OrderOpened(String),
    /// The stored order is of no more use; the key still is.
    OrderLost,
    /// The certificate arrived and is being installed in this very transaction.
    Installed {
        /// When it is good.
        validity: Validity,
        /// The CA's window, if it offers one.
        window: Option<RenewalWindow>,
        /// When to ask the CA again.
        recheck_at: Option<Timestamp>,
        /// A uniform draw for the renewal moment.
        draw: u32,
    },
    /// The attempt failed.
    Failed {
        /// How.
        failure: Failure,
        /// A uniform draw for the ladder.
        draw: u32,
    },
    /// The attempt failed, and the next one is made at another CA, where the key and the order of this
    /// one are of no use.
    Diverted {
        /// Failures in a row that count there.
        attempt: u32,
        /// When it is made.
        until: Timestamp,
        /// How this one failed.
        failure: Failure,
    },
    /// What an unfinished attempt left behind is of no use: the next one asks another CA.
    Abandoned,
    /// The CA answered the question for its renewal window, or failed to.
    WindowChecked {
        /// When the installed certificate is good.
        validity: Validity,
        /// The new window; `None` leaves the old one standing.
        window: Option<RenewalWindow>,
        /// When to ask again; `None` for never.
        recheck_at: Option<Timestamp>,
        /// A uniform draw, used only when the window differs.
        draw: u32,
    },
    /// Somebody asked for a renewal now.
    Requested,
    /// The configuration that failed was changed.
    Changed,
    /// It is renewed at this moment and not at the one that was drawn, though not later than any.
    Deferred {
        /// When it becomes due.
        until: Timestamp,
        /// When the installed certificate is good.
        validity: Validity,
    },
    /// The daemon started: whoever held a lease is gone.
    Restarted,
    /// No site wants it any more.
    Removed {
        /// How long its material is kept.
        keep_until: Timestamp,
    },
    /// A site wants it again.
    Returned {
        /// The validity of what is installed, if something is.
        installed: Option<Validity>,
        /// A uniform draw for the renewal moment.
        draw: u32,
    },
}

/// What the scheduler is to do about a transition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Lease it and start a job.
    Order,
    /// Ask the CA for the renewal window.
    CheckWindow,
    /// Delete the record, its chain and its keys.
    Delete,
}

/// A fresh certificate that never had an attempt.
pub const FIRST: Phase = Phase::Due { attempt: 0, in_flight: None };

/// How far in the future a moment may lie at all: whatever the clock showed when it was written,
/// nothing sleeps longer than this.
const HORIZON: Duration = Duration::from_secs(400 * 24 * 3600);

/// The least time between two installations, where a life is long enough for it.
const REST: Duration = Duration::from_secs(3600);

impl Phase {
    /// When the scheduler must look again; `None` for never (only [`Phase::Halted`]).
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        match *self {
            Self::Due { .. } => Some(now),
            Self::Ordering { deadline, .. } => Some(deadline),
            Self::Holding { renew_at, recheck_at, .. } => {
                Some(recheck_at.map_or(renew_at, |recheck| recheck.min(renew_at)))
            }
            Self::Waiting { until, .. } | Self::Retiring { until } => Some(until),
            Self::Halted { .. } => None,
        }
    }

    /// The word for it, as tables and metrics show it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Due { .. } => "due",
            Self::Ordering { .. } => "ordering",
            Self::Holding { .. } => "holding",
            Self::Waiting { .. } => "waiting",
            Self::Halted { .. } => "halted",
            Self::Retiring { .. } => "retiring",
        }
    }

    /// The failure that put it here, if one did.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Waiting { failure, .. } | Self::Halted { failure, .. } => Some(failure),
            Self::Due { .. } | Self::Ordering { .. } | Self::Holding { .. } => None,
            Self::Retiring { .. } => None,
        }
    }

    /// What an unfinished issuance left behind.
    pub const fn in_flight(&self) -> Option<&InFlight> {
        match self {
            Self::Due { in_flight, .. }
            | Self::Ordering { in_flight, .. }
            | Self::Waiting { in_flight, .. } => in_flight.as_ref(),
            Self::Holding { .. } | Self::Halted { .. } | Self::Retiring { .. } => None,
        }
    }

    /// Applies one event. An event that makes no sense in a phase leaves it unchanged and has no
    /// effect; every such pair is written out, so that a new event forces a decision.
    #[must_use]
    pub fn step(self, event: Event, now: Timestamp) -> (Self, Vec<Effect>) {
        match event {
            Event::Tick => self.tick(now),
            Event::Leased { deadline } => quiet(match self {
                Self::Due { attempt, in_flight } => {
                    Self::Ordering { attempt, in_flight, deadline: deadline.max(now) }
                }
                other => other,
            }),
            Event::KeyStored(key) => quiet(match self {
                Self::Ordering { attempt, in_flight: None, deadline } => {
                    let in_flight = Some(InFlight { key, order: None });
                    Self::Ordering { attempt, in_flight, deadline }
                }
                other => other,
            }),
            Event::KeyDropped => quiet(match self {
                Self::Ordering { attempt, in_flight: _, deadline } => {
                    Self::Ordering { attempt, in_flight: None, deadline }
                }
                other => other,
            }),
            Event::OrderOpened(url) => quiet(self.with_order(Some(url))),
            Event::OrderLost => quiet(self.with_order(None)),
            Event::Installed { validity, window, recheck_at, draw } => quiet(match self {
                Self::Ordering { .. } => {
                    hold(validity, window, recheck_at, draw).not_before(validity, now)
                }
                other => other,
            }),
            Event::Failed { failure, draw } => quiet(self.failed(failure, draw, now)),
            Event::Diverted { attempt, until, failure } => quiet(match self {
                Self::Ordering { .. } => {
                    let until = until.min(now.plus(HORIZON));
                    Self::Waiting { attempt, until, failure, in_flight: None }
                }
                other => other,
            }),
            Event::Abandoned => quiet(match self {
                Self::Due { attempt, .. } => Self::Due { attempt, in_flight: None },
                Self::Waiting { attempt, until, failure, .. } => {
                    Self::Waiting { attempt, until, failure, in_flight: None }
                }
                other => other,
            }),
            Event::WindowChecked { validity, window, recheck_at, draw } => {
                quiet(self.window_checked(validity, window, recheck_at, draw))
            }
            Event::Requested => match self {
                Self::Due { .. } | Self::Ordering { .. } | Self::Retiring { .. } => quiet(self),
                Self::Holding { .. } | Self::Halted { .. } => due(0, None),
                Self::Waiting { attempt, in_flight, .. } => due(attempt, in_flight),
            },
            Event::Changed => match self {
                Self::Halted { .. } => due(0, None),
                Self::Waiting { in_flight, .. } => due(0, in_flight),
                Self::Due { .. }
                | Self::Ordering { .. }
                | Self::Holding { .. }
                | Self::Retiring { .. } => quiet(self),
            },
            Event::Deferred { until, validity } => {
                let renew_at = until.min(validity.last_call());
                quiet(match self {
                    Self::Holding { window, recheck_at, .. } => {
                        Self::Holding { renew_at, window, recheck_at }
                    }
                    Self::Due { .. } | Self::Waiting { .. } => {
                        let window = validity.own_window();
                        Self::Holding { renew_at, window, recheck_at: None }
                    }
                    Self::Ordering { .. } | Self::Halted { .. } | Self::Retiring { .. } => self,
                })
            }
            Event::Restarted => match self {
                Self::Ordering { attempt, in_flight, .. } => due(attempt, in_flight),
                other => quiet(other),
            },
            Event::Removed { keep_until } => quiet(match self {
                Self::Retiring { .. } => self,
                _ => Self::Retiring { until: keep_until.max(now) },
            }),
            Event::Returned { installed, draw } => match (self, installed) {
                (Self::Retiring { .. }, Some(validity)) if validity.last_call() > now => {
                    quiet(hold(validity, None, Some(now), draw))
                }
                (Self::Retiring { .. }, _) => due(0, None),
                (other, _) => quiet(other),
            },
        }
    }

    fn tick(self, now: Timestamp) -> (Self, Vec<Effect>) {
        match self {
            Self::Due { .. } => (self, vec![Effect::Order]),
            Self::Ordering { attempt, in_flight, deadline } if reached(deadline, now) => {
                let failure = Failure::new(FailureKind::Lapsed, "the work did not end in time");
                let until = now.plus(ladder::wait(attempt.saturating_add(1), u32::MAX / 2));
                quiet(Self::Waiting {
                    attempt: attempt.saturating_add(1),
                    until,
                    failure,
                    in_flight,
                })
            }
            Self::Holding { renew_at, .. } if reached(renew_at, now) => due(0, None),
            Self::Holding { recheck_at: Some(recheck), .. } if reached(recheck, now) => {
                (self, vec![Effect::CheckWindow])
            }
            Self::Waiting { attempt, until, in_flight, .. } if reached(until, now) => {
                due(attempt, in_flight)
            }
            Self::Retiring { until } if reached(until, now) => (self, vec![Effect::Delete]),
            Self::Ordering { .. }
            | Self::Holding { .. }
            | Self::Waiting { .. }
            | Self::Halted { .. }
            | Self::Retiring { .. } => quiet(self),
        }
    }

    /// What was installed just now is not renewed at once, whatever window the CA gives: a CA that
    /// names a past window for every new certificate would else be asked in a circle.
    fn not_before(self, validity: Validity, now: Timestamp) -> Self {
        match self {
            Self::Holding { renew_at, window, recheck_at } => {
                let soonest = now.plus(REST.min(validity.life() / 20).max(Duration::from_secs(1)));
                Self::Holding { renew_at: renew_at.max(soonest), window, recheck_at }
            }
            other => other,
        }
    }

    fn with_order(self, order: Option<String>) -> Self {
        match self {
            Self::Ordering { attempt, in_flight: Some(InFlight { key, .. }), deadline } => {
                Self::Ordering { attempt, in_flight: Some(InFlight { key, order }), deadline }
            }
            other => other,
        }
    }

    fn failed(self, failure: Failure, draw: u32, now: Timestamp) -> Self {
        let Self::Ordering { attempt, in_flight, .. } = self else { return self };
        let attempt = attempt.saturating_add(1);
        let laddered = now.plus(ladder::wait(attempt, draw));
        let until = match failure.remedy {
            Remedy::Retry => laddered,
            // The CA's word counts within reason: never sooner than a second, never beyond
            // the horizon, and spread so that not everyone comes back in the same second.
            Remedy::RetryAfter(moment) => moment
                .max(now.plus(Duration::from_secs(1)))
                .min(now.plus(HORIZON))
                .plus(Duration::from_secs(crate::base::jitter::share(30, draw))),
            Remedy::Intervene => return Self::Halted { failure, since: now },
        };
        Self::Waiting { attempt, until, failure, in_flight }
    }

    fn window_checked(
        self,
        validity: Validity,
        new: Option<RenewalWindow>,
        recheck_at: Option<Timestamp>,
        draw: u32,
    ) -> Self {
        match self {
            Self::Holding { renew_at, window, .. } => match new {
                Some(new) if new != window => hold(validity, Some(new), recheck_at, draw),
                // The same window keeps its draw (invariant 6).
                _ => Self::Holding { renew_at, window, recheck_at },
            },
            other => other,
        }
    }
}

/// Whether `moment` is here. A clock that was stepped back only makes it come later
/// (invariant 8).
fn reached(moment: Timestamp, now: Timestamp) -> bool {
    moment <= now
}

fn hold(
    validity: Validity,
    window: Option<RenewalWindow>,
    recheck_at: Option<Timestamp>,
    draw: u32,
) -> Phase {
    let window = window.unwrap_or_else(|| validity.own_window());
    Phase::Holding { renew_at: validity.renewal_moment(window, draw), window, recheck_at }
}

const fn quiet(phase: Phase) -> (Phase, Vec<Effect>) {
    (phase, Vec::new())
}

fn due(attempt: u32, in_flight: Option<InFlight>) -> (Phase, Vec<Effect>) {
    (Phase::Due { attempt, in_flight }, vec![Effect::Order])
}

#[cfg(test)]
#[path = "lifecycle_properties.rs"]
pub(crate) mod properties;
