//! Who gets in when more want in than fit: places for connections, and time for handshakes.
//!
//! One rule serves both: a network may have no more than a fixed multiple of what is left over.
//! Alone, it gets most of what there is (`network_share`); a second one like it leaves less, so both
//! get less; and who has nothing yet gets in as long as anything is left. Nobody is turned away
//! while there is plenty, and no list of the good or the bad is kept. (For buffers of switches this
//! is known as dynamic thresholds, Choudhury and Hahne 1998.)
//!
//! Deliberately absent: sockets and clocks. What was used is told from outside, and when.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::Ledger;
use super::network::Network;
use crate::base::bounds::FALSE_TICKET_MEMORY;
use crate::base::bounds::FALSE_TICKETS;
use crate::base::bounds::HANDSHAKE_COST_MOST;
use crate::base::bounds::HANDSHAKE_LEAST;
use crate::base::bounds::HANDSHAKE_MEMORY;
use crate::base::bounds::HANDSHAKE_RESERVE;
use crate::base::bounds::TURNING_AWAY;
use crate::base::bounds::UNFINISHED_LEAST;
use crate::base::bounds::gate::AWAY_MOST;
use crate::config;

/// What one worker knows of those who want something of it.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Places for connections.
    most: usize,
    open: usize,
    /// Those who have some. It has no more entries than there are connections.
    places: HashMap<Network, usize>,
    /// Handshakes of [`Class::Full`] that wait for their client.
    unfinished: usize,
    /// Seconds of this worker's time, by class.
    full: Ledger,
    returning: Ledger,
    /// Seconds spent on turning away.
    away: Ledger,
    /// Tickets that were brought and did not spare a signature.
    false_tickets: Ledger,
}

/// What a handshake will cost, as far as one can tell from its ClientHello.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    /// Key exchange and signature.
    Full,
    /// The client brings a ticket of ours.
    Returning,
}

/// Why somebody is turned away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Away {
    /// Its network has its share of the connections.
    Connections,
    /// Its network has its share of the time for handshakes.
    Handshakes,
    /// There is no time left for handshakes, whoever asks.
    Busy,
    /// Too many handshakes wait for their clients.
    Unfinished,
}

impl Crowd {
    pub(super) fn new(most: usize, now: Instant) -> Self {
        Self {
            most,
            open: 0,
            places: HashMap::new(),
            unfinished: 0,
            full: Ledger::new(HANDSHAKE_MEMORY, now),
            returning: Ledger::new(HANDSHAKE_MEMORY, now),
            away: Ledger::new(HANDSHAKE_MEMORY, now),
            false_tickets: Ledger::new(FALSE_TICKET_MEMORY, now),
        }
    }

    /// Connections that are open.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) const fn is_full(&self) -> bool {
        self.open >= self.most
    }

    /// Whether `network` may have a further connection.
    pub(super) fn has_place(&self, network: Network, limits: &config::Edge) -> bool {
        let taken = self.places.get(&network).copied().unwrap_or(0);
        // When a listener closes, its queue is taken in beyond what there is.
        let left = self.most.saturating_sub(self.open).max(1);
        // Below its multiple of what is left, with whole numbers.
        taken.saturating_mul(100 - share(limits)) < left.saturating_mul(share(limits))
    }

    /// Takes a place, whether there is one or not.
    pub(super) fn enter(&mut self, network: Network) {
        self.open += 1;
        *self.places.entry(network).or_default() += 1;
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, network: Network) {
        self.open = self.open.saturating_sub(1);
        if let Some(taken) = self.places.get_mut(&network) {
            *taken = taken.saturating_sub(1);
            if *taken == 0 {
                self.places.remove(&network);
            }
        }
    }

    /// How long a handshake may take: less where places are short, as those who never finish are
    /// the ones who hold them.
    pub(super) fn patience(&self, limit: Duration) -> Duration {
        let left = self.most.saturating_sub(self.open);
        let parts = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let share = limit.saturating_mul(parts(left)) / parts(self.most).max(1);
        share.max(HANDSHAKE_LEAST).min(limit)
    }

    /// What a client of `network` is, which brings a ticket or not. A ticket is only believed in
    /// as long as few of that network turn out to spare nothing.
    pub(super) fn class(&self, network: Network, ticket: bool, now: Instant) -> Class {
        if ticket && self.false_tickets.of(network, now) < FALSE_TICKETS {
            Class::Returning
        } else {
            Class::Full
        }
    }

    /// Whether there is time for a handshake of `class` with a client of `network`.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit(
        &self,
        class: Class,
        network: Network,
        limits: &config::Edge,
        now: Instant,
    ) -> Result<(), Away> {
        let all = HANDSHAKE_MEMORY.as_secs_f32() * part(limits.handshake_share);
        let network_share = part(limits.network_share);
        let returning = self.returning.total(now);
        // What turning away costs is missing too, for the new ones.
        let (ledger, spent, away) = match class {
            Class::Full if self.unfinished >= (self.most / 2).max(UNFINISHED_LEAST) => {
                return Err(Away::Unfinished);
            }
            Class::Full => (&self.full, self.full.total(now) + returning, self.away.total(now)),
            Class::Returning => (&self.returning, returning, 0.0),
        };
        if limits.handshake_share < 100 && spent >= all {
            return Err(Away::Busy);
        }
        let away = away.min(all * AWAY_MOST);
        let left = (all - spent - away).max(all * HANDSHAKE_RESERVE);
        if ledger.of(network, now) * (1.0 - network_share) < left * network_share {
            Ok(())
        } else {
            Err(Away::Handshakes)
        }
    }

    /// A handshake of `class` has begun.
    pub(super) fn begin(&mut self, class: Class) {
        self.unfinished += usize::from(class == Class::Full);
    }

    /// A handshake that has begun is over, one way or another.
    pub(super) fn finish(&mut self, class: Class) {
        self.unfinished = self.unfinished.saturating_sub(usize::from(class == Class::Full));
    }

    /// A handshake took `time` of the worker. More than a signature can take was something else's
    /// fault, be it another process on this core or a vault that is being replaced.
    pub(super) fn spent(&mut self, class: Class, network: Network, time: Duration, now: Instant) {
        let seconds = time.min(HANDSHAKE_COST_MOST).as_secs_f32();
        match class {
            Class::Full => self.full.add(network, seconds, now),
            Class::Returning => self.returning.add(network, seconds, now),
        }
    }

    /// A ticket was brought and did not spare the signature, or its client left before that was to
    /// be seen.
    pub(super) fn false_ticket(&mut self, network: Network, now: Instant) {
        self.false_tickets.add(network, 1.0, now);
    }

    /// A client was turned away.
    pub(super) fn turned_away(&mut self, network: Network, now: Instant) {
        self.away.add(network, TURNING_AWAY.as_secs_f32(), now);
    }
}

/// What one network may have of what there is, if it is the only one, in percent.
fn share(limits: &config::Edge) -> usize {
    usize::from(limits.network_share.min(100))
}

fn part(percent: u8) -> f32 {
    f32::from(percent.min(100)) / 100.0
}

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod tests;
