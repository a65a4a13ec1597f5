//! Session tickets at the front door: which keys are in use, and what a ticket is bound to.
//!
//! A ticket is bound to the certificate that vouched for the session, beside the server name, which
//! rustls binds it to: so a session that was made by address alone is not resumed where another
//! certificate is shown. Clients who are asked for a certificate get no tickets at all.
//!
//! TLS 1.2 gets tickets in strict mode only: there the ticket's key opens all that was recorded of
//! a session, where in TLS 1.3 a fresh exchange of keys stands before it. When keys are changed is
//! not decided here, but keys that nobody changed in time are not used on.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::digest;
use rustls::server::ProducesTickets;
use rustls::server::StoresServerSessions;
use tokio::time::Instant;

use super::sessions::Generation;
use super::stats::Counters;
use crate::cert::ports::TicketSeal;
use crate::cert::spec::CertificateId;
use crate::vault::ticket::Context;
use crate::vault::ticket::NAME;
use crate::vault::ticket::RawTicketKey;
use crate::vault::ticket::TicketKey;
use crate::vault::ticket::name_of;

/// The keys in use. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tickets(Arc<ArcSwap<InUse>>);

/// Who has the octets of the keys.
#[derive(Debug, Default)]
enum Holder {
    /// There are no tickets.
    #[default]
    Nobody,
    /// This process.
    Main { current: TicketKey, previous: Option<TicketKey> },
    /// Somebody who is asked for every ticket.
    Other { current: [u8; NAME], previous: Option<[u8; NAME]>, seal: Arc<dyn TicketSeal> },
}

#[derive(Debug, Default)]
struct InUse {
    holder: Holder,
    /// Until when the current key is accepted, and the one before it.
    until: Option<(Instant, Instant)>,
    /// Sessions of clients who may speak early, for which there are no tickets; of the time of
    /// the current key, and of that of the one before it.
    kept: Arc<Generation>,
    kept_before: Arc<Generation>,
}

impl Tickets {
    /// Uses `keys`, the current one first, from now on, and accepts no others. Those without
    /// octets are left to `seal`. The current key is accepted for `life`, the one before it for
    /// `rest`.
    pub fn use_keys(
        &self,
        keys: &[RawTicketKey],
        seal: &Arc<dyn TicketSeal>,
        life: Duration,
        rest: Duration,
    ) {
        let ready =
            |raw: &RawTicketKey| raw.key.as_ref().map(|octets| TicketKey::new(raw.name, octets));
        let (first, second) = (keys.first(), keys.get(1));
        let holder = match (first.and_then(ready), first) {
            (Some(current), _) => Holder::Main { current, previous: second.and_then(ready) },
            (None, Some(first)) => Holder::Other {
                current: first.name,
                previous: second.map(|raw| raw.name),
                seal: Arc::clone(seal),
            },
            (None, None) => Holder::Nobody,
        };
        let now = Instant::now();
        let until = Some((now + life, now + rest));
        let former = self.0.load();
        let was = former.current();
        let name = |raw: Option<&RawTicketKey>| raw.map(|raw| raw.name);
        let (kept, kept_before) = if was.is_some() && was == name(first) {
            (Arc::clone(&former.kept), Arc::clone(&former.kept_before))
        } else if was.is_some() && was == name(second) {
            (Arc::default(), Arc::clone(&former.kept))
        } else {
            (Arc::default(), Arc::default())
        };
        self.0.store(Arc::new(InUse { holder, until, kept, kept_before }));
    }

    /// Whether `ticket` has the name of a key in use, which costs nothing to see and nothing to
    /// forge.
    pub(super) fn know(&self, ticket: &[u8], now: Instant) -> bool {
        let in_use = self.0.load();
        let (Some(name), Some((until, previous_until))) = (name_of(ticket), in_use.until) else {
            return false;
        };
        let (current, previous) = match &in_use.holder {
            Holder::Nobody => return false,
            Holder::Main { current, previous } => {
                (*current.name(), previous.as_ref().map(|key| *key.name()))
            }
            Holder::Other { current, previous, .. } => (*current, *previous),
        };
        current == name && now < until || previous == Some(name) && now < previous_until
    }
}

impl InUse {
    fn current(&self) -> Option<[u8; NAME]> {
        match &self.holder {
            Holder::Nobody => None,
            Holder::Main { current, .. } => Some(*current.name()),
            Holder::Other { current, .. } => Some(*current),
        }
    }
}

/// The tickets of one certificate.
#[derive(Debug)]
pub(super) struct BoundTickets {
    tickets: Tickets,
    context: Context,
}

impl BoundTickets {
    pub(super) fn new(tickets: Tickets, certificate: CertificateId) -> Self {
        let mut context = [0; 32];
        // Who is asked for something gets no ticket (see `super::terms`).
        let bound = [b"keyward ticket, client proves nothing, ", &certificate.0[..]].concat();
        context.copy_from_slice(digest::digest(&digest::SHA256, &bound).as_ref());
        Self { tickets, context }
    }

    fn seal(&self, session: &[u8], now: Instant) -> Option<Vec<u8>> {
        let in_use = self.tickets.0.load();
        let (until, _) = in_use.until?;
        if until <= now {
            return None;
        }
        match &in_use.holder {
            Holder::Nobody => None,
            // See the head of this file.
            Holder::Main { current, .. } if version(session) == Some(TLS_1_3) => {
                current.seal(&self.context, session)
            }
            Holder::Main { .. } => None,
            Holder::Other { seal, .. } => seal.seal(&self.context, session),
        }
    }

    /// The session, or whether its key is known at least.
    fn open(&self, ticket: &[u8], now: Instant) -> Result<Vec<u8>, Unusable> {
        let in_use = self.tickets.0.load();
        let name = name_of(ticket).ok_or(Unusable::Unknown)?;
        let (until, previous_until) = in_use.until.ok_or(Unusable::Unknown)?;
        let opened = match &in_use.holder {
            Holder::Main { current, .. } if *current.name() == name && now < until => {
                current.open(&self.context, ticket)
            }
            Holder::Main { previous: Some(previous), .. }
                if *previous.name() == name && now < previous_until =>
            {
                previous.open(&self.context, ticket)
            }
            Holder::Other { current, seal, .. } if *current == name && now < until => {
                seal.open(&self.context, ticket)
            }
            Holder::Other { previous, seal, .. }
                if *previous == Some(name) && now < previous_until =>
            {
                seal.open(&self.context, ticket)
            }
            Holder::Nobody | Holder::Main { .. } | Holder::Other { .. } => {
                return Err(Unusable::Unknown);
            }
        };
        opened.ok_or(Unusable::Refused)
    }
}

/// Sessions of one certificate's clients who may speak early, instead of tickets: bound to the
/// same, and gone with the ticket keys of their time.
#[derive(Debug)]
pub(super) struct KeptSessions {
    tickets: Tickets,
    context: Context,
}

impl KeptSessions {
    /// For the same certificate as those tickets.
    pub(super) fn beside(bound: &BoundTickets) -> Self {
        Self { tickets: bound.tickets.clone(), context: bound.context }
    }

    /// The certificate stands at the end: shards are chosen by what rustls drew.
    fn name(&self, name: &[u8]) -> Vec<u8> {
        [name, &self.context].concat()
    }
}

impl StoresServerSessions for KeptSessions {
    fn put(&self, name: Vec<u8>, session: Vec<u8>) -> bool {
        let in_use = self.tickets.0.load();
        let usable = in_use.current().is_some() && version(&session) == Some(TLS_1_3);
        usable && in_use.kept.put(self.name(&name), session)
    }

    /// What stays when it is used is for TLS 1.2, of which nothing is kept.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        let in_use = self.tickets.0.load();
        let (until, until_before) = in_use.until?;
        let (now, name) = (Instant::now(), self.name(name));
        let young = || in_use.kept.take(&name).filter(|_| now < until);
        let older = || in_use.kept_before.take(&name).filter(|_| now < until_before);
        young().or_else(older)
    }

    /// Asked for TLS 1.2 only.
    fn can_cache(&self) -> bool {
        false
    }
}

enum Unusable {
    Unknown,
    Refused,
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        !matches!(self.tickets.0.load().holder, Holder::Nobody)
    }

    /// What is left of the time for which the current key is accepted, in seconds.
    fn lifetime(&self) -> u32 {
        let left =
            self.tickets.0.load().until.map_or(Duration::ZERO, |(until, _)| {
                until.saturating_duration_since(Instant::now())
            });
        u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let ticket = self.seal(session, Instant::now())?;
        tally(|tally| tally.issued += 1);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        match self.open(ticket, Instant::now()) {
            Ok(session) => {
                tally(|tally| tally.accepted += 1);
                Some(session)
            }
            Err(Unusable::Unknown) => {
                tally(|tally| tally.unknown += 1);
                None
            }
            Err(Unusable::Refused) => {
                tally(|tally| tally.refused += 1);
                None
            }
        }
    }
}

const TLS_1_3: u16 = 0x0304;

/// The version of a session, which rustls writes behind the server name. `None` for what has
/// another form, as a later rustls may write it: then there is no ticket, and tests say so.
fn version(session: &[u8]) -> Option<u16> {
    let rest = match session.split_first()? {
        (0, rest) => rest,
        (1, rest) => {
            let (len, rest) = rest.split_first()?;
            rest.get(usize::from(*len)..)?
        }
        _ => return None,
    };
    rest.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

/// What the calling thread's handshakes did with tickets since [`settle`]: rustls says nothing of
/// it, and workers share nothing that they write.
#[derive(Clone, Copy, Default)]
struct Tally {
    issued: u64,
    accepted: u64,
    unknown: u64,
    refused: u64,
}

thread_local! {
    static TALLY: Cell<Tally> = const {
        Cell::new(Tally { issued: 0, accepted: 0, unknown: 0, refused: 0 })
    };
}

fn tally(change: impl Fn(&mut Tally)) {
    let mut tally = TALLY.get();
    change(&mut tally);
    TALLY.set(tally);
}

/// Adds to the worker's counts what its handshakes did with tickets.
pub(super) fn settle(counters: &Counters) {
    let Tally { issued, accepted, unknown, refused } = TALLY.take();
    counters.tickets_issued.add(issued);
    counters.tickets_accepted.add(accepted);
    counters.tickets_unknown.add(unknown);
    counters.tickets_refused.add(refused);
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn raw(octet: u8) -> RawTicketKey {
        RawTicketKey { name: [octet; NAME], key: Some(Zeroizing::new([octet; 32])) }
    }

    #[derive(Debug)]
    struct Deaf;

    impl TicketSeal for Deaf {
        fn seal(&self, _: &Context, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn open(&self, _: &Context, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    fn put(tickets: &Tickets, keys: &[RawTicketKey], life: u64, rest: u64) {
        let seal: Arc<dyn TicketSeal> = Arc::new(Deaf);
        tickets.use_keys(keys, &seal, Duration::from_secs(life), Duration::from_secs(rest));
    }

    fn bound(tickets: &Tickets, certificate: u8) -> BoundTickets {
        BoundTickets::new(tickets.clone(), CertificateId([certificate; 8]))
    }

    /// A session of TLS 1.3 for the server name `a`, and one of TLS 1.2 without a name.
    const SESSION: &[u8] = &[1, 1, b'a', 3, 4, 9, 9];
    const OLD_SESSION: &[u8] = &[0, 3, 3, 9, 9];

    #[test]
    fn a_key_is_used_until_its_time_is_over_and_accepted_for_its_certificate_only() {
        let tickets = Tickets::default();
        let site = bound(&tickets, 1);
        assert!(!site.enabled());
        assert_eq!(site.encrypt(SESSION), None);
        put(&tickets, &[raw(1)], 7200, 0);
        let ticket = site.encrypt(SESSION).unwrap();
        assert!(site.enabled() && (7190..=7200).contains(&site.lifetime()));
        let now = Instant::now();
        assert!(tickets.know(&ticket, now) && !tickets.know(&ticket[1..], now));
        assert!(!tickets.know(b"", now));
        assert_eq!(site.decrypt(&ticket).as_deref(), Some(SESSION));
        assert_eq!(bound(&tickets, 2).decrypt(&ticket), None);
        // The next epoch.
        put(&tickets, &[raw(2), raw(1)], 7200, 3600);
        assert_eq!(site.decrypt(&ticket).as_deref(), Some(SESSION));
        assert_ne!(site.encrypt(SESSION).unwrap()[..NAME], ticket[..NAME]);
        put(&tickets, &[raw(3), raw(2)], 7200, 3600);
        assert_eq!(site.decrypt(&ticket), None);
        let Tally { issued, accepted, unknown, refused } = TALLY.take();
        assert_eq!((issued, accepted, unknown, refused), (2, 2, 1, 1));
    }

    #[test]
    fn kept_sessions_live_as_long_as_the_keys_of_their_time_and_for_one_use() {
        let tickets = Tickets::default();
        let kept = |certificate| KeptSessions::beside(&bound(&tickets, certificate));
        let site = kept(1);
        assert!(!site.put(b"early".to_vec(), SESSION.to_vec()), "kept without a key");
        put(&tickets, &[raw(1)], 7200, 0);
        assert!(!site.put(b"old".to_vec(), OLD_SESSION.to_vec()));
        for name in [b"one", b"two", b"six", b"ten"] {
            assert!(site.put(name.to_vec(), SESSION.to_vec()));
        }
        assert_eq!(kept(2).take(b"one"), None, "given out for another certificate");
        assert_eq!(site.take(b"one").as_deref(), Some(SESSION));
        assert_eq!(site.take(b"one"), None, "given out twice");
        // The same key, in force again; the next one; the one after it; a new beginning.
        put(&tickets, &[raw(1)], 7200, 0);
        assert!(site.take(b"two").is_some());
        put(&tickets, &[raw(2), raw(1)], 7200, 3600);
        assert!(site.take(b"six").is_some());
        assert!(site.put(b"new".to_vec(), SESSION.to_vec()));
        put(&tickets, &[raw(3), raw(2)], 7200, 3600);
        assert_eq!(site.take(b"ten"), None, "a session outlives its keys");
        put(&tickets, &[raw(4)], 7200, 0);
        assert_eq!(site.take(b"new"), None, "a session outlives a replacement");
    }

    /// Should nobody turn the ratchet any more.
    #[test]
    fn keys_that_nobody_changes_are_not_used_on() {
        let tickets = Tickets::default();
        let site = bound(&tickets, 1);
        put(&tickets, &[raw(1)], 7200, 3600);
        let old = site.encrypt(SESSION).unwrap();
        put(&tickets, &[raw(2), raw(1)], 7200, 3600);
        let ticket = site.encrypt(SESSION).unwrap();
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(site.open(&old, after(3590)).is_ok() && site.open(&ticket, after(7190)).is_ok());
        assert!(site.open(&old, after(3601)).is_err());
        assert!(site.open(&ticket, after(7201)).is_err());
        assert!(tickets.know(&old, after(3590)) && !tickets.know(&old, after(3601)));
        assert!(tickets.know(&ticket, after(7190)) && !tickets.know(&ticket, after(7201)));
        assert!(site.seal(SESSION, after(7190)).is_some());
        assert_eq!(site.seal(SESSION, after(7201)), None);
    }

    #[test]
    fn a_session_of_tls_1_2_gets_no_ticket_whose_key_main_holds() {
        let tickets = Tickets::default();
        put(&tickets, &[raw(1)], 7200, 0);
        let site = bound(&tickets, 1);
        assert!(site.encrypt(SESSION).is_some());
        for other in [OLD_SESSION, &[1, 1, b'a', 3, 3, 9], &[1, 200, 3, 4], &[7, 3, 4], &[]] {
            assert_eq!(site.encrypt(other), None, "{other:?}");
        }
    }
}
