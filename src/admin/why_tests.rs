//! Explanations of certificates that are well, that wait, that have halted and that are hindered.

use super::*;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Specification;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn record(phase: Phase) -> Certificate {
    let names = vec![Identifier::parse("shop.example").unwrap()];
    let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
    let (key, role) = (KeyAlgorithm::P256, Role::Primary);
    Certificate { phase, ..Certificate::wanted(Specification::new(names, issuer, key, None, role)) }
}

fn entry(seq: u64, kind: &str, message: &str) -> EntryView {
    EntryView {
        seq,
        at: NOW.into(),
        kind: kind.to_owned(),
        level: "info".to_owned(),
        certificate: None,
        name: None,
        message: message.to_owned(),
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "no A record").about(Identifier::parse("shop.example").unwrap())
}

#[test]
fn one_that_waits_tells_its_problem_what_to_change_and_when_it_goes_on() {
    let until = NOW.plus(std::time::Duration::from_secs(600));
    let failure = failure(FailureKind::Dns);
    let waiting = record(Phase::Waiting { attempt: 2, until, failure, in_flight: None });
    let why = explain(&waiting, (None, None), &[entry(7, "failed", "attempt 2 failed")], &[], NOW);
    assert!(why.served.starts_with("nothing"), "{why:?}");
    assert_eq!(why.next, Some(until.into()));
    let problem = why.problem.unwrap();
    assert_eq!((problem.message.as_str(), problem.over), ("shop.example: no A record", false));
    assert!(why.change[0].contains("A, AAAA and CNAME"), "{:?}", why.change);
    assert!(why.change[1].contains("dig shop.example"), "{:?}", why.change);
    assert!(why.checked[0].contains("failed: attempt 2 failed"), "{:?}", why.checked);
}

#[test]
fn one_that_halted_waits_for_somebody_and_says_how_to_go_on() {
    let halted = record(Phase::Halted { failure: failure(FailureKind::Terms), since: NOW });
    let why = explain(&halted, (None, None), &[], &[], NOW);
    assert_eq!(why.next, None);
    assert!(why.doing.contains("waits for you"), "{}", why.doing);
    assert!(why.change.last().unwrap().contains("keyward renew shop.example"), "{:?}", why.change);
}

#[test]
fn a_problem_that_is_over_says_so_and_a_hindrance_comes_first() {
    let due = record(Phase::Due { attempt: 0, in_flight: None });
    let entries = [entry(3, "failed", "attempt 1 failed: 503"), entry(4, "installed", "serial 0a")];
    let why = explain(&due, (None, None), &entries, &[], NOW);
    assert!(why.problem.unwrap().over);
    let why = explain(&due, (None, None), &entries[..1], &["the clock is behind".to_owned()], NOW);
    assert!(!why.problem.as_ref().unwrap().over);
    assert!(why.doing.contains("the clock is behind") && why.next.is_none(), "{why:?}");
    assert_eq!(why.change.first().unwrap(), "the clock is behind");
}
