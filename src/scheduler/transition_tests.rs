//! What is told of changes, and what is not.

use super::*;
use crate::cert::choice::Left;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;
use crate::cert::validity::Validity;

#[test]
fn what_is_looked_at_again_and_again_is_told_once() {
    let now = Timestamp::from_unix(1_000_000_000);
    let names = vec![Identifier::parse("shop.example").unwrap()];
    let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
    let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Primary);
    let (leased, _) = lease(&Certificate::wanted(spec), now).unwrap();
    assert_eq!(leased.entries.len(), 1);
    let kinds = |change: &Change| change.entries.iter().map(|e| e.kind).collect::<Vec<_>>();
    for (kind, told) in
        [(FailureKind::Astray, EntryKind::Astray), (FailureKind::CaaForbids, EntryKind::Failed)]
    {
        let until = now.plus(Duration::from_secs(3600));
        let failure = Failure::new(kind, "elsewhere").with_remedy(Remedy::RetryAfter(until));
        let first = fail(&leased.record, &failure, &[], 0, now);
        assert_eq!(kinds(&first), [told]);
        let later = now.plus(Duration::from_secs(4000));
        let (again, attempt) = lease(&first.record, later).unwrap();
        assert_eq!((kinds(&again), attempt), (vec![], 1));
        assert_eq!(kinds(&fail_again(&again.record, &failure, &[], 0, later)), []);
    }
    // Any other failure is told each time.
    let failure = Failure::new(FailureKind::Connection, "refused");
    let first = fail(&leased.record, &failure, &[], 0, now);
    let (again, _) = lease(&first.record, now.plus(Duration::from_secs(4000))).unwrap();
    assert_eq!(kinds(&again), [EntryKind::Ordering]);
}

#[test]
fn what_one_ca_asks_to_wait_does_not_hold_back_the_next_while_the_certificate_runs_out() {
    let now = Timestamp::from_unix(1_000_000_000);
    let ca = |name: &str| IssuerName::Acme(format!("https://{name}.example/dir"));
    let (first, second) = (ca("first"), ca("second"));
    let names = vec![Identifier::parse("shop.example").unwrap()];
    let spec = Specification::new(names, first.clone(), KeyAlgorithm::P256, None, Role::Primary);
    let day = Duration::from_secs(24 * 3600);
    let mut record = Certificate::wanted(spec);
    record.installed = Some(Installed {
        chain: serde_json::from_str("[[48]]").unwrap(),
        key: KeyId([1; 32]),
        validity: Validity { not_before: now.minus(day * 5), not_after: now.plus(day) },
        serial: "01".to_owned(),
        ari_id: None,
        at: now.minus(day * 5),
    });
    let gone = Failure::new(FailureKind::Unreachable, "no route");
    record.care.choice.left.push(Left::because(first.clone(), &gone, now.minus(day / 24)));
    record.care.choice.asked = Some(second.clone());
    record.phase = Phase::Ordering { attempt: 12, in_flight: None, deadline: now.plus(day) };
    let slow = Failure::new(FailureKind::RateLimited, "slow down")
        .with_remedy(Remedy::RetryAfter(now.plus(day / 2)));
    let diverted = fail(&record, &slow, &[first, second], u32::MAX, now).record;
    assert_eq!(diverted.care.choice.asked, None, "the first is asked");
    assert_eq!(diverted.phase.wake_at(now), Some(now.plus(day / 8 - day / 24)));
}
