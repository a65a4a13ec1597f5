//! Signatures held against handshakes, key by key: rates, and the alarm when somebody has the vault
//! sign for handshakes that nobody began.
//!
//! Pure: counts and the moment come in, alarms go out. Both sides count within bounds, so what is
//! compared is the least that was signed with the most that was begun: where there are too many
//! keys to count each exactly, an alarm may come late, but none is false. What stands here is
//! bounded: the busiest keys, and the newest alarms.

use std::collections::HashMap;
use std::collections::VecDeque;

use super::tally::Counted;
use crate::base::Timestamp;
use crate::base::bounds;

/// What a key did since the present vault began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Account {
    /// Signatures over handshakes.
    pub signatures: u64,
    /// Handshakes that reached signing.
    pub handshakes: u64,
    /// Signatures in a minute, over the last one or two.
    pub per_minute: u64,
}

/// A key signed far more than its handshakes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Alarm {
    /// When it was noticed.
    pub at: Timestamp,
    /// The key.
    pub key: u64,
    /// What it has signed at least, since the vault began.
    pub signatures: u64,
    /// The handshakes that there were for it at most.
    pub handshakes: u64,
}

/// What one look found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Which vault it was; its counts begin with it.
    pub era: u64,
    /// What it signed, and the handshakes there were for it; each key once.
    pub counts: Vec<(Counted, Counted)>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    era: u64,
    since: Timestamp,
    keys: HashMap<u64, Line>,
    /// The moments of `Line::marks`.
    marks: [Timestamp; 2],
    alarms: VecDeque<Alarm>,
    /// When there was an alarm about a key, and how much was too much then.
    told: HashMap<u64, (Timestamp, u64)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    signatures: u64,
    handshakes: u64,
    /// What it had signed at the last mark, and at that before it.
    marks: [u64; 2],
}

/// Between two marks, over which a rate is taken.
const MINUTE: u64 = 60;

impl Ledger {
    /// Takes in what a look at `now` found, and gives the alarms that are new.
    pub fn enter(&mut self, look: &Look, now: Timestamp) -> Vec<Alarm> {
        // The first vault may be of the era that this one begins with.
        if self.era != look.era || self.since == Timestamp::default() {
            self.keys.clear();
            (self.era, self.since, self.marks) = (look.era, now, [now; 2]);
            // The counts begin again, and so does what is too much.
            self.told.values_mut().for_each(|(_, excess)| *excess = 0);
        }
        // A clock that was set back has to find its minutes anew.
        let back = now < self.marks[0];
        let turn = back || now.since(self.marks[0]).as_secs() >= MINUTE;
        let all_were_known = self.keys.len() < bounds::SIGN_RATES;
        let mut counts: Vec<&(Counted, Counted)> = look.counts.iter().collect();
        if counts.len() > bounds::SIGN_RATES {
            counts.select_nth_unstable_by_key(bounds::SIGN_RATES, |(signed, _)| {
                std::cmp::Reverse(signed.most)
            });
        }
        let before = std::mem::take(&mut self.keys);
        self.keys = counts
            .into_iter()
            .take(bounds::SIGN_RATES)
            .map(|(signed, begun)| {
                let (signatures, handshakes) = (signed.most, begun.most);
                let marks = match before.get(&signed.key) {
                    _ if back => [signatures; 2],
                    Some(known) if turn => [signatures, known.marks[0]],
                    Some(known) => known.marks,
                    // It did all of it since the last look.
                    None if all_were_known => [if turn { signatures } else { 0 }, 0],
                    None => [signatures; 2],
                };
                (signed.key, Line { signatures, handshakes, marks })
            })
            .collect();
        if turn {
            self.marks = [now, if back { now } else { self.marks[0] }];
        }
        self.raise(look, now)
    }

    /// Since when there are counts.
    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// What `key` did; nothing is known of one that is not among the busiest, nor before the first
    /// look.
    pub fn account(&self, key: u64, now: Timestamp) -> Option<Account> {
        let nothing = || {
            let all_are_known = self.keys.len() < bounds::SIGN_RATES;
            (all_are_known && self.since > Timestamp::default()).then(Account::default)
        };
        self.keys.get(&key).map(|line| self.read(line, now)).or_else(nothing)
    }

    /// The busiest keys of now, by their rate.
    pub fn busiest(&self, count: usize, now: Timestamp) -> Vec<(u64, Account)> {
        let mut all: Vec<_> =
            self.keys.iter().map(|(key, line)| (*key, self.read(line, now))).collect();
        all.sort_unstable_by_key(|(key, one)| {
            (std::cmp::Reverse((one.per_minute, one.signatures)), *key)
        });
        all.truncate(count);
        all
    }

    /// The alarms that are not old, newest first.
    pub fn alarms(&self, now: Timestamp) -> Vec<Alarm> {
        let fresh = |alarm: &&Alarm| now.since(alarm.at) < bounds::SIGN_ALARM_PAUSE;
        self.alarms.iter().filter(fresh).copied().collect()
    }

    fn read(&self, line: &Line, now: Timestamp) -> Account {
        let Line { signatures, handshakes, marks } = *line;
        // The first minute is short; a rate over less than some seconds would say little.
        let seconds = now.since(self.marks[1]).as_secs().max(bounds::SIGN_LOOK.as_secs());
        let signed = signatures.saturating_sub(marks[1]);
        let per_minute = signed.saturating_mul(MINUTE).div_ceil(seconds.max(1));
        Account { signatures, handshakes, per_minute }
    }

    fn raise(&mut self, look: &Look, now: Timestamp) -> Vec<Alarm> {
        // A moment that is yet to come is one of a clock that was set back.
        let recent = |at: Timestamp| at <= now && now.since(at) < bounds::SIGN_ALARM_PAUSE;
        let mut new = Vec::new();
        for (signed, begun) in &look.counts {
            let (signatures, handshakes) = (signed.least(), begun.most);
            let excess = signatures.saturating_sub(handshakes);
            let told = self.told.get(&signed.key);
            let grown = excess.saturating_sub(told.map_or(0, |(_, before)| *before));
            if grown >= bounds::SIGN_EXCESS && !told.is_some_and(|(at, _)| recent(*at)) {
                new.push((excess, Alarm { at: now, key: signed.key, signatures, handshakes }));
            }
        }
        // The worst first, and no more of them at once than stand in status.
        new.sort_unstable_by_key(|(excess, _)| std::cmp::Reverse(*excess));
        new.truncate(bounds::SIGN_ALARMS);
        if self.told.len() >= bounds::SIGN_RATES {
            self.told.retain(|_, (at, _)| recent(*at));
        }
        new.retain(|_| self.told.len() < bounds::SIGN_RATES);
        for (excess, alarm) in &new {
            self.told.insert(alarm.key, (now, *excess));
            self.alarms.push_front(*alarm);
        }
        self.alarms.truncate(bounds::SIGN_ALARMS);
        new.into_iter().map(|(_, alarm)| alarm).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn after(seconds: u64) -> Timestamp {
        Timestamp::from_unix(START.as_unix() + seconds)
    }

    /// Keys with signatures and handshakes, all of them certain.
    fn look(era: u64, keys: &[(u64, u64, u64)]) -> Look {
        let exact = |key, most| Counted { key, most, inherited: 0 };
        let counts = keys.iter().map(|(key, s, h)| (exact(*key, *s), exact(*key, *h))).collect();
        Look { era, counts }
    }

    #[test]
    fn a_key_that_signs_what_nobody_began_is_told_once_in_an_hour_and_only_if_it_goes_on() {
        let mut ledger = Ledger::default();
        let limit = bounds::SIGN_EXCESS;
        assert_eq!(ledger.enter(&look(1, &[(7, 1_000_000, 1_000_000)]), after(0)), []);
        assert_eq!(ledger.enter(&look(1, &[(7, 1_000_000 + limit - 1, 1_000_000)]), after(5)), []);
        let told =
            ledger.enter(&look(1, &[(7, 1_000_000 + limit, 1_000_000), (8, 9, 9)]), after(10));
        let (signatures, handshakes) = (1_000_000 + limit, 1_000_000);
        assert_eq!(told, [Alarm { at: after(10), key: 7, signatures, handshakes }]);
        assert_eq!(ledger.alarms(after(10)), told);
        // It goes on, within the hour.
        let worse = look(1, &[(7, 2_000_000, 1_000_000)]);
        assert_eq!(ledger.enter(&worse, after(15)), []);
        assert_eq!(ledger.enter(&worse, after(10 + 3600)).len(), 1);
        assert_eq!(ledger.alarms(after(10 + 3600)).len(), 1, "the old one is over");
        // It does not go on: an hour later there is nothing to be told.
        assert_eq!(ledger.enter(&worse, after(3 * 3600)), []);
        assert_eq!(ledger.alarms(after(3 * 3600)), []);
        // Another vault counts from nothing, so as much again is news.
        assert_eq!(ledger.enter(&look(2, &[(7, limit, 0)]), after(4 * 3600)).len(), 1);
    }

    #[test]
    fn the_first_vault_is_known_since_the_first_look_at_it() {
        let mut ledger = Ledger::default();
        ledger.enter(&look(0, &[(7, 4, 4)]), after(5));
        ledger.enter(&look(0, &[(7, 9, 9)]), after(10));
        assert_eq!(ledger.since(), after(5));
        assert!(ledger.account(8, after(10)).is_some(), "it did nothing, which is known");
    }

    #[test]
    fn what_is_not_certain_is_no_reason_for_an_alarm() {
        let mut ledger = Ledger::default();
        let signed = Counted { key: 7, most: 1_000_000, inherited: 999_000 };
        let begun = Counted { key: 7, most: 1000, inherited: 1000 };
        let uncertain = Look { era: 1, counts: vec![(signed, begun)] };
        assert_eq!(ledger.enter(&uncertain, after(0)), []);
        let certain =
            Look { era: 1, counts: vec![(Counted { inherited: 998_000, ..signed }, begun)] };
        assert_eq!(ledger.enter(&certain, after(5)).len(), 1);
    }

    #[test]
    fn many_alarms_at_once_are_the_worst_of_them_and_none_comes_twice() {
        let mut ledger = Ledger::default();
        let keys: Vec<_> = (1..=100).map(|n| (n, n * bounds::SIGN_EXCESS, 0)).collect();
        let mut told = Vec::new();
        for second in 0..20 {
            let new = ledger.enter(&look(1, &keys), after(second));
            assert!(new.len() <= bounds::SIGN_ALARMS);
            assert!(ledger.alarms(after(second)).len() <= bounds::SIGN_ALARMS);
            told.extend(new.into_iter().map(|alarm| alarm.key));
        }
        assert_eq!(told, (1..=100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_rate_is_that_of_the_last_minutes() {
        let mut ledger = Ledger::default();
        let rate = |ledger: &Ledger, at| ledger.account(7, after(at)).unwrap().per_minute;
        for second in (0..=600).step_by(5) {
            ledger.enter(&look(1, &[(7, second * 10, second * 10)]), after(second));
            let expected = if second == 0 { 0 } else { 600 };
            assert_eq!(rate(&ledger, second), expected, "at {second}");
        }
        // Then nothing more.
        for second in (605..=720).step_by(5) {
            ledger.enter(&look(1, &[(7, 6000, 6000)]), after(second));
        }
        assert_eq!(rate(&ledger, 720), 0);
        assert_eq!(ledger.busiest(5, after(720)).len(), 1);
        // A clock that is set back makes no rate out of nothing.
        ledger.enter(&look(1, &[(7, 6000, 6000)]), after(100));
        assert_eq!(rate(&ledger, 100), 0);
        ledger.enter(&look(1, &[(7, 6060, 6060)]), after(160));
        assert_eq!(rate(&ledger, 160), 60);
    }

    #[test]
    fn no_more_keys_are_kept_than_there_is_room_for_and_these_are_the_busiest() {
        let mut ledger = Ledger::default();
        let count = u64::try_from(bounds::SIGN_RATES).unwrap() + 100;
        let keys: Vec<_> = (1..=count).map(|n| (n, n, n)).collect();
        ledger.enter(&look(1, &keys), after(0));
        assert_eq!(ledger.keys.len(), bounds::SIGN_RATES);
        assert!(ledger.account(count, after(5)).is_some() && ledger.account(1, after(5)).is_none());
        // One that comes in later is not taken for one that did all of it just now.
        let mut keys = keys;
        keys[0] = (1, 10 * count, 10 * count);
        ledger.enter(&look(1, &keys), after(5));
        assert_eq!(ledger.account(1, after(5)).unwrap().per_minute, 0);
    }
}
