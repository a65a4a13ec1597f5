//! Renewal information, and orders that say what they replace (RFC 9773).

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::cert::chain::Chain;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::ports::CertificateAuthority as _;
use keyward::cert::ports::Job;
use keyward::cert::record::Installed;

use crate::doubles::Steps;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_is_announced_and_a_second_one_goes_without() {
    let rig = Rig::new();
    let first = rig.job(&["shop.example"]);
    let issued = obtain(&rig, &first, &Steps::default()).await.unwrap();
    let id = issued.chain.leaf().unwrap().ari_id;
    assert!(id.is_some());

    let second = Job { replaces: id.clone(), ..rig.job(&["shop.example"]) };
    let steps = Steps::default();
    assert_good(&rig, &second, &obtain(&rig, &second, &steps).await.unwrap());
    assert_eq!(steps.counted.load(Ordering::SeqCst), 0);
    let announced = || rig.pebble.output().matches("is a replacement of").count();
    assert_eq!(announced(), 1);

    // The CA answers alreadyReplaced; the order is opened all the same.
    let third = Job { replaces: id, ..rig.job(&["shop.example"]) };
    let steps = Steps::default();
    assert_good(&rig, &third, &obtain(&rig, &third, &steps).await.unwrap());
    assert_eq!(steps.opened.lock().unwrap().len(), 1);
    assert_eq!(steps.counted.load(Ordering::SeqCst), 1, "such an order is not exempt");
    assert_eq!((announced(), rig.pebble.orders()), (1, 3));

    // Nor is it opened where the CA would refuse it for its rate.
    let full = Failure::new(FailureKind::RateLimited, "used up");
    let steps = Steps { limit: Mutex::new(Some(full.clone())), ..Steps::default() };
    assert_eq!(obtain(&rig, &third, &steps).await.unwrap_err(), full);
    assert_eq!(rig.pebble.orders(), 3);

    // A predecessor the CA has never seen, and one that is no identifier at all.
    for stranger in ["aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", "nonsense", "a.b.c"] {
        let job = Job { replaces: Some(stranger.to_owned()), ..rig.job(&["shop.example"]) };
        assert_good(&rig, &job, &obtain(&rig, &job, &Steps::default()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cas_window_is_followed_when_it_is_good_and_asked_again_when_not() {
    let mut rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    let issuer = rig.issuer();
    let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
    let pem = issued.chain.to_pem();
    let now = SystemClock.now();
    let installed = Installed::read(issued.chain.clone(), now).unwrap();
    let advice = issuer.renewal_advice(&job.spec, &installed).await.unwrap().unwrap();
    assert_eq!(advice.window, issued.renewal.unwrap().window);
    let wait = advice.recheck_at.since(now).as_secs();
    assert!((21_590..=21_620).contains(&wait), "six hours: {wait}");

    let window = r#"{"suggestedWindow": {"start": "2026-01-02T03:04:05Z",
                     "end": "2026-01-03T03:04:05Z"}}"#;
    rig.pebble.set_renewal_info(&pem, window);
    let advice = issuer.renewal_advice(&job.spec, &installed).await.unwrap().unwrap();
    let window = advice.window.unwrap();
    assert_eq!(window.start().to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(window.end().to_string(), "2026-01-03T03:04:05Z");

    // Reversed, or no answer at all: no window, and six hours of silence.
    let reversed = r#"{"suggestedWindow": {"start": "2026-01-03T03:04:05Z",
                       "end": "2026-01-02T03:04:05Z"}}"#;
    for bad in [reversed, "<html>"] {
        rig.pebble.set_renewal_info(&pem, bad);
        let advice = issuer.renewal_advice(&job.spec, &installed).await.unwrap().unwrap();
        assert_eq!(advice.window, None, "{bad}");
        let wait = advice.recheck_at.since(now).as_secs();
        assert!((21_590..=21_620).contains(&wait), "six hours: {wait}");
    }

    // Away: soon again.
    rig.pebble.stop();
    let advice = issuer.renewal_advice(&job.spec, &installed).await.unwrap().unwrap();
    assert_eq!(advice.window, None);
    assert!(advice.recheck_at.since(now).as_secs() < 120);

    // Switched off, or without an identifier: nothing to be had.
    let nameless = Installed { ari_id: None, ..installed.clone() };
    assert_eq!(issuer.renewal_advice(&job.spec, &nameless).await.unwrap(), None);
    rig.config.renewal_info = false;
    assert_eq!(rig.issuer().renewal_advice(&job.spec, &installed).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_renewal_information_nothing_is_announced() {
    let mut rig = Rig::new();
    rig.config.renewal_info = false;
    let issued = obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap();
    assert_eq!(issued.renewal, None);
    let replaces = issued.chain.leaf().unwrap().ari_id;
    let job = Job { replaces, ..rig.job(&["shop.example"]) };
    obtain(&rig, &job, &Steps::default()).await.unwrap();
    assert!(!rig.pebble.output().contains("is a replacement of"));
    let root = Chain::from_pem(rig.pebble.intermediate().as_bytes()).unwrap();
    assert_eq!(root.certificates(), &issued.chain.certificates()[1..]);
    assert_eq!(rig.solver.answers().withdrawn.load(Ordering::SeqCst), 2);
}
