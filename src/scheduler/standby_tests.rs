//! Which of two certificates is shown: the pure decision, at every moment of both lives.

use super::*;
use crate::cert::care::Revoked;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::lifecycle::FIRST;
use crate::cert::record::Installed;
use crate::cert::spec::IssuerName;
use crate::cert::validity::Validity;
use crate::scheduler::caring;
use crate::scheduler::testing::config;
use crate::scheduler::testing::site;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn ca(name: &str) -> IssuerName {
    IssuerName::Acme(format!("https://{name}.example/dir"))
}

/// A site of the first CA with the second one standing by.
fn with_standby() -> Config {
    let mut site = site(&["a.example"], ca("one"));
    site.standby = Some(ca("two"));
    config(vec![site])
}

fn days(days: u64) -> Timestamp {
    NOW.plus(std::time::Duration::from_secs(days * 86_400))
}

fn issued(spec: Specification, serial: &str, until: Timestamp) -> Certificate {
    let chain: Chain = serde_json::from_str("[[48]]").unwrap();
    let validity = Validity { not_before: until.minus(days(90).since(NOW)), not_after: until };
    let (key, serial) = (KeyId([0; 32]), serial.to_owned());
    Certificate {
        installed: Some(Installed { chain, key, validity, serial, ari_id: None, at: NOW }),
        ..Certificate::wanted(spec)
    }
}

/// Both, paired, with so many days left.
fn both(config: &Config, first: u64, second: u64) -> [Certificate; 2] {
    let (one, two) = pairs(config, &config.sites[0]).next().unwrap();
    let (one, two) = (issued(one, "01", days(first)), issued(two, "02", days(second)));
    place(&one, &two, true, &Cause::Preferred, NOW).map(|change| change.record)
}

fn failing(record: &mut Certificate) {
    let failure = Failure::new(FailureKind::CaFault, "503");
    record.phase = Phase::Waiting { attempt: 4, until: NOW, failure, in_flight: None };
}

/// Who is shown after that, and why.
fn shown(changes: &[Change]) -> (String, Cause) {
    let shown: Vec<_> = changes.iter().filter(|c| !c.record.stands_back()).collect();
    assert_eq!(shown.len(), 1, "always one of the two");
    let record = &shown[0].record;
    (
        record.installed.as_ref().map(|i| i.serial.clone()).unwrap_or_default(),
        record.care.standby.as_ref().unwrap().cause.clone(),
    )
}

fn settled(config: &Config, records: &[Certificate], now: Timestamp) -> Vec<Vec<Change>> {
    let records: Vec<_> = records.iter().cloned().map(Arc::new).collect();
    let desired = plan::desired(config, &records, |_| Vec::new(), now);
    settle(config, &desired.iter().map(Specification::id).collect(), &records, now)
}

#[test]
fn what_stands_by_is_wanted_once_there_is_something_to_stand_by_for() {
    let config = with_standby();
    let (one, two) = pairs(&config, &config.sites[0]).next().unwrap();
    let wants = |records: &[Certificate]| {
        let records: Vec<_> = records.iter().cloned().map(Arc::new).collect();
        plan::desired(&config, &records, |_| Vec::new(), NOW).contains(&two)
    };
    let mut first = Certificate::wanted(one.clone());
    assert!(!wants(&[]) && !wants(std::slice::from_ref(&first)));
    // A name that cannot be proven uses up the patience of one CA and not of two.
    let failure = Failure::new(FailureKind::ChallengeFailed, "no");
    first.phase = Phase::Waiting { attempt: 1, until: NOW, failure, in_flight: None };
    assert!(!wants(std::slice::from_ref(&first)));
    failing(&mut first);
    assert!(wants(std::slice::from_ref(&first)), "the preferred CA is ill");
    assert!(wants(&[issued(one.clone(), "01", days(9))]));
    // One that is there stays, whatever becomes of the first.
    assert!(wants(&[Certificate::wanted(one), Certificate::wanted(two.clone())]));
}

#[test]
fn both_kinds_of_keys_have_one_standing_by_each() {
    let mut config = with_standby();
    config.sites[0].second_key = Some(KeyAlgorithm::Rsa2048);
    let found: Vec<_> = pairs(&config, &config.sites[0]).collect();
    assert_eq!(found.len(), 2);
    for (first, second) in found {
        assert_eq!((first.key, first.names()), (second.key, second.names()));
        assert_eq!((first.issuer, second.issuer), (ca("one"), ca("two")));
    }
}

#[test]
fn the_other_one_is_shown_when_the_present_one_is_no_good_and_not_before() {
    let config = with_standby();
    let turned = |first: &Certificate, second: &Certificate, now| {
        turn(first, second, now).map(|changes| shown(&changes).1)
    };
    let [one, two] = both(&config, 50, 60);
    assert_eq!(turned(&one, &two, NOW), None);
    assert_eq!(turned(&one, &two, days(50)), None, "valid to its last second");
    let over = days(50).plus(std::time::Duration::from_secs(1));
    assert_eq!(turned(&one, &two, over), Some(Cause::Expired));
    assert!(wakes(&one).any(|at| at == over), "and is looked at then");
    assert_eq!(wakes(&two).count(), 0);
    // One that could not be renewed gives way before it runs out, to one that lasts longer.
    let mut ill = one.clone();
    failing(&mut ill);
    let last_call = ill.installed.as_ref().unwrap().validity.last_call();
    assert_eq!(turned(&ill, &two, last_call), Some(Cause::Expiring));
    assert_eq!(turned(&ill, &two, last_call.minus(std::time::Duration::from_secs(1))), None);
    assert_eq!(turned(&one, &two, last_call), None, "it is being renewed");
    let [_, short] = both(&config, 50, 49);
    assert_eq!(turned(&ill, &short, last_call), None);
    // Revoked, or to be.
    let mut revoked = one.clone();
    let serial = "01".to_owned();
    revoked.care.revoked = Some(Revoked { serial, at: NOW, reason: None });
    assert_eq!(turned(&revoked, &two, NOW), Some(Cause::Revoked));
    let reason = crate::cert::care::Reason::KeyCompromise;
    let wanted = caring::wanted_revoked(&one, reason, "root", NOW).unwrap().record;
    assert_eq!(turned(&wanted, &two, NOW), Some(Cause::Revoked));
    // What is no good itself takes nobody's place.
    for worse in [both(&config, 50, 0)[1].clone(), {
        let mut two = two.clone();
        two.care.revoked = Some(Revoked { serial: "02".to_owned(), at: NOW, reason: None });
        two
    }] {
        assert_eq!(turned(&revoked, &worse, days(1)), None);
    }
    assert!(turn(&revoked, &Certificate { installed: None, ..two }, NOW).is_none());
}

#[test]
fn a_switch_stays_until_the_configuration_prefers_another_one_or_none_stands_by() {
    let config = with_standby();
    let [one, two] = both(&config, 50, 60);
    assert!(settled(&config, &[one.clone(), two.clone()], NOW).is_empty());
    let switched = switched(&one, &two, false, "root", NOW);
    assert_eq!(shown(&switched), ("02".to_owned(), Cause::Asked("root".to_owned())));
    let entries: Vec<_> = switched.iter().flat_map(|change| &change.entries).collect();
    assert_eq!(entries.len(), 1);
    assert!(entries[0].message.contains("serial 02 from two.example is served in the place of"));
    let after = switched.map(|change| change.record);
    assert!(settled(&config, &after, NOW).is_empty(), "it stays");
    // The line goes: the preferred one is shown, and the other one as long as nothing else is.
    let without = crate::scheduler::testing::config(vec![site(&["a.example"], ca("one"))]);
    let changes = settled(&without, &after, NOW).concat();
    assert_eq!(changes.len(), 1);
    let alone = &changes[0].record;
    assert_eq!((alone.spec.issuer.clone(), alone.care.standby.clone()), (ca("one"), None));
    // They change places in the file: what was asked for before counts no more.
    let mut swapped = with_standby();
    (swapped.sites[0].issuer, swapped.sites[0].standby) = (ca("two"), Some(ca("one")));
    let pair = settled(&swapped, &[one.clone(), two], NOW).concat();
    assert_eq!(shown(&pair), ("02".to_owned(), Cause::Preferred));
    // Another CA is preferred that has issued nothing: the one that stands by is shown until then.
    let mut third = with_standby();
    (third.sites[0].issuer, third.sites[0].standby) = (ca("three"), Some(ca("one")));
    let new = Certificate::wanted(pairs(&third, &third.sites[0]).next().unwrap().0);
    let pair = settled(&third, &[new, one], NOW).concat();
    assert_eq!(shown(&pair), ("01".to_owned(), Cause::Missing));
    let [mut new, one] = <[Change; 2]>::try_from(pair).unwrap().map(|change| change.record);
    assert!(settled(&third, &[new.clone(), one.clone()], NOW).is_empty());
    new = Certificate { installed: issued(new.spec.clone(), "03", days(80)).installed, ..new };
    let pair = settled(&third, &[new, one], NOW).concat();
    assert_eq!(shown(&pair), ("03".to_owned(), Cause::Preferred));
}

#[test]
fn what_is_not_issued_yet_is_shown_by_nobody() {
    let config = with_standby();
    let (one, two) = pairs(&config, &config.sites[0]).next().unwrap();
    let (one, two) = (issued(one, "01", days(50)), Certificate::wanted(two));
    let pair = settled(&config, &[one, two], NOW).concat();
    assert_eq!(shown(&pair), ("01".to_owned(), Cause::Preferred));
    assert!(pair.iter().all(|change| change.entries.is_empty()), "that is nothing to tell");
    let second = pair.iter().find(|change| change.record.stands_back()).unwrap();
    assert_eq!((second.record.phase.clone(), second.record.shown()), (FIRST, None));
}
