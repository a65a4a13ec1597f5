//! The main way: a certificate by each challenge, by the other one after a failure, for many
//! names at once, and while every second nonce is refused.

use std::sync::atomic::Ordering;

use keyward::cert::challenge::ChallengeType;
use keyward::cert::failure::FailureKind;
use keyward::cert::failure::Remedy;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Job;
use keyward::cert::ports::SecretSeal as _;

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
            job.key = rig.vault.make(KeyAlgorithm::P384, KeyUsage::Tls);
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
    // The account's key is in the book, and not to be read there.
    let book = rig.book.0.lock().unwrap().clone();
    let (_, held) = book.iter().next().unwrap();
    let label = rig.config.directory.as_bytes();
    let at = held.windows(label.len()).position(|part| part == label).unwrap();
    let key = rig.vault.open(&rig.config.directory, &held[at..]).await.unwrap();
    rcgen::KeyPair::try_from(key.expose().as_slice()).expect("a PKCS #8 key, sealed");
    assert!(!held.windows(16).any(|part| key.expose().windows(16).any(|secret| secret == part)));
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
async fn after_a_failed_challenge_the_next_attempt_takes_the_other() {
    let rig = Rig::new();
    rig.solver.answers().tls_is_broken.store(true, Ordering::SeqCst);
    let issuer = rig.issuer();
    let steps = Steps::default();
    let job = rig.job(&["shop.example"]);
    let failure = obtain_by(&issuer, &job, &steps).await.unwrap_err();
    assert_eq!(failure.challenge, Some(ChallengeType::TlsAlpn01));
    assert_eq!(failure.subject, Some(Identifier::parse("shop.example").unwrap()));
    assert!(matches!(failure.kind, FailureKind::Connection | FailureKind::ChallengeFailed));
    assert_eq!(failure.remedy, Remedy::Retry);
    assert_eq!(steps.lost.load(Ordering::SeqCst), 1, "the invalid order is given up");
    assert!(rig.solver.answers().is_empty());

    let again = Job { attempt: 1, ..job };
    let issued = obtain_by(&issuer, &again, &steps).await.unwrap();
    assert_good(&rig, &again, &issued);
    let presented = rig.solver.answers().presented.lock().unwrap().clone();
    assert_eq!(presented, [ChallengeType::TlsAlpn01, ChallengeType::Http01]);
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
