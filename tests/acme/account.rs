//! The account: one over restarts, another when the CA has forgotten it, with an external
//! binding, with terms, with contacts that change.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use instant_acme::BodyWrapper;
use instant_acme::BytesResponse;
use instant_acme::HttpClient;
use keyward::cert::failure::FailureKind;
use keyward::cert::failure::Remedy;
use keyward::cert::ports::Shelf;
use keyward::config::Eab;

use crate::doubles::Steps;
use crate::rig::Rig;
use crate::rig::assert_good;
use crate::rig::obtain;
use crate::rig::obtain_by;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_account_serves_over_restarts_and_changed_contacts() {
    let mut rig = Rig::new();
    for contact in ["mailto:a@shop.example", "mailto:a@shop.example", "mailto:b@shop.example"] {
        rig.config.contact = vec![contact.to_owned()];
        let before = rig.book.0.lock().unwrap().values().next().cloned();
        obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap();
        let after = rig.book.0.lock().unwrap().values().next().cloned();
        let held = String::from_utf8_lossy(after.as_deref().unwrap()).into_owned();
        assert!(held.contains(contact), "the book holds the contacts at the CA");
        assert_eq!(before == after, contact.contains("a@") && before.is_some());
    }
    assert_eq!(rig.pebble.accounts(), 1);
    assert_eq!(rig.pebble.output().matches("POST /my-account/").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_orders_at_once_open_one_account() {
    let rig = Rig::new();
    let issuer = rig.issuer();
    let jobs: Vec<_> = (0..8).map(|n| rig.job(&[&format!("n{n}.shop.example")])).collect();
    let steps: Vec<_> = (0..8).map(|_| Steps::default()).collect();
    let orders = jobs.iter().zip(&steps).map(|(job, steps)| obtain_by(&issuer, job, steps));
    for (job, issued) in jobs.iter().zip(futures_util::future::join_all(orders).await) {
        assert_good(&rig, job, &issued.unwrap());
    }
    assert_eq!((rig.pebble.accounts(), rig.pebble.orders()), (1, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_the_ca_forgot_is_opened_anew_while_running_and_after_a_restart() {
    let mut rig = Rig::new();
    let issuer = rig.issuer();
    obtain_by(&issuer, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap();
    rig.pebble.restart();
    let job = rig.job(&["shop.example"]);
    let issued = obtain_by(&issuer, &job, &Steps::default()).await.unwrap();
    assert_good(&rig, &job, &issued);
    assert_eq!(rig.pebble.accounts(), 2);
    rig.pebble.restart();
    let job = rig.job(&["shop.example"]);
    let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
    assert_good(&rig, &job, &issued);
    assert_eq!(rig.pebble.accounts(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_that_are_not_accepted_end_the_matter_before_an_account_is_opened() {
    let mut rig = Rig::new();
    rig.config.accept_terms = false;
    let failure = obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Terms, Remedy::Intervene));
    assert!(failure.detail.contains("terms of service are not accepted: "), "{failure}");
    assert_eq!(rig.pebble.accounts(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_external_binding_is_used_and_its_absence_and_falseness_are_named() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let bindings = vec![("kid-1".to_owned(), key.to_owned())];
    let mut rig = Rig::with(|settings| settings.bindings = bindings);
    let job = rig.job(&["shop.example"]);
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Account, Remedy::Intervene));
    assert!(failure.detail.contains("[acme.eab]"), "{failure}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hmac");
    rig.config.eab = Some(Eab { kid: "kid-1".to_owned(), hmac_key_file: file.clone() });
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert!(failure.detail.contains("hmac_key_file"), "{failure}");
    std::fs::write(&file, "not a key!").unwrap();
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert!(failure.detail.ends_with("not a base64url key"), "{failure}");
    std::fs::write(&file, "AAAA\n").unwrap();
    let failure = obtain(&rig, &job, &Steps::default()).await.unwrap_err();
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Account, Remedy::Intervene));
    assert_eq!(rig.pebble.accounts(), 0);

    std::fs::write(&file, format!("{key}\n")).unwrap();
    let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
    assert_good(&rig, &job, &issued);
    assert_eq!(rig.pebble.accounts(), 1);
}

/// instant-acme's way to Pebble that is not keyward's, to act behind the issuer's back.
struct BehindItsBack(Arc<Rig>);

impl HttpClient for BehindItsBack {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let rig = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let line = format!("{} {}", parts.method, parts.uri.path());
            let headers = "Content-Type: application/jose+json\r\n";
            let answer = rig.pebble.ask(&line, headers, &body).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let mut lines = head.lines();
            let status = lines.next().unwrap().split(' ').nth(1).unwrap();
            let mut response = http::Response::builder().status(status);
            for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
                response = response.header(name, value);
            }
            let body = Full::new(Bytes::from(body.to_owned()));
            Ok(BytesResponse::from(response.body(body).unwrap()))
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivated_account_is_replaced_once() {
    let rig = Arc::new(Rig::new());
    let issuer = rig.issuer();
    obtain_by(&issuer, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap();
    let held = rig.book.0.lock().unwrap().values().next().cloned().unwrap();
    let text = String::from_utf8_lossy(&held).into_owned();
    let start = text.find("https://").unwrap();
    let url: String = text[start..].chars().take_while(|c| !c.is_control()).collect();
    let key = rig.vault.account_key();
    let account = instant_acme::Account::builder_with_http(Box::new(BehindItsBack(rig.clone())))
        .from_parts(
            url,
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.as_slice()),
            rig.config.directory.clone(),
        )
        .await
        .unwrap();
    account.deactivate().await.unwrap();

    let job = rig.job(&["shop.example"]);
    let steps = Steps::default();
    let issued = obtain_by(&issuer, &job, &steps).await.unwrap();
    assert_good(&rig, &job, &issued);
    assert_eq!(rig.pebble.accounts(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_of_an_earlier_version_is_used_on_and_its_key_becomes_the_vaults() {
    let rig = Rig::new();
    obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap();
    let place = (Shelf::Accounts, rig.config.directory.clone());
    let held = || rig.book.0.lock().unwrap()[&place].clone();
    let now = held();
    let ([4], fields) = now.split_first_chunk().unwrap() else { panic!("another version") };
    let (url, rest): (String, _) = postcard::take_from_bytes(fields).unwrap();
    let (contact, _): (Vec<String>, _) = postcard::take_from_bytes(rest).unwrap();
    let sealed = rig.vault.sealed_before(&rig.config.directory);
    let before = postcard::to_extend(&(&url, &contact, sealed), vec![1]).unwrap();
    rig.book.0.lock().unwrap().insert(place.clone(), before);

    for _ in 0..2 {
        let job = rig.job(&["shop.example"]);
        let issued = obtain(&rig, &job, &Steps::default()).await.unwrap();
        assert_good(&rig, &job, &issued);
        assert_eq!(held()[0], 4, "a key that main could have opened is in the book");
        assert!(String::from_utf8_lossy(&held()).contains(&url), "the account is the same");
    }
    assert_eq!(rig.vault.taken_over.load(Ordering::SeqCst), 1);
    assert_eq!(rig.pebble.accounts(), 1);

    // Sealed under another name it is refused, and nobody opens another account for that.
    let sealed = rig.vault.sealed_before("https://other.example/dir");
    let strange = postcard::to_extend(&(&url, &contact, sealed), vec![1]).unwrap();
    rig.book.0.lock().unwrap().insert(place.clone(), strange.clone());
    let refused = obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await;
    assert_eq!(refused.unwrap_err().kind, FailureKind::Vault);
    assert_eq!((held(), rig.pebble.accounts()), (strange, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_vault_nothing_is_asked() {
    let rig = Rig::new();
    obtain(&rig, &rig.job(&["shop.example"]), &Steps::default()).await.unwrap();
    rig.vault.broken.store(true, Ordering::SeqCst);
    let failure = obtain(&rig, &rig.job(&["b.example"]), &Steps::default()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Vault, "{failure}");
    assert_eq!((rig.pebble.accounts(), rig.pebble.orders()), (1, 1));
}
