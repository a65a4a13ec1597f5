//! Plans for configurations and records of every kind.

use crate::cert::identifier::Identifier;
use proptest::prelude::*;

use super::*;
use crate::cert::chain::Chain;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::lifecycle::properties::phase;
use crate::cert::record::Installed;
use crate::cert::validity::Validity;
use crate::scheduler::testing::config;
use crate::scheduler::testing::site;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const CA: &str = "https://ca.example/dir";

fn installed(days: u64) -> Installed {
    let chain: Chain = serde_json::from_str("[[48]]").unwrap();
    let not_after = NOW.plus(std::time::Duration::from_secs(days * 86_400));
    let validity = Validity { not_before: Timestamp::from_unix(0), not_after };
    let serial = "00".to_owned();
    Installed { chain, key: KeyId([0; 32]), validity, serial, ari_id: None, at: NOW }
}

fn spec(name: &str, issuer: IssuerName) -> Specification {
    let names = vec![Identifier::parse(name).unwrap()];
    Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Primary)
}

fn acme() -> IssuerName {
    IssuerName::Acme(CA.to_owned())
}

#[test]
fn a_site_of_a_public_ca_has_a_bridge_until_something_valid_covers_all_its_names() {
    let config = config(vec![site(&["a.shop.example", "b.shop.example"], acme())]);
    let roles = |records: &[Arc<Certificate>], now| {
        let mut roles: Vec<_> =
            desired(&config, records, |_| Vec::new(), now).iter().map(|s| s.role).collect();
        roles.sort();
        roles
    };
    assert_eq!(roles(&[], NOW), [Role::Primary, Role::Bridge]);
    let mut one = Certificate::wanted(primaries(&config, &config.sites[0]).next().unwrap());
    one.installed = Some(installed(1));
    let one = [Arc::new(one)];
    assert_eq!(roles(&one, NOW), [Role::Primary]);
    let later = NOW.plus(std::time::Duration::from_secs(2 * 86_400));
    assert_eq!(roles(&one, later), [Role::Primary, Role::Bridge]);
    // Another certificate does as well when it covers every name, and only then.
    for (name, expected) in [
        ("*.shop.example", &[Role::Primary][..]),
        ("a.shop.example", &[Role::Primary, Role::Bridge][..]),
    ] {
        let mut other = Certificate::wanted(spec(name, acme()));
        other.installed = Some(installed(1));
        assert_eq!(roles(&[Arc::new(other)], NOW), expected, "{name}");
    }
}

#[test]
fn a_site_of_the_internal_ca_needs_no_bridge() {
    let config = config(vec![site(&["nas.internal"], IssuerName::Internal)]);
    let wanted = desired(&config, &[], |_| Vec::new(), NOW);
    assert_eq!(wanted, [spec("nas.internal", IssuerName::Internal)]);
}

#[test]
fn internal_orders_come_first_and_take_no_place_of_the_others() {
    let mut records: Vec<_> = (0..30)
        .map(|n| Arc::new(Certificate::wanted(spec(&format!("n{n}.example"), acme()))))
        .collect();
    let mut pressing = Certificate::wanted(spec("pressing.example", acme()));
    let internal = Certificate::wanted(spec("x.internal", IssuerName::Internal));
    records[0] = Arc::new(Certificate { installed: Some(installed(3)), ..(*records[0]).clone() });
    pressing.installed = Some(installed(1));
    records.push(Arc::new(internal.clone()));
    let wanted: Vec<_> = records.iter().map(|record| record.spec.clone()).collect();
    let steps = plan(&wanted, &records, &Busy::new(), false, NOW);
    assert_eq!(steps[0], Step::Order(internal.id()));
    assert_eq!(steps.len(), 1 + bounds::ORDERS_AT_ONCE);
    assert!(!steps.contains(&Step::Order(records[0].id())), "those without any come first");
    let mut busy = Busy::new();
    for record in &records[1..8] {
        busy.insert(record.id(), Work::Order);
    }
    let steps = plan(&wanted, &records, &busy, false, NOW);
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(plan(&wanted, &records, &Busy::new(), true, NOW).is_empty(), "holding still");
}

#[test]
fn what_nobody_wants_is_kept_for_a_week_and_a_bridge_for_an_hour() {
    let primary = Certificate::wanted(spec("a.example", acme()));
    let mut bridge = primary.clone();
    bridge.spec.role = Role::Bridge;
    let records = [Arc::new(primary.clone()), Arc::new(bridge.clone())];
    let steps = plan(&[], &records, &Busy::new(), false, NOW);
    assert_eq!(
        steps,
        [
            Step::Remove(primary.id(), NOW.plus(bounds::RETIREMENT)),
            Step::Remove(bridge.id(), NOW.plus(bounds::BRIDGE_RETIREMENT)),
        ]
    );
    let until = NOW.plus(bounds::RETIREMENT);
    let retiring = Certificate { phase: Phase::Retiring { until }, ..primary.clone() };
    let records = [Arc::new(retiring)];
    assert!(plan(&[], &records, &Busy::new(), false, NOW).is_empty());
    assert_eq!(plan(&[], &records, &Busy::new(), false, until), [Step::Delete(primary.id())]);
    let wanted = [primary.spec.clone()];
    assert_eq!(plan(&wanted, &records, &Busy::new(), false, until), [Step::Return(primary.id())]);
}

proptest! {
    #[test]
    fn invariant_2_nothing_is_begun_on_what_is_at_work(
        phases in proptest::collection::vec(phase(), 1..20), working: u32,
    ) {
        let records: Vec<_> = phases
            .into_iter()
            .enumerate()
            .map(|(n, phase)| {
                let record = Certificate::wanted(spec(&format!("n{n}.example"), acme()));
                Arc::new(Certificate { phase, ..record })
            })
            .collect();
        let wanted: Vec<_> = records.iter().map(|record| record.spec.clone()).collect();
        let at_work = records.iter().enumerate().filter(|(n, _)| working >> n & 1 == 1);
        let busy: Busy = at_work.map(|(_, record)| (record.id(), Work::Order)).collect();
        let steps = plan(&wanted, &records, &busy, false, NOW);
        let mut seen = BTreeSet::new();
        let mut orders = busy.len();
        for step in steps {
            match step {
                Step::Order(id) => {
                    orders += 1;
                    prop_assert!(!busy.contains_key(&id) && seen.insert(id));
                }
                Step::Check(id)
                | Step::Lapse(id)
                | Step::Delete(id)
                | Step::Remind(id)
                | Step::Revoke(id) => {
                    prop_assert!(!busy.contains_key(&id) && seen.insert(id));
                }
                Step::Return(id) | Step::Remove(id, _) => prop_assert!(seen.insert(id)),
                Step::Add(_) => prop_assert!(false, "every record is there"),
            }
        }
        prop_assert!(orders <= bounds::ORDERS_AT_ONCE.max(busy.len()));
    }
}
