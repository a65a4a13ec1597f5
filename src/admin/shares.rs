//! What everybody who uses the socket has taken of it: connections, requests in work, followers, and
//! requests within the last minute. Each has a share of its own, so whoever takes all of that hinders
//! nobody else.
//!
//! Deliberately absent: who somebody is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::caller::Caller;
use crate::base::bounds;
use crate::base::bounds::admin as limits;
use crate::cert::client::ClientName;
use crate::cert::rights::Role;
use crate::config::Share;

/// Who shares with nobody else.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub(super) enum Party {
    /// All who operate the house, together.
    Operators,
    /// A client, whichever of its users or tokens it is.
    Client(ClientName),
    /// A user that is neither.
    Stranger(u32),
}

/// What is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// A connection.
    Connection,
    /// A request that is worked on.
    Request,
    /// A request that follows the journal.
    Follower,
    /// Nothing that is given back: a token that was none.
    BadToken,
}

/// Who has taken what.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    state: Arc<Mutex<State>>,
    share: Arc<ArcSwap<Share>>,
}

#[derive(Debug)]
struct State {
    all: HashMap<Party, Taken>,
    /// Connections of strangers, all together.
    strangers: usize,
    /// When those were forgotten last who have nothing.
    swept: Instant,
}

#[derive(Debug)]
struct Taken {
    connections: usize,
    requests: usize,
    followers: usize,
    asked: Bucket,
    bad_tokens: Bucket,
}

/// Fills up evenly, and is emptied by what is asked.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// Something that was taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    shares: Shares,
    party: Party,
    what: What,
}

/// A share that is used up, and when some of it is there again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct UsedUp {
    /// What there is no more of.
    pub(super) what: What,
    /// How many there may be, at a time or in a minute.
    pub(super) most: usize,
    /// Whether it is a matter of time alone.
    pub(super) rate: bool,
    /// When to come again.
    pub(super) again: Duration,
}

impl Party {
    /// Whose share `caller` takes from.
    pub(super) fn of(caller: &Caller) -> Self {
        match (&caller.name, caller.role) {
            (_, Role::Operator) => Self::Operators,
            (Some(name), _) => Self::Client(name.clone()),
            (None, _) => Self::Stranger(caller.peer.uid),
        }
    }
}

impl Bucket {
    fn full(most: u32, now: Instant) -> Self {
        Self { left: f64::from(most), at: now }
    }

    /// Fills it up for the time that has passed.
    fn fill(&mut self, most: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = passed.mul_add(f64::from(most) / 60.0, self.left).min(f64::from(most));
        // Another thread may have looked a moment later.
        self.at = self.at.max(now);
    }

    /// Takes one, or says when there is one.
    fn take(&mut self, most: u32, now: Instant) -> Result<(), Duration> {
        self.fill(most, now);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        let seconds = (1.0 - self.left) * 60.0 / f64::from(most.max(1));
        Err(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)))
    }
}

impl Shares {
    pub(super) fn new(share: Share) -> Self {
        let state = State { all: HashMap::new(), strangers: 0, swept: Instant::now() };
        let state = Arc::new(Mutex::new(state));
        Self { state, share: Arc::new(ArcSwap::from_pointee(share)) }
    }

    /// What is given to each client from now on.
    pub(super) fn set(&self, share: Share) {
        self.share.store(Arc::new(share));
    }

    /// The largest body of a request, in octets.
    pub(super) fn body(&self) -> usize {
        self.share.load().body
    }

    /// Takes a part of a share, until it is dropped.
    ///
    /// # Errors
    /// When it is used up.
    pub(super) fn take(&self, party: &Party, what: What) -> Result<Hold, UsedUp> {
        self.take_at(party, what, Instant::now())
    }

    fn take_at(&self, party: &Party, what: What, now: Instant) -> Result<Hold, UsedUp> {
        let share = **self.share.load();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep(now, share.per_minute);
        // Those that nobody knows are many, if one wants to be.
        let strange = what == What::Connection && matches!(party, Party::Stranger(_));
        if strange && state.strangers >= limits::STRANGERS {
            let (most, again) = (limits::STRANGERS, Duration::from_secs(1));
            return Err(UsedUp { what, most, rate: false, again });
        }
        let (connections, requests, followers, per_minute) = match party {
            Party::Operators => (
                bounds::ADMIN_CONNECTIONS + limits::OPERATORS_WAITING,
                usize::MAX,
                bounds::ADMIN_FOLLOWERS,
                None,
            ),
            Party::Client(_) => {
                let followers = share.connections.div_ceil(2);
                (share.connections, share.requests, followers, Some(share.per_minute))
            }
            Party::Stranger(_) => (
                limits::STRANGER_CONNECTIONS,
                limits::STRANGER_CONNECTIONS,
                1,
                Some(limits::STRANGER_PER_MINUTE),
            ),
        };
        let taken = state.all.entry(party.clone()).or_insert_with(|| Taken {
            connections: 0,
            requests: 0,
            followers: 0,
            asked: Bucket::full(per_minute.unwrap_or(0), now),
            bad_tokens: Bucket::full(limits::BAD_TOKENS_PER_MINUTE, now),
        });
        let used_up = |most: usize, rate: bool, again: Duration| UsedUp { what, most, rate, again };
        let moment = Duration::from_secs(1);
        let (count, most) = match what {
            What::Connection => (&mut taken.connections, connections),
            What::Request => (&mut taken.requests, requests),
            What::Follower => (&mut taken.followers, followers),
            What::BadToken => {
                let most = limits::BAD_TOKENS_PER_MINUTE;
                let left = taken.bad_tokens.take(most, now);
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                left.map_err(|again| used_up(most, true, again))?;
                return Ok(self.hold(party, what));
            }
        };
        if *count >= most {
            return Err(used_up(most, false, moment));
        }
        if let (What::Request, Some(rate)) = (what, per_minute) {
            let most = usize::try_from(rate).unwrap_or(usize::MAX);
            taken.asked.take(rate, now).map_err(|again| used_up(most, true, again))?;
        }
        *count += 1;
        state.strangers += usize::from(strange);
        Ok(self.hold(party, what))
    }

    /// Whether bad tokens of this user are still heard.
    pub(super) fn hears(&self, party: &Party) -> Result<(), UsedUp> {
        self.hears_at(party, Instant::now())
    }

    fn hears_at(&self, party: &Party, now: Instant) -> Result<(), UsedUp> {
        let most = limits::BAD_TOKENS_PER_MINUTE;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(taken) = state.all.get_mut(party) else { return Ok(()) };
        taken.bad_tokens.fill(most, now);
        // Looked at, not taken.
        let mut copy = taken.bad_tokens;
        copy.take(most, now).map_err(|again| UsedUp {
            what: What::BadToken,
            most: usize::try_from(most).unwrap_or(usize::MAX),
            rate: true,
            again,
        })
    }

    fn hold(&self, party: &Party, what: What) -> Hold {
        Hold { shares: self.clone(), party: party.clone(), what }
    }

    fn give_back(&self, party: &Party, what: What) {
        let per_minute = self.share.load().per_minute;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if what == What::Connection && matches!(party, Party::Stranger(_)) {
            state.strangers = state.strangers.saturating_sub(1);
        }
        if let Entry::Occupied(mut found) = state.all.entry(party.clone()) {
            let taken = found.get_mut();
            let count = match what {
                What::Connection => Some(&mut taken.connections),
                What::Request => Some(&mut taken.requests),
                What::Follower => Some(&mut taken.followers),
                What::BadToken => None,
            };
            if let Some(count) = count {
                *count = count.saturating_sub(1);
            }
            if taken.is_idle(party, per_minute, Instant::now()) {
                found.remove();
            }
        }
    }
}

impl Taken {
    /// Whether it has nothing, and has asked for nothing lately.
    fn is_idle(&mut self, party: &Party, per_minute: u32, now: Instant) -> bool {
        let most = match party {
            Party::Operators => 0,
            Party::Client(_) => per_minute,
            Party::Stranger(_) => limits::STRANGER_PER_MINUTE,
        };
        self.asked.fill(most, now);
        self.bad_tokens.fill(limits::BAD_TOKENS_PER_MINUTE, now);
        let full = self.asked.left >= f64::from(most)
            && self.bad_tokens.left >= f64::from(limits::BAD_TOKENS_PER_MINUTE);
        full && self.connections + self.requests + self.followers == 0
    }
}

impl State {
    /// Forgets those who have nothing, now and then: strangers may be many.
    fn sweep(&mut self, now: Instant, per_minute: u32) {
        if now.saturating_duration_since(self.swept) >= limits::SWEEP {
            self.swept = now;
            self.all.retain(|party, taken| !taken.is_idle(party, per_minute, now));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shares.give_back(&self.party, self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { connections: 3, requests: 2, per_minute: 60, body: 1 << 20 };

    fn client(name: &str) -> Party {
        Party::Client(ClientName::parse(name).unwrap())
    }

    #[test]
    fn each_exhausts_its_own_share_alone() {
        let shares = Shares::new(SHARE);
        let (ann, bob) = (client("ann"), client("bob"));
        let held: Vec<_> = (0..3).map(|_| shares.take(&ann, What::Connection).unwrap()).collect();
        let refused = shares.take(&ann, What::Connection).unwrap_err();
        assert_eq!((refused.most, refused.rate), (3, false));
        let _bob = shares.take(&bob, What::Connection).unwrap();
        let _operator = shares.take(&Party::Operators, What::Connection).unwrap();
        drop(held);
        let _again = shares.take(&ann, What::Connection).unwrap();
        let _one = shares.take(&ann, What::Request).unwrap();
        let _two = shares.take(&ann, What::Request).unwrap();
        assert!(shares.take(&ann, What::Request).is_err());
        assert!(shares.take(&bob, What::Request).is_ok());
    }

    #[test]
    fn a_minute_has_so_many_requests_and_they_flow_back() {
        let shares = Shares::new(SHARE);
        let (ann, begin) = (client("ann"), Instant::now());
        for _ in 0..60 {
            shares.take_at(&ann, What::Request, begin).unwrap();
        }
        let refused = shares.take_at(&ann, What::Request, begin).unwrap_err();
        assert!(refused.rate && refused.again <= Duration::from_secs(1), "{refused:?}");
        let later = begin + Duration::from_millis(1100);
        // What was asked is given back, and does not count anew for that.
        shares.take_at(&ann, What::Request, later).unwrap();
        assert!(shares.take_at(&ann, What::Request, later).is_err());
        for _ in 0..1000 {
            shares.take_at(&Party::Operators, What::Request, begin).unwrap();
        }
    }

    #[test]
    fn strangers_are_bounded_each_and_together_and_forgotten() {
        let shares = Shares::new(SHARE);
        let mut held = Vec::new();
        for user in 0..1000 {
            for _ in 0..10 {
                held.extend(shares.take(&Party::Stranger(user), What::Connection).ok());
            }
        }
        assert_eq!(held.len(), limits::STRANGERS);
        shares.take(&client("ann"), What::Connection).unwrap();
        drop(held);
        assert!(shares.state.lock().unwrap().all.is_empty(), "nobody is remembered");
        let stranger = Party::Stranger(7);
        let begin = Instant::now();
        for _ in 0..limits::BAD_TOKENS_PER_MINUTE {
            shares.hears_at(&stranger, begin).unwrap();
            shares.take_at(&stranger, What::BadToken, begin).unwrap();
        }
        assert!(shares.hears_at(&stranger, begin).is_err());
        shares.hears_at(&Party::Stranger(8), begin).unwrap();
        shares.hears_at(&stranger, begin + Duration::from_secs(7)).unwrap();
    }
}
