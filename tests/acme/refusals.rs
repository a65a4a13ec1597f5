//! What the CA refuses, and a CA that is not there: each with its kind and its remedy.

use std::sync::atomic::Ordering;

use keyward::cert::failure::FailureKind;
use keyward::cert::failure::Remedy;
use keyward::cert::identifier::Identifier;

use crate::doubles::Steps;
use crate::pebble::Pebble;
use crate::pebble::Settings;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;
use crate::rig::obtain_by;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_name_is_rejected() {
    let rig = Rig::with(|settings| settings.blocked = vec!["blocked.example".to_owned()]);
    let job = rig.job(&["shop.blocked.example"]);
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Rejected, Remedy::Intervene));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_asked_for_and_an_unknown_one_is_refused_with_the_known_ones() {
    let day = 24 * 3600;
    let profiles = vec![("default".to_owned(), 90 * day), ("shortlived".to_owned(), 6 * day)];
    let mut rig = Rig::with(|settings| settings.profiles = profiles);
    for (profile, days) in [("shortlived", 6), ("default", 90)] {
        rig.config.profile = Some(profile.to_owned());
        let job = rig.job(&["shop.example"]);
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        let life = issued.chain.leaf().unwrap().validity.life().as_secs();
        assert_eq!(life.div_ceil(day), days, "{life}");
    }
    rig.config.profile = Some("eternal".to_owned());
    let failure = obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Refused, Remedy::Intervene));
    let said = "the CA has no profile \"eternal\"; it offers: default, shortlived";
    assert_eq!(failure.detail, said);
    assert_eq!(rig.pebble.orders(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_not_there_is_unreachable_and_found_again() {
    let mut rig = Rig::new();
    let issuer = rig.issuer();
    rig.pebble.stop();
    let job = rig.job(&["shop.example"]);
    for _ in 0..2 {
        let failure = obtain_by(&issuer, &job, &Steps::default()).await.unwrap_err();
        assert_eq!((failure.kind, failure.remedy), (FailureKind::Unreachable, Remedy::Retry));
        assert!(failure.detail.contains("refused"), "{failure}");
    }
    rig.pebble.restart();
    let issued = obtain_by(&issuer, &job, &Steps::default()).await.unwrap();
    assert_good(&rig, &job, &issued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_behind_an_untrusted_root_is_not_spoken_to() {
    let mut rig = Rig::new();
    let other = Pebble::start(Settings::new(rig.solver.http_port, rig.solver.tls_port));
    for ca_root in [Some(other.ca_root()), None] {
        rig.config.ca_root = ca_root;
        let job = rig.job(&["shop.example"]);
        let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreachable);
        let words = ["invalid peer certificate", "no trusted roots"];
        assert!(words.iter().any(|word| failure.detail.contains(word)), "{failure}");
    }
    rig.config.ca_root = Some("/nonexistent/root.pem".into());
    let failure = obtain(&rig, &rig.job(&["a.example"]), &Steps::default()).await.unwrap_err();
    assert!(failure.detail.starts_with("ca_root /nonexistent/root.pem: "), "{failure}");
    assert_eq!(rig.pebble.accounts(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_no_challenge_can_prove_is_refused_without_an_order() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example", "*.shop.example"]);
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::NoChallenge, Remedy::Intervene));
    assert_eq!(failure.subject, Some(Identifier::parse("*.shop.example").unwrap()));
    assert_eq!(rig.pebble.orders(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_away_keeps_the_order_for_later() {
    let rig = Rig::new();
    let mut job = rig.job(&["shop.example"]);
    rig.vault.broken.store(true, Ordering::SeqCst);
    let steps = Steps::default();
    let failure = obtain(&rig, &job, &steps).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Vault, Remedy::Retry));
    assert_eq!(failure.detail, "the vault is away");
    assert_eq!(steps.lost.load(Ordering::SeqCst), 0);
    rig.vault.broken.store(false, Ordering::SeqCst);
    job.order = steps.order();
    obtain(&rig, &job, &Steps::default()).await.unwrap();
    assert_eq!(rig.pebble.orders(), 1);
}
