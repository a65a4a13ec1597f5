//! Which certificate a handshake gets: found in the catalog by name, and kept for the next one.
//!
//! Nothing is loaded ahead: a worker that does not know a name asks the catalog, which takes some
//! microseconds, and never the vault. Kept apart are what was chosen for a name, and certificates
//! made ready, which many names may share; both within bytes and by use, so that one visit to each
//! of a million names pushes nothing out that others ask for.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rustls::ServerConfig;
use rustls::server::ClientHello;

use super::badge::Badges;
use super::cast::Cast;
use super::cast::Fingerprint;
use super::stats::Counters;
use super::terms::Terms;
use super::tls::Mould;
use crate::base::Clock;
use crate::base::Timestamp;
use crate::base::bounds::CASTS_BYTES;
use crate::base::bounds::CHOICE_LIFE;
use crate::base::bounds::CHOICE_LIFE_EMPTY;
use crate::base::bounds::CHOICES_BYTES;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::ports::Catalog;
use crate::cert::ports::Signers;
use crate::cert::served::Served;

/// As many as there are kinds of keys: of each kind, only the best certificate is of use.
const KINDS: usize = 3;

/// What a choice takes beside the name: itself, and its place in the cache.
const CHOICE_FIXED: u64 = 192;

/// The certificates, as all workers find them.
#[derive(Debug)]
pub(super) struct Certificates {
    catalog: Arc<dyn Catalog>,
    signers: Arc<dyn Signers>,
    clock: Arc<dyn Clock>,
    pub(super) mould: Mould,
    choices: Cache<Box<str>, Choice, Weight>,
    casts: Cache<Fingerprint, Arc<Cast>, Weight>,
    /// How often the catalog has changed.
    changes: AtomicU64,
}

/// What was chosen for a name: the best first, nothing for a name without a certificate.
#[derive(Clone, Copy, Debug)]
struct Choice {
    ranked: [Option<Fingerprint>; KINDS],
    made: Timestamp,
    /// When another certificate may be the best one, or the catalog is asked again anyway.
    until: Timestamp,
}

/// Bytes of what is kept.
#[derive(Clone, Debug)]
struct Weight;

/// What a handshake may be served with, the best first; never more than [`KINDS`].
type Ready = Vec<Arc<Cast>>;

impl Certificates {
    pub(super) fn new(
        catalog: Arc<dyn Catalog>,
        signers: Arc<dyn Signers>,
        clock: Arc<dyn Clock>,
        mould: Mould,
    ) -> Self {
        Self::with_room(catalog, signers, clock, mould, CHOICES_BYTES, CASTS_BYTES)
    }

    fn with_room(
        catalog: Arc<dyn Catalog>,
        signers: Arc<dyn Signers>,
        clock: Arc<dyn Clock>,
        mould: Mould,
        choices: u64,
        casts: u64,
    ) -> Self {
        let few = |bytes: u64| usize::try_from(bytes / 4096).unwrap_or(usize::MAX);
        Self {
            catalog,
            signers,
            clock,
            mould,
            choices: Cache::with_weighter(few(choices), choices, Weight),
            casts: Cache::with_weighter(few(casts), casts, Weight),
            changes: AtomicU64::new(0),
        }
    }

    /// Those that are shown to origins.
    pub(super) fn badges(&self) -> Badges {
        let (catalog, signers) = (Arc::clone(&self.catalog), Arc::clone(&self.signers));
        Badges { catalog, signers, clock: Arc::clone(&self.clock) }
    }

    /// The configuration, under `terms`, for a client that asks for `host`, a name in normal form or
    /// an address: the best certificate that this client can check. `None` when there is none at all.
    pub(super) fn find(
        &self,
        host: &str,
        terms: &Arc<Terms>,
        hello: &ClientHello<'_>,
        counters: &Counters,
    ) -> Option<Arc<ServerConfig>> {
        let now = self.clock.now();
        let kept = self.choices.get(host);
        if let Some(choice) = kept.filter(|choice| choice.holds(now))
            && let Some(ready) = self.ready(&choice)
        {
            return self.pick(&ready, terms, hello);
        }
        counters.looked_up.up();
        self.pick(&self.look_up(host, now, kept.as_ref(), counters), terms, hello)
    }

    /// Whether there is a certificate for `host`, a name in normal form.
    pub(super) fn has(&self, host: &str, counters: &Counters) -> bool {
        let now = self.clock.now();
        let kept = self.choices.get(host);
        if let Some(choice) = kept.filter(|choice| choice.holds(now)) {
            return choice.ranked.iter().any(Option::is_some);
        }
        counters.looked_up.up();
        !self.look_up(host, now, kept.as_ref(), counters).is_empty()
    }

    /// Forgets what was chosen for these names: the catalog says something else about them now.
    pub(super) fn forget(&self, names: &[Identifier]) {
        // Before the first name is forgotten: whoever asked the catalog earlier sees it.
        self.changes.fetch_add(1, Ordering::SeqCst);
        let mut bases = HashSet::new();
        for name in names {
            self.choices.remove(name.to_string().as_str());
            if let Identifier::Wildcard(base) = name {
                bases.insert(base.as_str());
            }
        }
        if !bases.is_empty() {
            let under = |host: &str| host.split_once('.').is_some_and(|(_, b)| bases.contains(b));
            self.choices.retain(|host, _| !under(host));
        }
    }

    /// Forgets what was chosen for all names.
    pub(super) fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.choices.clear();
    }

    /// What is kept of the certificates of `choice`; `None` when one was pushed out.
    fn ready(&self, choice: &Choice) -> Option<Ready> {
        choice.ranked.iter().flatten().map(|print| self.casts.get(print)).collect()
    }

    /// Asks the catalog, and keeps what it says.
    fn look_up(
        &self,
        host: &str,
        now: Timestamp,
        kept: Option<&Choice>,
        counters: &Counters,
    ) -> Ready {
        // What no certificate can be for is not kept: it costs nothing to find out again.
        let Ok(identifier) = Identifier::parse(host) else { return Ready::new() };
        let changes = self.changes.load(Ordering::SeqCst);
        let mut candidates = match self.catalog.candidates(&identifier) {
            Ok(candidates) => candidates,
            Err(reason) => {
                counters.catalog_failures.up();
                tracing::error!(host, reason, "the catalog cannot be read, keeping what was known");
                let choice = Choice::again(kept, now);
                self.choices.insert(host.into(), choice);
                return self.ready(&choice).unwrap_or_default();
            }
        };
        candidates.sort_by_cached_key(|served| Reverse(served.rank(&identifier, now)));
        let mut kinds: Vec<KeyAlgorithm> = Vec::with_capacity(KINDS);
        let mut ranked = [None; KINDS];
        let mut ready = Ready::new();
        for served in &candidates {
            if kinds.contains(&served.key.algorithm) {
                continue;
            }
            let Some((print, cast)) = self.cast(served) else { continue };
            if let Some(place) = ranked.get_mut(kinds.len()) {
                *place = Some(print);
            }
            kinds.push(served.key.algorithm);
            ready.push(cast);
        }
        let until = turning_point(&candidates, now);
        self.choices.insert(host.into(), Choice { ranked, made: now, until });
        if self.changes.load(Ordering::SeqCst) != changes {
            // It may be what the catalog said before; whoever changed it may have looked here
            // before this was put in.
            self.choices.remove(host);
        }
        ready
    }

    /// The certificate made ready, unless the vault has no use for it.
    fn cast(&self, served: &Served) -> Option<(Fingerprint, Arc<Cast>)> {
        let print = Fingerprint::of(served);
        if let Some(cast) = self.casts.get(&print) {
            return Some((print, cast));
        }
        match self.signers.certified_key(&served.installed.chain, &served.key) {
            Ok(key) => {
                let cast = Arc::new(Cast::new(&self.mould, served, key));
                self.casts.insert(print, Arc::clone(&cast));
                Some((print, cast))
            }
            Err(reason) => {
                tracing::error!(cert = %served.id, %reason, "certificate is not usable, passing it over");
                None
            }
        }
    }

    /// The first that this client can check; if none is, the handshake fails with the best one,
    /// and so with the alert that says why.
    fn pick(
        &self,
        ready: &[Arc<Cast>],
        terms: &Arc<Terms>,
        hello: &ClientHello<'_>,
    ) -> Option<Arc<ServerConfig>> {
        let suits = |cast: &&Arc<Cast>| cast.suits(hello, terms.provider());
        let cast = match ready {
            [] => return None,
            [only] => only,
            [best, ..] => ready.iter().find(suits).unwrap_or(best),
        };
        Some(self.mould.dress(hello, cast.config(), terms))
    }
}

impl Choice {
    fn holds(&self, now: Timestamp) -> bool {
        self.made <= now && now < self.until
    }

    /// The same for a moment more.
    fn again(kept: Option<&Self>, now: Timestamp) -> Self {
        let ranked = kept.map_or([None; KINDS], |kept| kept.ranked);
        Self { ranked, made: now, until: now.plus(CHOICE_LIFE_EMPTY) }
    }
}

impl Weighter<Box<str>, Choice> for Weight {
    fn weight(&self, host: &Box<str>, _: &Choice) -> u64 {
        CHOICE_FIXED + host.len() as u64
    }
}

impl Weighter<Fingerprint, Arc<Cast>> for Weight {
    fn weight(&self, _: &Fingerprint, cast: &Arc<Cast>) -> u64 {
        cast.weight()
    }
}

/// The next moment at which one of these begins or ceases to be valid, or after which the catalog
/// is asked again in any case.
fn turning_point(candidates: &[Arc<Served>], now: Timestamp) -> Timestamp {
    let life = if candidates.is_empty() { CHOICE_LIFE_EMPTY } else { CHOICE_LIFE };
    let validities = candidates.iter().map(|served| served.installed.validity);
    let turns = validities
        .flat_map(|v| [v.not_before, v.not_after.plus(std::time::Duration::from_secs(1))]);
    turns.filter(|turn| *turn > now).fold(now.plus(life), Timestamp::min)
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
