//! An attempt ends at each of its steps, as in a crash; the next one goes on with the same order
//! and the same key, and the CA sees one order and one certificate.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::cert::challenge::ChallengeType;
use keyward::cert::ports::CertificateAuthority as _;
use keyward::cert::ports::Job;

use crate::doubles::Steps;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;

/// Runs `job` until `moment` comes, then drops it. Returns the stored order.
async fn cut(rig: &Rig, job: &Job, steps: &Steps, moment: impl Future<Output = ()>) -> String {
    let issuer = rig.issuer();
    tokio::select! {
        biased;
        () = moment => {}
        ended = issuer.obtain(job.clone(), steps) => {
            // The last moments may come too late; then what is cut off is the installation.
            ended.unwrap();
        }
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("the moment never came"),
    }
    assert_eq!(steps.opened.lock().unwrap().len(), 1);
    steps.order().unwrap()
}

/// Goes on with `order` and checks that it was the only one.
async fn go_on(rig: &Rig, job: Job, order: String) {
    rig.solver.answers().hold.store(false, Ordering::SeqCst);
    assert!(rig.solver.answers().is_empty(), "a dropped attempt leaves a challenge presented");
    let job = Job { order: Some(order), attempt: 1, ..job };
    let steps = Steps::default();
    let issued = obtain(rig, &job, &steps).await.unwrap();
    assert_good(rig, &job, &issued);
    assert!(steps.opened.lock().unwrap().is_empty(), "a second order was opened");
    assert_eq!(steps.lost.load(Ordering::SeqCst), 0);
    let counts = (rig.pebble.accounts(), rig.pebble.orders(), rig.pebble.certificates());
    assert_eq!(counts, (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_order_was_stored() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let steps = Steps { hold: true, ..Steps::default() };
    let order = cut(&rig, &job, &steps, steps.stored.notified()).await;
    go_on(&rig, job, order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_challenge_was_presented() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    rig.solver.answers().hold.store(true, Ordering::SeqCst);
    let told = rig.solver.answers().told.notified();
    let order = cut(&rig, &job, &Steps::default(), told).await;
    go_on(&rig, job, order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_challenge_was_proven() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let steps = Steps::default();
    let order = cut(&rig, &job, &steps, output(&rig, " set VALID by completed challenge ")).await;
    go_on(&rig, job, order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_request_is_being_signed() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let order = cut(&rig, &job, &Steps::default(), rig.vault.signing.notified()).await;
    go_on(&rig, job, order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_order_was_finalised() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let order = cut(&rig, &job, &Steps::default(), output(&rig, "Processing finalization")).await;
    go_on(&rig, job, order).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_certificate_was_issued() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let steps = Steps::default();
    let issued = obtain(&rig, &job, &steps).await.unwrap();
    assert_good(&rig, &job, &issued);
    go_on(&rig, job, steps.order().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_lost_makes_room_for_another_in_the_same_attempt() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let origin = rig.config.directory.trim_end_matches("/dir");
    for lost in ["/my-order/unknown", "/nowhere"] {
        let job = Job { order: Some(format!("{origin}{lost}")), ..job.clone() };
        let steps = Steps::default();
        let issued = obtain(&rig, &job, &steps).await.unwrap();
        assert_good(&rig, &job, &issued);
        assert_eq!(steps.lost.load(Ordering::SeqCst), 1);
        assert_eq!(steps.opened.lock().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_order_makes_room_for_another_in_the_same_attempt() {
    let mut rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let both = std::mem::replace(&mut rig.config.challenges, vec![ChallengeType::TlsAlpn01]);
    rig.solver.answers().tls_is_broken.store(true, Ordering::SeqCst);
    let steps = Steps::default();
    obtain(&rig, &job, &steps).await.unwrap_err();
    rig.config.challenges = both;
    // Whatever turn it is: what failed in the stored order is not tried again.
    let job = Job { order: steps.order(), attempt: 2, ..job };
    let steps = Steps::default();
    let issued = obtain(&rig, &job, &steps).await.unwrap();
    assert_good(&rig, &job, &issued);
    assert_eq!(steps.lost.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_order_for_another_key_or_other_names_is_not_taken() {
    let rig = Rig::new();
    let first = rig.job(&["shop.example"]);
    let steps = Steps::default();
    obtain(&rig, &first, &steps).await.unwrap();
    for names in [&["shop.example"][..], &["other.example"][..]] {
        let job = Job { order: steps.order(), ..rig.job(names) };
        let later = Steps::default();
        let issued = obtain(&rig, &job, &later).await.unwrap();
        assert_good(&rig, &job, &issued);
        assert_eq!(later.lost.load(Ordering::SeqCst), 1);
        assert_ne!(later.order(), steps.order());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_forgot_everything_in_the_middle_of_an_order_is_met_as_a_stranger() {
    let mut rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let steps = Steps { hold: true, ..Steps::default() };
    let order = cut(&rig, &job, &steps, steps.stored.notified()).await;
    rig.pebble.restart();
    let job = Job { order: Some(order), ..job };
    let steps = Steps::default();
    let issued = obtain(&rig, &job, &steps).await.unwrap();
    assert_good(&rig, &job, &issued);
    assert_eq!(steps.lost.load(Ordering::SeqCst), 1);
    assert_eq!(rig.pebble.accounts(), 2);
}

async fn output(rig: &Rig, what: &str) {
    while !rig.pebble.output().contains(what) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
