//! The main way: a certificate by each challenge, by the other one after a failure, for many
//! names at once, and while every second nonce is refused.

use std::sync::atomic::Ordering;

use keyward::cert::challenge::ChallengeType;
use keyward::cert::challenge::PresentError;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::failure::Remedy;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;

use crate::doubles::Steps;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;
use crate::rig::obtain_by;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_comes_by_each_challenge_alone() {
    let mut rig = Rig::new();
    // Other names each time: Pebble reuses an authorization now and then even when told never to
    // (it compares a draw from 0 to 99 with "greater than 0").
    for (kind, names) in [
        (ChallengeType::Http01, ["shop.example", "www.shop.example"]),
        (ChallengeType::TlsAlpn01, ["other.example", "www.other.example"]),
    ] {
        rig.config.challenges = vec![kind];
        let mut job = rig.job(&names);
        if kind == ChallengeType::TlsAlpn01 {
            job.key = rig.vault.make(KeyAlgorithm::P384, KeyUsage::Tls).into();
        }
        let steps = Steps::default();
        let issued = obtain(&rig, &job, &steps).await.unwrap();
        assert_good(&rig, &job, &issued);
        assert_eq!(steps.opened.lock().unwrap().len(), 1);
        assert_eq!(steps.lost.load(Ordering::SeqCst), 0);
        let presented = std::mem::take(&mut *rig.solver.answers().presented.lock().unwrap());
        assert_eq!(presented, [kind, kind]);
        assert!(rig.solver.answers().is_empty(), "a challenge is still presented");
        let advice = issued.renewal.expect("Pebble offers renewal information");
        assert!(advice.window.is_some());
    }
    assert_eq!((rig.pebble.accounts(), rig.pebble.orders(), rig.pebble.certificates()), (1, 2, 2));
    // The account's key is not to be read in the book.
    let book = rig.book.0.lock().unwrap().clone();
    let (_, held) = book.iter().next().unwrap();
    let key = rig.vault.account_key();
    assert!(!held.windows(16).any(|part| key[36..68].windows(16).any(|secret| secret == part)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_gets_a_certificate() {
    let mut rig = Rig::new();
    rig.config.challenges = vec![ChallengeType::Http01];
    let job = rig.job(&["127.0.0.1", "shop.example"]);
    let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
    assert_good(&rig, &job, &issued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_challenge_the_same_attempt_takes_the_other_for_every_name() {
    let rig = Rig::new();
    rig.solver.answers().tls_is_broken.store(true, Ordering::SeqCst);
    let steps = Steps::default();
    let names = ["a.example", "b.example", "c.example", "d.example"];
    let job = rig.job(&names);
    let issued = obtain(&rig, &job, &steps).await.unwrap();
    assert_good(&rig, &job, &issued);
    let refused = steps.refused.lock().unwrap().clone();
    let first = refused.first().expect("the failure is told");
    assert_eq!(first.challenge, Some(ChallengeType::TlsAlpn01));
    assert!(job.spec.names().contains(first.subject.as_ref().unwrap()), "{first}");
    assert!(matches!(first.kind, FailureKind::Connection | FailureKind::ChallengeFailed));
    assert_eq!(steps.opened.lock().unwrap().len(), 2);
    let presented = rig.solver.answers().presented.lock().unwrap().clone();
    let (before, after) = presented.split_at(names.len());
    assert!(before.iter().all(|kind| *kind == ChallengeType::TlsAlpn01), "{presented:?}");
    assert_eq!(after, [ChallengeType::Http01; 4]);
    assert!(rig.solver.answers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_both_challenges_fail_the_attempt_ends_after_two_orders_with_both_reasons() {
    let rig = Rig::new();
    rig.solver.answers().tls_is_broken.store(true, Ordering::SeqCst);
    rig.solver.answers().http_is_broken.store(true, Ordering::SeqCst);
    let steps = Steps::default();
    let failure = obtain(&rig, &rig.job(&["shop.example"]), &steps).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.remedy),
        (FailureKind::ChallengeFailed, Remedy::Retry),
        "{failure}"
    );
    assert_eq!(failure.challenge, Some(ChallengeType::Http01));
    assert!(failure.detail.contains("; before that, shop.example: "), "{failure}");
    assert!(failure.detail.ends_with("(tls-alpn-01)"), "{failure}");
    assert_eq!(rig.pebble.orders(), 2);
    assert_eq!(steps.refused.lock().unwrap().len(), 1);
    assert_eq!(steps.lost.load(Ordering::SeqCst), 1, "the invalid order is given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_order_is_opened_where_none_is_permitted_or_no_other_challenge_is_left() {
    let mut rig = Rig::new();
    rig.solver.answers().tls_is_broken.store(true, Ordering::SeqCst);
    let used_up = Failure::new(FailureKind::RateLimited, "used up");
    let steps = Steps { limit: Some(used_up.clone()).into(), ..Steps::default() };
    let failure = obtain(&rig, &rig.job(&["shop.example"]), &steps).await.unwrap_err();
    assert_eq!((failure, rig.pebble.orders()), (used_up, 1));

    rig.config.challenges = vec![ChallengeType::TlsAlpn01];
    let steps = Steps::default();
    let failure = obtain(&rig, &rig.job(&["shop.example"]), &steps).await.unwrap_err();
    assert_eq!(failure.challenge, Some(ChallengeType::TlsAlpn01));
    assert!(steps.refused.lock().unwrap().is_empty());
    assert_eq!(rig.pebble.orders(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_that_cannot_be_presented_gives_way_within_the_same_order() {
    let mut rig = Rig::new();
    let no_listener = PresentError::NoListener(ChallengeType::TlsAlpn01);
    let name = Identifier::parse("shop.example").unwrap();
    let no_certificate = PresentError::Certificate { name, reason: "no entropy".to_owned() };
    for (number, refusal) in [no_listener.clone(), no_certificate.clone()].into_iter().enumerate() {
        *rig.solver.answers().tls_refusal.lock().unwrap() = Some(refusal);
        let job = rig.job(&["shop.example", "www.shop.example"]);
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        assert_good(&rig, &job, &issued);
        assert_eq!(rig.pebble.orders(), number + 1);
    }
    // Alone: the first is a matter of settings, the second passes, and the order is kept.
    rig.config.challenges = vec![ChallengeType::TlsAlpn01];
    for (refusal, kind, remedy) in [
        (no_listener, FailureKind::NoChallenge, Remedy::Intervene),
        (no_certificate, FailureKind::Lapsed, Remedy::Retry),
    ] {
        *rig.solver.answers().tls_refusal.lock().unwrap() = Some(refusal);
        let steps = Steps::default();
        let failure = obtain(&rig, &rig.job(&["shop.example"]), &steps).await.unwrap_err();
        assert_eq!((failure.kind, failure.remedy), (kind, remedy), "{failure}");
        assert_eq!(steps.lost.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_answer_is_a_failed_challenge_with_the_cas_words() {
    let mut rig = Rig::new();
    rig.config.challenges = vec![ChallengeType::Http01];
    rig.solver.answers().http_is_broken.store(true, Ordering::SeqCst);
    let job = rig.job(&["shop.example"]);
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ChallengeFailed, "{failure}");
    assert_eq!(failure.challenge, Some(ChallengeType::Http01));
    assert!(failure.detail.contains("authorization file"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_succeeds_while_half_of_the_nonces_are_refused() {
    let rig = Rig::with(|settings| settings.nonce_reject = 50);
    let issuer = rig.issuer();
    for number in 0..6 {
        let name = format!("n{number}.shop.example");
        let job = rig.job(&[&name]);
        let issued = obtain_by(&issuer, &job, &Steps::default()).await.unwrap();
        assert_good(&rig, &job, &issued);
    }
    assert_eq!((rig.pebble.accounts(), rig.pebble.orders(), rig.pebble.certificates()), (1, 6, 6));
}
