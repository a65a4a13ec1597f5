//! The CA opened an order and its URL was lost: the next attempt with the same key finds it in the
//! account's list, and takes nothing from there that is not its own.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::base::bounds;
use keyward::cert::challenge::ChallengeType;
use keyward::cert::ports::CertificateAuthority as _;
use keyward::cert::ports::Job;
use tokio::time::Instant;

use crate::between::Answers;
use crate::between::Between;
use crate::between::answer;
use crate::between::ok;
use crate::doubles::Steps;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;

/// Opens an order for `job` and goes no further. Returns its URL, which the caller may lose.
async fn open(rig: &Rig, job: &Job) -> String {
    let steps = Steps { hold: true, ..Steps::default() };
    let issuer = rig.issuer();
    tokio::select! {
        () = steps.stored.notified() => {}
        ended = issuer.obtain(job.clone(), &steps) => panic!("it does not wait: {ended:?}"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no order is opened"),
    }
    steps.order().unwrap()
}

/// The same job after a crash that lost the URL of its order.
fn after_the_crash(job: Job) -> Job {
    Job { resumed: true, ..job }
}

/// Obtains the certificate and returns the orders that were stored on the way.
async fn stored_orders(rig: &Rig, job: &Job) -> Vec<String> {
    let steps = Steps::default();
    let issued = obtain(rig, job, &steps).await.unwrap();
    assert_good(rig, job, &issued);
    assert_eq!(steps.lost.load(Ordering::SeqCst), 0);
    steps.opened.into_inner().unwrap()
}

fn lists_read(rig: &Rig) -> usize {
    rig.pebble.output().matches("POST /list-orderz/").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_order_is_found_on_the_last_of_many_pages() {
    let mut rig = Rig::with(|settings| settings.orders_per_page = 2);
    let others: Vec<String> = (0..6).map(|number| format!("n{number}.example")).collect();
    for other in &others {
        stored_orders(&rig, &rig.job(&[other])).await;
    }
    assert_eq!(lists_read(&rig), 0, "no list is read in the ordinary course");
    let job = rig.job(&["shop.example", "www.shop.example", "127.0.0.1"]);
    rig.config.challenges = vec![ChallengeType::Http01];
    let lost = open(&rig, &job).await;
    assert_eq!(stored_orders(&rig, &after_the_crash(job)).await, [lost]);
    assert_eq!(rig.pebble.orders(), 7);
    assert_eq!((lists_read(&rig), rig.pebble.accounts()), (4, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_order_is_found_while_half_of_the_nonces_are_refused() {
    let rig = Rig::with(|settings| settings.nonce_reject = 50);
    let job = rig.job(&["shop.example"]);
    let lost = open(&rig, &job).await;
    assert_eq!(stored_orders(&rig, &after_the_crash(job)).await, [lost]);
    assert_eq!(rig.pebble.orders(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_for_other_names_or_of_another_record_is_left_alone() {
    let rig = Rig::new();
    for names in [&["other.example"][..], &["shop.example", "other.example"]] {
        open(&rig, &rig.job(names)).await;
    }
    let job = rig.job(&["shop.example"]);
    let other = open(&rig, &job).await;
    let job = Job { taken: vec![other.clone()], ..after_the_crash(job) };
    let orders = stored_orders(&rig, &job).await;
    assert_eq!(orders.len(), 1);
    assert_ne!(orders[0], other);
    assert_eq!(rig.pebble.orders(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_finished_order_of_an_earlier_certificate_is_not_taken() {
    let rig = Rig::new();
    let earlier = stored_orders(&rig, &rig.job(&["shop.example"])).await;
    let later = stored_orders(&rig, &after_the_crash(rig.job(&["shop.example"]))).await;
    assert_eq!((lists_read(&rig), later.len()), (1, 1));
    assert_ne!(earlier, later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_another_profile_is_not_taken() {
    let day = 24 * 3600;
    let profiles = vec![("classic".to_owned(), 90 * day), ("short".to_owned(), 6 * day)];
    let mut rig = Rig::with(|settings| settings.profiles = profiles);
    rig.config.profile = Some("classic".to_owned());
    let job = rig.job(&["shop.example"]);
    let classic = open(&rig, &job).await;
    rig.config.profile = Some("short".to_owned());
    let short = open(&rig, &rig.job(&["shop.example"])).await;
    rig.config.profile = Some("classic".to_owned());
    assert_eq!(stored_orders(&rig, &after_the_crash(job)).await, [classic]);
    rig.config.profile = Some("short".to_owned());
    let job = rig.job(&["shop.example"]);
    assert_eq!(stored_orders(&rig, &after_the_crash(job)).await, [short]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_found_order_that_cannot_be_stored_is_not_gone_on_with() {
    let rig = Rig::new();
    let job = rig.job(&["shop.example"]);
    open(&rig, &job).await;
    let steps = Steps { hold: true, ..Steps::default() };
    let issuer = rig.issuer();
    let job = after_the_crash(job);
    tokio::select! {
        () = steps.stored.notified() => {}
        ended = issuer.obtain(job.clone(), &steps) => panic!("it does not wait: {ended:?}"),
    }
    assert!(rig.solver.answers().presented.lock().unwrap().is_empty());
    assert_eq!(rig.pebble.orders(), 1);
}

/// Loses an order at a CA that answers as `answers` say, which get the origin of its URLs, and
/// obtains the certificate all the same, by a second order. Returns how often it answered so.
async fn in_spite_of(answers: impl FnOnce(String) -> Answers) -> usize {
    let between = Between::bind();
    let mut rig = Rig::new();
    rig.config.directory = format!("{}/dir", between.origin());
    let rig = Arc::new(rig);
    let answers = answers(between.origin());
    let answered = between.serve(&rig, answers);
    let job = rig.job(&["shop.example"]);
    let lost = open(&rig, &job).await;
    assert!(answered.lock().unwrap().is_empty(), "nothing of this is asked in an ordinary course");
    let began = Instant::now();
    let orders = stored_orders(&rig, &after_the_crash(job)).await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!((orders.len(), rig.pebble.orders()), (1, 2));
    assert_ne!(orders[0], lost);
    answered.lock().unwrap().len()
}

const ACCOUNT: &str = "/my-account/";
const LIST: &str = "/list-orderz/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_between_changes_nothing_by_itself() {
    let between = Between::bind();
    let mut rig = Rig::new();
    rig.config.directory = format!("{}/dir", between.origin());
    let rig = Arc::new(rig);
    let answered = between.serve(&rig, Box::new(|_| None));
    let job = rig.job(&["shop.example"]);
    let lost = open(&rig, &job).await;
    assert_eq!(stored_orders(&rig, &after_the_crash(job)).await, [lost]);
    assert!(answered.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_without_a_list_gets_a_new_order() {
    let without = |path: &str| path.starts_with(ACCOUNT).then(|| ok(r#"{"status": "valid"}"#));
    assert_eq!(in_spite_of(|_| Box::new(without)).await, 1);
    let refused = |path: &str| {
        path.starts_with(ACCOUNT).then(|| answer("405 Method Not Allowed", "", "no such thing"))
    };
    assert_eq!(in_spite_of(|_| Box::new(refused)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_none_gets_a_new_order() {
    for body in ["<html>", "{}", r#"{"orders": [1, 2]}"#, r#"{"orders": ["", "x", "http://["]}"#] {
        let garbage = move |path: &str| path.starts_with(LIST).then(|| ok(body));
        assert_eq!(in_spite_of(|_| Box::new(garbage)).await, 1, "{body}");
    }
    let busy = |path: &str| path.starts_with(LIST).then(|| answer("500 Oops", "", ""));
    assert_eq!(in_spite_of(|_| Box::new(busy)).await, 1);
    let huge = "x".repeat(2 * 1024 * 1024);
    let huge = move |path: &str| path.starts_with(LIST).then(|| ok(&huge));
    assert_eq!(in_spite_of(|_| Box::new(huge)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_list_and_one_of_countless_orders_are_left_in_time() {
    let asked = AtomicUsize::new(0);
    let endless = move |path: &str| {
        path.starts_with(LIST).then(|| {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            let link = format!("Link: </dir>;rel=\"index\", <{LIST}x/{number}>; rel=\"next\"\r\n");
            answer("200 OK", &link, r#"{"orders": []}"#)
        })
    };
    assert_eq!(in_spite_of(|_| Box::new(endless)).await, bounds::ORDER_LIST_PAGES);

    let countless = |origin: String| -> Answers {
        let urls: Vec<String> = (0..5000).map(|n| format!("\"{origin}/stranger/{n}\"")).collect();
        let list = format!("{{\"orders\": [{}]}}", urls.join(","));
        let stranger = r#"{"status": "pending", "identifiers": [{"value": "other.example"}]}"#;
        Box::new(move |path| {
            let is_list = path.starts_with(LIST);
            (is_list || path.starts_with("/stranger/"))
                .then(|| ok(if is_list { &list } else { stranger }))
        })
    };
    assert_eq!(in_spite_of(countless).await, 1 + bounds::ORDER_LIST_READ);
}
