//! What is told of changes, and what is not.

use super::*;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;

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
