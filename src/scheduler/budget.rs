//! What is left of a CA's rate limits, mirrored here so that keyward never runs into them.
//!
//! Limits are those Let's Encrypt publishes (letsencrypt.org/docs/rate-limits, 2026): token
//! buckets that refill steadily. A CA that is not Let's Encrypt is counted and not limited. An
//! order that names the certificate it replaces is exempt from all of them (RFC 9773, section 5).

use std::collections::HashMap;
use std::time::Duration;

use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Specification;

/// A bucket of `tokens` that refills evenly within `span`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// Tokens of a full bucket; at least 1.
    pub tokens: u32,
    /// How long an empty bucket takes to fill.
    pub span: Duration,
}

/// The limits of one CA.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// New orders for each account.
    pub orders: Limit,
    /// Certificates for each exact set of identifiers.
    pub same_set: Limit,
    /// Failed authorizations for each identifier.
    pub failures: Limit,
}

const HOUR: Duration = Duration::from_secs(3600);
const THREE_HOURS: Duration = Duration::from_secs(3 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Let's Encrypt's production limits.
pub const LETS_ENCRYPT: Limits = Limits {
    orders: Limit { tokens: 300, span: THREE_HOURS },
    same_set: Limit { tokens: 5, span: WEEK },
    failures: Limit { tokens: 5, span: HOUR },
};

/// Let's Encrypt's staging limits.
pub const LETS_ENCRYPT_STAGING: Limits = Limits {
    orders: Limit { tokens: 1500, span: THREE_HOURS },
    same_set: Limit { tokens: 30_000, span: WEEK },
    failures: Limit { tokens: 200, span: HOUR },
};

/// The limits of the CA with this issuer name; `None` for unlimited.
pub fn limits_of(issuer: &IssuerName) -> Option<Limits> {
    let IssuerName::Acme(_) = issuer else { return None };
    match issuer.to_string().as_str() {
        "acme-v02.api.letsencrypt.org" => Some(LETS_ENCRYPT),
        "acme-staging-v02.api.letsencrypt.org" => Some(LETS_ENCRYPT_STAGING),
        _ => None,
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
    issuer: IssuerName,
    names: Vec<Identifier>,
    exempt: bool,
}

/// The budgets of every CA.
#[derive(Debug, Default)]
pub struct Budget {
    orders: HashMap<IssuerName, Bucket>,
    sets: HashMap<(IssuerName, Vec<Identifier>), Bucket>,
    failures: HashMap<(IssuerName, Identifier), Bucket>,
    opened: HashMap<IssuerName, u64>,
}

impl Budget {
    /// What the journal and the records tell of the past, oldest entry first.
    ///
    /// Orders that were exempt cannot be told apart any more and are counted: too little is
    /// permitted for some hours rather than too much.
    pub fn rebuild(records: &[Certificate], journal: &[Entry]) -> Self {
        let mut budget = Self::default();
        let specs: HashMap<CertificateId, &Specification> =
            records.iter().map(|record| (record.id(), &record.spec)).collect();
        let newest = journal.iter().map(|entry| entry.at).max().unwrap_or_default();
        // What is older than the longest span has flowed back.
        for entry in journal.iter().filter(|entry| newest.since(entry.at) <= WEEK) {
            let spec = entry.certificate.and_then(|id| specs.get(&id));
            let Some(spec) = spec else { continue };
            match entry.kind {
                EntryKind::OrderOpened => budget.spend_order(spec, entry.at),
                EntryKind::Failed | EntryKind::Halted | EntryKind::Astray => {
                    // Which names failed is not in the journal; all of them is the safe reading.
                    for name in spec.names() {
                        budget.spend_failure(&spec.issuer, name, entry.at);
                    }
                }
                _ => {}
            }
        }
        budget
    }

    /// Takes a permit for an order of `spec`; `replaces` says that the order names its
    /// predecessor.
    ///
    /// # Errors
    /// A failure with the moment at which it is worth trying again.
    pub fn permit(
        &mut self,
        spec: &Specification,
        replaces: bool,
        now: Timestamp,
    ) -> Result<Permit, Failure> {
        let exempt = replaces || limits_of(&spec.issuer).is_none();
        if let Some(limits) = limits_of(&spec.issuer).filter(|_| !replaces) {
            self.look(spec, &limits, now)?;
            self.spend_order(spec, now);
        } else {
            *self.opened.entry(spec.issuer.clone()).or_insert(0) += 1;
        }
        Ok(Permit { issuer: spec.issuer.clone(), names: spec.names().to_vec(), exempt })
    }

    /// Takes back a permit that opened no order.
    pub fn give_back(&mut self, permit: Permit) {
        let Permit { issuer, names, exempt } = permit;
        if let Some(count) = self.opened.get_mut(&issuer) {
            *count = count.saturating_sub(1);
        }
        let Some(limits) = limits_of(&issuer).filter(|_| !exempt) else { return };
        if let Some(bucket) = self.orders.get_mut(&issuer) {
            *bucket = bucket.refund(limits.orders);
        }
        if let Some(bucket) = self.sets.get_mut(&(issuer, names)) {
            *bucket = bucket.refund(limits.same_set);
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

    /// Orders opened at `issuer` since the start, exempt ones included.
    pub fn opened(&self, issuer: &IssuerName) -> u64 {
        self.opened.get(issuer).copied().unwrap_or(0)
    }

    fn look(
        &mut self,
        spec: &Specification,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let issuer = &spec.issuer;
        let free = |bucket: Option<&mut Bucket>, limit: Limit, what: &str| {
            let Some(bucket) = bucket else { return Ok(()) };
            *bucket = bucket.settle(limit, now);
            let limited = |at| {
                let detail = format!("{what} at {issuer} are used up");
                Failure::new(FailureKind::RateLimited, detail).with_remedy(Remedy::RetryAfter(at))
            };
            bucket.look(limit, now).map_err(limited)
        };
        free(self.orders.get_mut(issuer), limits.orders, "new orders")?;
        let set = self.sets.get_mut(&(issuer.clone(), spec.names().to_vec()));
        free(set, limits.same_set, "certificates for this set of names")?;
        for name in spec.names() {
            let failures = self.failures.get_mut(&(issuer.clone(), name.clone()));
            free(failures, limits.failures, "failed validations")
                .map_err(|failure| failure.about(name.clone()))?;
        }
        Ok(())
    }

    fn spend_order(&mut self, spec: &Specification, at: Timestamp) {
        *self.opened.entry(spec.issuer.clone()).or_insert(0) += 1;
        let Some(limits) = limits_of(&spec.issuer) else { return };
        forget_full(&mut self.sets, at);
        let orders = self.orders.entry(spec.issuer.clone()).or_insert(Bucket::FULL);
        *orders = orders.spend(limits.orders, at);
        let set = (spec.issuer.clone(), spec.names().to_vec());
        let set = self.sets.entry(set).or_insert(Bucket::FULL);
        *set = set.spend(limits.same_set, at);
    }

    fn spend_failure(&mut self, issuer: &IssuerName, name: &Identifier, at: Timestamp) {
        let Some(limits) = limits_of(issuer) else { return };
        forget_full(&mut self.failures, at);
        let bucket = self.failures.entry((issuer.clone(), name.clone())).or_insert(Bucket::FULL);
        *bucket = bucket.spend(limits.failures, at);
    }
}

/// Drops buckets that are full again once there are many.
fn forget_full<K>(buckets: &mut HashMap<K, Bucket>, now: Timestamp) {
    if buckets.len() >= bounds::BUDGETS {
        buckets.retain(|_, bucket| bucket.full_at > now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cert::journal::Level;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::spec::Role;

    const START: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn spec(name: &str, directory: &str) -> Specification {
        let names = vec![Identifier::parse(name).unwrap()];
        let issuer = IssuerName::Acme(directory.to_owned());
        Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Primary)
    }

    fn public(name: &str) -> Specification {
        spec(name, "https://acme-v02.api.letsencrypt.org/directory")
    }

    #[test]
    fn the_sixth_certificate_for_the_same_names_waits_34_hours() {
        let mut budget = Budget::default();
        let spec = public("a.example");
        for _ in 0..5 {
            let _used = budget.permit(&spec, false, START).unwrap();
        }
        let refused = budget.permit(&spec, false, START).unwrap_err();
        assert_eq!(refused.kind, FailureKind::RateLimited);
        let free = START.plus(Duration::from_secs(7 * 24 * 3600 / 5));
        assert_eq!(refused.remedy, Remedy::RetryAfter(free));
        assert!(budget.permit(&spec, false, free.minus(Duration::from_secs(1))).is_err());
        let _other = budget.permit(&public("b.example"), false, START).unwrap();
        let _exempt = budget.permit(&spec, true, START).unwrap();
        let _later = budget.permit(&spec, false, free).unwrap();
        assert_eq!(budget.opened(&spec.issuer), 8);
    }

    #[test]
    fn a_private_ca_is_counted_and_not_limited() {
        let mut budget = Budget::default();
        let spec = spec("a.example", "https://localhost:14000/dir");
        for _ in 0..1000 {
            let _used = budget.permit(&spec, false, START).unwrap();
        }
        assert_eq!(budget.opened(&spec.issuer), 1000);
    }

    #[test]
    fn a_permit_that_opened_no_order_is_given_back() {
        let mut budget = Budget::default();
        let spec = public("a.example");
        for _ in 0..50 {
            let permit = budget.permit(&spec, false, START).unwrap();
            budget.give_back(permit);
        }
        assert_eq!(budget.opened(&spec.issuer), 0);
    }

    #[test]
    fn five_failed_validations_of_a_name_close_it_and_no_other() {
        let mut budget = Budget::default();
        let spec = public("a.example");
        let failure = Failure::new(FailureKind::Connection, "refused");
        let unrelated = Failure::new(FailureKind::Unreachable, "no route");
        for _ in 0..5 {
            budget.failed(&spec, &unrelated, START);
        }
        budget.give_back_for_test(&spec);
        for _ in 0..5 {
            budget.failed(&spec, &failure, START);
        }
        let refused = budget.permit(&spec, false, START).unwrap_err();
        assert_eq!(refused.subject, spec.names().first().cloned());
        assert_eq!(refused.remedy, Remedy::RetryAfter(START.plus(Duration::from_secs(720))));
        let _other = budget.permit(&public("b.example"), false, START).unwrap();
    }

    #[test]
    fn what_the_journal_tells_is_counted_after_a_restart() {
        let spec = public("a.example");
        let opened = |at| Entry {
            certificate: Some(spec.id()),
            ..Entry::about_house(at, EntryKind::OrderOpened, Level::Info, String::new())
        };
        let journal: Vec<_> = (0..5).map(|n| opened(START.plus(Duration::from_secs(n)))).collect();
        let records = [Certificate::wanted(spec.clone())];
        let mut budget = Budget::rebuild(&records, &journal);
        assert!(budget.permit(&spec, false, START.plus(Duration::from_secs(5))).is_err());
        let mut fresh = Budget::rebuild(&records, &journal[..4]);
        let _fifth = fresh.permit(&spec, false, START.plus(Duration::from_secs(5))).unwrap();
    }

    impl Budget {
        /// Shows that a permit is there, and leaves the budget as it was.
        fn give_back_for_test(&mut self, spec: &Specification) {
            let permit = self.permit(spec, false, START).unwrap();
            self.give_back(permit);
        }
    }

    proptest! {
        #[test]
        fn invariant_9_no_window_of_time_ever_sees_more_orders_than_the_ca_admits(
            waits in proptest::collection::vec(0u64..4000, 1..900), tokens in 1u32..40,
        ) {
            let limit = Limit { tokens, span: THREE_HOURS };
            let (mut bucket, mut now, mut taken) = (Bucket::FULL, START, Vec::new());
            for wait in waits {
                now = now.plus(Duration::from_secs(wait % 97 * (wait % 3)));
                match bucket.look(limit, now) {
                    Ok(()) => {
                        bucket = bucket.spend(limit, now);
                        taken.push(now);
                    }
                    Err(at) => prop_assert!(at > now && bucket.look(limit, at).is_ok()),
                }
            }
            // A steady bucket admits at most its tokens at once and its refill after that.
            let each = u64::from(tokens);
            for (index, first) in taken.iter().enumerate() {
                for (count, last) in taken[index..].iter().enumerate() {
                    let refilled = last.since(*first).as_secs() * each / THREE_HOURS.as_secs();
                    prop_assert!(u64::try_from(count).unwrap() < each + refilled + 1);
                }
            }
        }

        #[test]
        fn a_clock_that_was_stepped_back_locks_a_bucket_no_longer_than_an_empty_one(
            ahead in 0u64..1 << 40, tokens in 1u32..40,
        ) {
            let limit = Limit { tokens, span: WEEK };
            let mut bucket = Bucket::FULL;
            for _ in 0..tokens {
                bucket = bucket.spend(limit, START.plus(Duration::from_secs(ahead)));
            }
            bucket = bucket.settle(limit, START);
            if let Err(at) = bucket.look(limit, START) {
                prop_assert!(at.since(START) <= interval(limit));
                // And it is free at that moment, not only said to be.
                prop_assert!(bucket.settle(limit, at).look(limit, at).is_ok());
            }
        }
    }
}
