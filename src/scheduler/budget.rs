//! What is left of a CA's rate limits, mirrored here so that keyward never runs into them.
//!
//! Limits are token buckets that refill steadily. A CA without any is counted and not limited. An
//! order that names the certificate it replaces is exempt from all of them (RFC 9773, section 5); one
//! for names that the CA has certified before, from those on new orders and on domains.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::limits::Limit;
use crate::cert::limits::Limits;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;

/// The longest span of a limit.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What an order is to its CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Novelty {
    /// Its names were never certified together.
    New,
    /// They were.
    Same,
    /// It names the certificate that it replaces.
    Replacement,
}

impl Novelty {
    /// What an order for `record` at `issuer` is that names no predecessor.
    pub fn of(record: &Certificate, issuer: &IssuerName) -> Self {
        // The names of a certificate are its identity, but of one that was brought the CA knows nothing.
        let known = record.installed.is_some() && record.spec.role != Role::Imported;
        if known && record.issued_by() == issuer { Self::Same } else { Self::New }
    }

    /// What the journal says of an order that was opened, after that.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::New => "",
            Self::Same => ", for names it knows",
            Self::Replacement => ", which names what it replaces",
        }
    }

    /// What the journal said. Where it says nothing, as it did formerly, too little is permitted for
    /// some hours rather than too much.
    fn told(message: &str) -> Self {
        let ends = |novelty: &Self| message.ends_with(novelty.in_words());
        [Self::Replacement, Self::Same].into_iter().find(ends).unwrap_or(Self::New)
    }
}

/// A token bucket, kept as the moment at which it will be full again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bucket {
    full_at: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub const FULL: Self = Self { full_at: Timestamp::from_unix(0) };

    /// Whether a token is there at `now`; if not, the moment at which one will be.
    ///
    /// # Errors
    /// That moment.
    pub fn look(self, limit: Limit, now: Timestamp) -> Result<(), Timestamp> {
        let free = self.debt(limit, now) + interval(limit) <= limit.span;
        if free {
            return Ok(());
        }
        let over = (self.debt(limit, now) + interval(limit)).saturating_sub(limit.span);
        Err(now.plus(over))
    }

    /// Takes a token whether or not one is there: for what has happened anyway.
    #[must_use]
    pub fn spend(self, limit: Limit, now: Timestamp) -> Self {
        Self { full_at: now.plus((self.debt(limit, now) + interval(limit)).min(limit.span)) }
    }

    /// Puts a token back that was taken for nothing.
    #[must_use]
    pub const fn refund(self, limit: Limit) -> Self {
        Self { full_at: self.full_at.minus(interval(limit)) }
    }

    /// The same, never emptier than empty: after a clock was stepped back, a moment far ahead
    /// would else keep the bucket locked until the clock is there again.
    #[must_use]
    pub fn settle(self, limit: Limit, now: Timestamp) -> Self {
        Self { full_at: self.full_at.min(now.plus(limit.span)) }
    }

    /// How long it takes to be full.
    fn debt(self, limit: Limit, now: Timestamp) -> Duration {
        self.full_at.since(now).min(limit.span)
    }
}

/// The refill time of one token, in whole seconds and rounded up: never faster than the CA.
const fn interval(limit: Limit) -> Duration {
    let tokens = if limit.tokens == 0 { 1 } else { limit.tokens as u64 };
    Duration::from_secs(limit.span.as_secs().div_ceil(tokens))
}

/// Leave to open one order. Not cloneable: it is used up, or given back.
#[derive(Debug)]
#[must_use = "a permit that opened no order is given back"]
pub struct Permit {
    spec: Specification,
    novelty: Novelty,
}

/// The budgets of every CA.
#[derive(Debug, Default)]
pub struct Budget {
    /// What is not as the CA has published it.
    limits: HashMap<IssuerName, Limits>,
    orders: HashMap<IssuerName, Bucket>,
    domains: HashMap<(IssuerName, String), Bucket>,
    sets: HashMap<(IssuerName, Vec<Identifier>), Bucket>,
    failures: HashMap<(IssuerName, Identifier), Bucket>,
    in_a_row: HashMap<(IssuerName, Identifier), u32>,
    opened: HashMap<IssuerName, u64>,
}

impl Budget {
    /// What the journal and the records tell of the past, oldest entry first, under these limits.
    pub fn rebuild(
        records: &[Certificate],
        journal: &[Entry],
        limits: HashMap<IssuerName, Limits>,
    ) -> Self {
        let mut budget = Self { limits, ..Self::default() };
        let mut specs: HashMap<CertificateId, Specification> =
            records.iter().map(|record| (record.id(), record.spec.clone())).collect();
        let newest = journal.iter().map(|entry| entry.at).max().unwrap_or_default();
        // What is older than the longest span has flowed back.
        for entry in journal.iter().filter(|entry| newest.since(entry.at) <= LONGEST) {
            let spec = entry.certificate.and_then(|id| specs.get_mut(&id));
            let Some(spec) = spec else { continue };
            match entry.kind {
                // Of several CAs, the entry names the one that was asked.
                EntryKind::Ordering => {
                    let host = entry.message.strip_prefix("ordering from ");
                    let named = host.and_then(|host| budget.called(host));
                    spec.issuer = named.unwrap_or_else(|| spec.issuer.clone());
                }
                EntryKind::OrderOpened => {
                    budget.count(&spec.issuer);
                    match Novelty::told(&entry.message) {
                        Novelty::Replacement => {}
                        counted => budget.spend_order(spec, counted, entry.at),
                    }
                }
                EntryKind::Failed | EntryKind::Halted | EntryKind::Astray => {
                    // Which names failed is not in the journal; all of them is the safe reading.
                    for name in spec.names() {
                        budget.spend_failure(&spec.issuer, name, entry.at);
                    }
                }
                EntryKind::Installed => budget.succeeded(spec),
                _ => {}
            }
        }
        budget
    }

    /// Limits that are not as the CAs have published them, from now on.
    pub fn limit(&mut self, limits: HashMap<IssuerName, Limits>) {
        self.limits = limits;
    }

    /// The CA that is shown under this name, if it is one of those that are limited here.
    fn called(&self, host: &str) -> Option<IssuerName> {
        self.limits.keys().find(|issuer| issuer.to_string() == host).cloned()
    }

    fn limits_of(&self, issuer: &IssuerName) -> Limits {
        self.limits.get(issuer).copied().unwrap_or_else(|| Limits::published(issuer))
    }

    /// Takes a permit for an order of `spec`.
    ///
    /// # Errors
    /// A failure with the moment at which it is worth trying again.
    pub fn permit(
        &mut self,
        spec: &Specification,
        novelty: Novelty,
        now: Timestamp,
    ) -> Result<Permit, Failure> {
        if novelty != Novelty::Replacement {
            self.look(spec, novelty, now)?;
            self.spend_order(spec, novelty, now);
        }
        self.count(&spec.issuer);
        Ok(Permit { spec: spec.clone(), novelty })
    }

    /// Takes back a permit that opened no order.
    pub fn give_back(&mut self, permit: Permit) {
        let Permit { spec, novelty } = permit;
        let issuer = &spec.issuer;
        if let Some(count) = self.opened.get_mut(issuer) {
            *count = count.saturating_sub(1);
        }
        if novelty == Novelty::Replacement {
            return;
        }
        let limits = self.limits_of(issuer);
        let give = |bucket: Option<&mut Bucket>, limit: Option<Limit>| {
            if let (Some(bucket), Some(limit)) = (bucket, limit) {
                *bucket = bucket.refund(limit);
            }
        };
        let set = (issuer.clone(), spec.names().to_vec());
        give(self.sets.get_mut(&set), limits.same_set);
        if novelty == Novelty::New {
            give(self.orders.get_mut(issuer), limits.orders);
            for domain in domains(spec.names()) {
                give(self.domains.get_mut(&(issuer.clone(), domain)), limits.per_domain);
            }
        }
    }

    /// Notes a failure of an attempt for `spec`, where the CA counts it.
    pub fn failed(&mut self, spec: &Specification, failure: &Failure, now: Timestamp) {
        if !matches!(
            failure.kind,
            FailureKind::ChallengeFailed
                | FailureKind::Dns
                | FailureKind::Connection
                | FailureKind::Caa
        ) {
            return;
        }
        match &failure.subject {
            Some(name) => self.spend_failure(&spec.issuer, name, now),
            None => {
                for name in spec.names() {
                    self.spend_failure(&spec.issuer, name, now);
                }
            }
        }
    }

    /// The names of `spec` are proven, or a person says that the CA goes on with them.
    pub fn succeeded(&mut self, spec: &Specification) {
        self.in_a_row.retain(|(_, name), _| !spec.names().contains(name));
    }

    /// Orders opened at `issuer` since the start, exempt ones included.
    pub fn opened(&self, issuer: &IssuerName) -> u64 {
        self.opened.get(issuer).copied().unwrap_or(0)
    }

    /// What is used up at `now`, with the next slot, in plain words; some of it where it is much.
    pub fn used_up(&self, now: Timestamp) -> Vec<String> {
        let told = |issuer: &IssuerName, what: &str, bucket: &Bucket, limit: Option<Limit>| {
            let limit = limit?;
            let next = bucket.settle(limit, now).look(limit, now).err()?;
            Some(format!("{issuer}: {what} are used up ({limit}), the next slot is at {next}"))
        };
        let mut all: Vec<String> = self
            .orders
            .iter()
            .filter_map(|(ca, bucket)| told(ca, "new orders", bucket, self.limits_of(ca).orders))
            .collect();
        let domains = self.domains.iter().filter_map(|((ca, domain), bucket)| {
            let what = format!("certificates for {domain}");
            told(ca, &what, bucket, self.limits_of(ca).per_domain)
        });
        all.extend(domains.take(bounds::choice::BUDGETS_TOLD));
        all.sort();
        all
    }

    fn count(&mut self, issuer: &IssuerName) {
        *self.opened.entry(issuer.clone()).or_insert(0) += 1;
    }

    fn look(
        &mut self,
        spec: &Specification,
        novelty: Novelty,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let issuer = &spec.issuer;
        let limits = self.limits_of(issuer);
        let free = |bucket: Option<&mut Bucket>, limit: Option<Limit>, what: &str| {
            let (Some(bucket), Some(limit)) = (bucket, limit) else { return Ok(()) };
            *bucket = bucket.settle(limit, now);
            let limited = |at| {
                let detail = format!(
                    "{what} at {issuer} are used up ({limit}), so no order is opened; the next slot is \
                     at {at}"
                );
                Failure::new(FailureKind::RateLimited, detail).with_remedy(Remedy::RetryAfter(at))
            };
            bucket.look(limit, now).map_err(limited)
        };
        if novelty == Novelty::New {
            free(self.orders.get_mut(issuer), limits.orders, "new orders")?;
            for domain in domains(spec.names()) {
                let what = format!("certificates for {domain}");
                let bucket = self.domains.get_mut(&(issuer.clone(), domain));
                free(bucket, limits.per_domain, &what)?;
            }
        }
        let set = self.sets.get_mut(&(issuer.clone(), spec.names().to_vec()));
        free(set, limits.same_set, "certificates for this set of names")?;
        for name in spec.names() {
            let key = (issuer.clone(), name.clone());
            let row = self.in_a_row.get(&key).copied().unwrap_or(0);
            if limits.in_a_row.is_some_and(|most| row >= most) {
                let detail = format!(
                    "{issuer} pauses a name after {row} failures in a row: ask it to go on, and then \
                     keyward to renew"
                );
                let paused = Failure::new(FailureKind::RateLimited, detail);
                return Err(paused.with_remedy(Remedy::Intervene).about(name.clone()));
            }
            free(self.failures.get_mut(&key), limits.failures, "failed validations")
                .map_err(|failure| failure.about(name.clone()))?;
        }
        Ok(())
    }

    fn spend_order(&mut self, spec: &Specification, novelty: Novelty, at: Timestamp) {
        let issuer = &spec.issuer;
        let limits = self.limits_of(issuer);
        if let Some(limit) = limits.same_set {
            spend(&mut self.sets, (issuer.clone(), spec.names().to_vec()), limit, at);
        }
        if novelty != Novelty::New {
            return;
        }
        if let Some(limit) = limits.orders {
            spend(&mut self.orders, issuer.clone(), limit, at);
        }
        if let Some(limit) = limits.per_domain {
            for domain in domains(spec.names()) {
                spend(&mut self.domains, (issuer.clone(), domain), limit, at);
            }
        }
    }

    fn spend_failure(&mut self, issuer: &IssuerName, name: &Identifier, at: Timestamp) {
        let limits = self.limits_of(issuer);
        let key = (issuer.clone(), name.clone());
        // Names beyond the bound are let off: their bucket of failures holds them still.
        if limits.in_a_row.is_some()
            && (self.in_a_row.len() < bounds::BUDGETS || self.in_a_row.contains_key(&key))
        {
            let row = self.in_a_row.entry(key.clone()).or_insert(0);
            *row = row.saturating_add(1);
        }
        if let Some(limit) = limits.failures {
            spend(&mut self.failures, key, limit, at);
        }
    }
}

/// Takes a token whether or not one is there, and drops buckets that are full again once there are
/// many.
fn spend<K: Eq + std::hash::Hash>(
    buckets: &mut HashMap<K, Bucket>,
    key: K,
    limit: Limit,
    at: Timestamp,
) {
    if buckets.len() >= bounds::BUDGETS {
        buckets.retain(|_, bucket| bucket.full_at > at);
    }
    let bucket = buckets.entry(key).or_insert(Bucket::FULL);
    *bucket = bucket.spend(limit, at);
}

/// What a CA counts certificates by: the domain one label below a public suffix, an address, or an
/// IPv6 network of 64 bits.
fn domains(names: &[Identifier]) -> BTreeSet<String> {
    names
        .iter()
        .map(|name| match name {
            Identifier::Ip(IpAddr::V6(address)) => {
                let network = u128::from(*address) >> 64 << 64;
                format!("{}/64", Ipv6Addr::from(network))
            }
            Identifier::Ip(address) => address.to_string(),
            _ => {
                let text = name.to_string();
                let text = text.trim_start_matches("*.");
                psl::domain_str(text).unwrap_or(text).to_owned()
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
