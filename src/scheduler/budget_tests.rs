//! What of a CA's limits is left, seen from the CA.

use proptest::prelude::*;

use super::*;
use crate::cert::journal::Level;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::Role;
use crate::scheduler::transition;

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
        let _used = budget.permit(&spec, Novelty::New, START).unwrap();
    }
    let refused = budget.permit(&spec, Novelty::New, START).unwrap_err();
    assert_eq!(refused.kind, FailureKind::RateLimited);
    let free = START.plus(Duration::from_secs(7 * 24 * 3600 / 5));
    assert_eq!(refused.remedy, Remedy::RetryAfter(free));
    assert!(budget.permit(&spec, Novelty::New, free.minus(Duration::from_secs(1))).is_err());
    let _other = budget.permit(&public("b.example"), Novelty::New, START).unwrap();
    let _exempt = budget.permit(&spec, Novelty::Replacement, START).unwrap();
    let _later = budget.permit(&spec, Novelty::New, free).unwrap();
    assert_eq!(budget.opened(&spec.issuer), 8);
}

#[test]
fn a_private_ca_is_counted_and_not_limited() {
    let mut budget = Budget::default();
    let spec = spec("a.example", "https://localhost:14000/dir");
    for _ in 0..1000 {
        let _used = budget.permit(&spec, Novelty::New, START).unwrap();
    }
    assert_eq!(budget.opened(&spec.issuer), 1000);
}

#[test]
fn a_permit_that_opened_no_order_is_given_back() {
    let mut budget = Budget::default();
    let spec = public("a.example");
    for _ in 0..50 {
        let permit = budget.permit(&spec, Novelty::New, START).unwrap();
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
    let refused = budget.permit(&spec, Novelty::New, START).unwrap_err();
    assert_eq!(refused.subject, spec.names().first().cloned());
    assert_eq!(refused.remedy, Remedy::RetryAfter(START.plus(Duration::from_secs(720))));
    let _other = budget.permit(&public("b.example"), Novelty::New, START).unwrap();
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
    let mut budget = Budget::rebuild(&records, &journal, HashMap::new());
    assert!(budget.permit(&spec, Novelty::New, START.plus(Duration::from_secs(5))).is_err());
    let mut fresh = Budget::rebuild(&records, &journal[..4], HashMap::new());
    let _fifth = fresh.permit(&spec, Novelty::New, START.plus(Duration::from_secs(5))).unwrap();
}

#[test]
fn after_a_restart_orders_are_counted_as_they_were_before() {
    let spec = public("a.example");
    let record = Certificate::wanted(spec.clone());
    let opened = |novelty| {
        let change = transition::order_opened(&record, "https://ca/1", novelty, START);
        change.entries.into_iter().next_back().unwrap()
    };
    let rebuilt =
        |journal: &[Entry]| Budget::rebuild(std::slice::from_ref(&record), journal, HashMap::new());
    // An order that named what it replaced is none to the CA.
    let mut budget = rebuilt(&vec![opened(Novelty::Replacement); 60]);
    assert_eq!(budget.opened(&spec.issuer), 60);
    budget.give_back_for_test(&spec);
    // One for names that are known takes no slot of their domain, but one of theirs.
    let mut budget = rebuilt(&vec![opened(Novelty::Same); 60]);
    let _other = budget.permit(&public("b.a.example"), Novelty::New, START).unwrap();
    assert!(budget.permit(&spec, Novelty::Same, START).is_err());
    let mut budget = rebuilt(&vec![opened(Novelty::New); 60]);
    assert!(budget.permit(&public("b.a.example"), Novelty::New, START).is_err());
}

/// As many orders for new names below one domain as there are slots for.
fn spent_domain(budget: &mut Budget) {
    for number in 0..50 {
        let spec = public(&format!("n{number}.shop.co.uk"));
        let _used = budget.permit(&spec, Novelty::New, START).unwrap();
    }
}

#[test]
fn the_fifty_first_certificate_of_a_registered_domain_waits_and_a_renewal_does_not() {
    let mut budget = Budget::default();
    spent_domain(&mut budget);
    let refused = budget.permit(&public("www.shop.co.uk"), Novelty::New, START).unwrap_err();
    let slot = START.plus(Duration::from_secs(7 * 24 * 3600 / 50));
    assert_eq!(refused.remedy, Remedy::RetryAfter(slot));
    assert!(refused.detail.contains("certificates for shop.co.uk"), "{refused}");
    assert_eq!(refused.subject, None, "another CA may have a slot");
    let wildcard = budget.permit(&public("*.shop.co.uk"), Novelty::New, START);
    assert!(wildcard.is_err(), "it is below the same domain");
    // A public suffix is no domain of anybody.
    let _other = budget.permit(&public("shop.org.uk"), Novelty::New, START).unwrap();
    let _same = budget.permit(&public("n1.shop.co.uk"), Novelty::Same, START).unwrap();
    let told = budget.used_up(START);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("shop.co.uk are used up (50 in 168 h)"), "{told:?}");
    assert!(told[0].ends_with(&format!("the next slot is at {slot}")), "{told:?}");
    let _later = budget.permit(&public("www.shop.co.uk"), Novelty::New, slot).unwrap();
    assert_eq!(budget.used_up(START.plus(LONGEST)), Vec::<String>::new());
    // What was given back is there again.
    let mut budget = Budget::default();
    for number in 0..200 {
        let spec = public(&format!("n{number}.shop.co.uk"));
        let permit = budget.permit(&spec, Novelty::New, START).unwrap();
        budget.give_back(permit);
    }
}

#[test]
fn addresses_are_counted_each_and_those_of_a_network_together() {
    let names = |texts: &[&str]| {
        let names: Vec<_> = texts.iter().map(|text| Identifier::parse(text).unwrap()).collect();
        domains(&names).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(names(&["192.0.2.1", "192.0.2.2"]), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(names(&["2001:db8::1", "2001:db8:0:0:5::2"]), ["2001:db8::/64"]);
    assert_eq!(names(&["a.b.example.com", "*.example.com"]), ["example.com"]);
}

#[test]
fn a_name_that_fails_too_often_in_a_row_waits_for_a_person_and_success_ends_the_row() {
    let spec = public("a.example");
    let limits = Limits { failures: None, ..crate::cert::limits::LETS_ENCRYPT };
    let mut budget = Budget::rebuild(&[], &[], HashMap::from([(spec.issuer.clone(), limits)]));
    let failure = Failure::new(FailureKind::Dns, "no such name");
    let fail = |budget: &mut Budget, times: u32| {
        for _ in 0..times {
            budget.failed(&spec, &failure, START);
        }
    };
    fail(&mut budget, 1151);
    budget.give_back_for_test(&spec);
    budget.succeeded(&spec);
    fail(&mut budget, 1151);
    budget.give_back_for_test(&spec);
    fail(&mut budget, 1);
    let refused = budget.permit(&spec, Novelty::Same, START).unwrap_err();
    assert_eq!(
        (refused.remedy, refused.subject),
        (Remedy::Intervene, spec.names().first().cloned())
    );
    let _exempt = budget.permit(&spec, Novelty::Replacement, START).unwrap();
    budget.succeeded(&spec);
    budget.give_back_for_test(&spec);
}

#[test]
fn a_ca_is_limited_as_the_configuration_says() {
    let spec = spec("a.example", "https://localhost:14000/dir");
    let two = Limit { tokens: 2, span: Duration::from_secs(3600) };
    let limits = Limits { orders: Some(two), ..Limits::default() };
    let limits = HashMap::from([(spec.issuer.clone(), limits)]);
    let mut budget = Budget::rebuild(&[], &[], limits);
    for _ in 0..2 {
        let _used = budget.permit(&spec, Novelty::New, START).unwrap();
    }
    let refused = budget.permit(&spec, Novelty::New, START).unwrap_err();
    assert_eq!(refused.remedy, Remedy::RetryAfter(START.plus(Duration::from_secs(1800))));
    budget.limit(HashMap::new());
    let _used = budget.permit(&spec, Novelty::New, START).unwrap();
}

#[test]
fn after_a_restart_orders_are_counted_at_the_ca_that_was_asked() {
    let first = public("a.example");
    let other = spec("a.example", "https://other.example/dir");
    let three = Limit { tokens: 3, span: LONGEST };
    let limits = Limits { orders: Some(three), ..Limits::default() };
    let limits = HashMap::from([(other.issuer.clone(), limits)]);
    let told = |kind, message: &str| Entry {
        certificate: Some(first.id()),
        ..Entry::about_house(START, kind, Level::Info, message.to_owned())
    };
    let mut journal = Vec::new();
    for _ in 0..3 {
        journal.push(told(EntryKind::Ordering, "ordering from other.example"));
        journal.push(told(EntryKind::OrderOpened, "other.example opened an order"));
    }
    let records = [Certificate::wanted(first.clone())];
    let mut budget = Budget::rebuild(&records, &journal, limits);
    assert!(budget.permit(&other, Novelty::New, START).is_err());
    assert_eq!((budget.opened(&first.issuer), budget.opened(&other.issuer)), (0, 3));
    for _ in 0..5 {
        let _used = budget.permit(&first, Novelty::New, START).unwrap();
    }
}

/// What a CA with Let's Encrypt's limits on new orders and domains counts, by itself.
#[derive(Default)]
struct Ca(Vec<(Timestamp, String)>);

impl Ca {
    /// Whether it takes an order now: token buckets in fractions, unlike ours.
    fn takes(&mut self, domain: &str, now: Timestamp) -> bool {
        let fits = |moments: Vec<Timestamp>, tokens: f64, span: f64| {
            let (mut level, mut last) = (tokens, START);
            for at in moments {
                level = tokens.min(level + at.since(last).as_secs_f64() * tokens / span) - 1.0;
                last = at;
            }
            // Fractions add up to a whole token but for their rounding.
            level + now.since(last).as_secs_f64() * tokens / span >= 1.0 - 1e-6
        };
        let all = self.0.iter().map(|(at, _)| *at).collect();
        let own = self.0.iter().filter(|(_, of)| of == domain).map(|(at, _)| *at).collect();
        let fits = fits(all, 300.0, 10_800.0) && fits(own, 50.0, 604_800.0);
        self.0.push((now, domain.to_owned()));
        fits
    }
}

impl Budget {
    /// Shows that a permit is there, and leaves the budget as it was.
    fn give_back_for_test(&mut self, spec: &Specification) {
        let permit = self.permit(spec, Novelty::New, START).unwrap();
        self.give_back(permit);
    }
}

proptest! {
    #[test]
    fn invariant_9_no_window_of_time_ever_sees_more_orders_than_the_ca_admits(
        waits in proptest::collection::vec(0u64..4000, 1..900), tokens in 1u32..40,
    ) {
        let limit = Limit { tokens, span: Duration::from_secs(10_800) };
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
                let refilled = last.since(*first).as_secs() * each / 10_800;
                prop_assert!(u64::try_from(count).unwrap() < each + refilled + 1);
            }
        }
    }

    #[test]
    fn no_order_is_opened_that_the_ca_would_refuse_and_each_waits_to_the_next_slot_at_most(
        steps in proptest::collection::vec((0u64..3000, 0usize..4), 1..400),
    ) {
        let (mut budget, mut ca, mut now) = (Budget::default(), Ca::default(), START);
        for (number, (wait, domain)) in steps.into_iter().enumerate() {
            now = now.plus(Duration::from_secs(wait % 89 * (wait % 5) / 4));
            let domain = ["a.com", "b.co.uk", "c.org", "d.net"][domain];
            let spec = public(&format!("n{number}.{domain}"));
            match budget.permit(&spec, Novelty::New, now) {
                Ok(_permit) => prop_assert!(ca.takes(domain, now), "{domain} at {now}"),
                Err(failure) => {
                    let Remedy::RetryAfter(at) = failure.remedy else { panic!("{failure}") };
                    prop_assert!(at > now && at.since(now) <= Duration::from_secs(12_097));
                    now = at;
                }
            }
        }
    }

    #[test]
    fn a_clock_that_was_stepped_back_locks_a_bucket_no_longer_than_an_empty_one(
        ahead in 0u64..1 << 40, tokens in 1u32..40,
    ) {
        let limit = Limit { tokens, span: LONGEST };
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
