//! Certificates found by name when somebody asks, those of no site among them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::handshakes::s_client;
use crate::house::{House, limits, site};
use crate::load;
use crate::memory::MemoryCa;
use crate::origin::Origin;

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// As certificates that were brought here may be for any name.
#[tokio::test]
async fn a_name_of_no_site_is_served_by_the_default_site_under_its_own_certificate() {
    let (origin, other) = (Origin::start(), Origin::start());
    let mut fallback = site(&["default.example"], origin.address);
    fallback.default = true;
    let sites = vec![fallback, site(&["a.example"], other.address)];
    let ca = MemoryCa::new();
    let brought = [
        ca.issue(&["default.example"]),
        ca.issue(&["a.example"]),
        ca.issue(&["brought.example", "*.brought.example", "127.0.0.1"]),
    ];
    let house = House::with(ca, sites, limits(), brought.to_vec());
    // The client checks the certificate against the name.
    for name in ["brought.example", "x.brought.example", "127.0.0.1"] {
        let answer = house.raw(name, get(name).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        let answer = house.raw(name, get("a.example").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{name}: {answer}");
    }
    assert_eq!((origin.seen(), other.seen()), (3, 0));
    let config = load::client_config(&house.ca.root(), &[]);
    let unknown = load::connect(&config, house.https, "x.y.brought.example").await;
    let error = unknown.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "the default site's is shown: {error}");
    // It goes with its certificate.
    house.show(brought.iter().take(2).cloned().collect());
    assert!(load::connect(&config, house.https, "brought.example").await.is_err());
}

#[test]
fn a_name_of_no_site_is_refused_where_there_is_no_default_site() {
    let origin = Origin::start();
    let ca = MemoryCa::new();
    let certificates = vec![ca.issue(&["a.example"]), ca.issue(&["brought.example"])];
    let sites = vec![site(&["a.example"], origin.address)];
    let house = House::with(ca, sites, limits(), certificates);
    let answer = s_client(&house, &["-servername", "brought.example"]);
    assert!(answer.contains("alert number 112"), "{answer}");
    assert_eq!(house.shelf.asked.load(Ordering::SeqCst), 0, "nobody is asked in vain");
}

#[tokio::test]
async fn a_site_gets_its_first_certificate_while_clients_ask() {
    let origin = Origin::start();
    let sites = vec![site(&["a.example", "*.a.example"], origin.address)];
    let house = House::with(MemoryCa::new(), sites, limits(), Vec::new());
    let config = load::client_config(&house.ca.root(), &[]);
    for name in ["a.example", "x.a.example", "y.a.example"] {
        assert!(load::connect(&config, house.https, name).await.is_err(), "{name}");
    }
    house.show(vec![house.ca.issue(&["a.example", "*.a.example"])]);
    for name in ["a.example", "x.a.example", "z.a.example"] {
        load::connect(&config, house.https, name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let stats = house.edge.stats();
    assert_eq!(stats.handshakes.failed.no_certificate, 3);
    assert_eq!(stats.certificates.looked_up, 6);
    assert_eq!(house.ca.signers.asked.load(Ordering::SeqCst), 1, "one for all its names");
}

#[tokio::test]
async fn of_many_certificates_only_those_asked_for_are_made_ready() {
    let origin = Origin::start();
    let ca = MemoryCa::new();
    let names: Vec<String> = (0..200).map(|n| format!("n{n}.example")).collect();
    let sites = names.iter().map(|name| site(&[name], origin.address)).collect();
    let certificates = names.iter().map(|name| ca.issue(&[name])).collect();
    let house = House::with(ca, sites, limits(), certificates);
    let config = load::client_config(&house.ca.root(), &[]);
    for name in ["n3.example", "n150.example", "n3.example"] {
        load::connect(&config, house.https, name).await.unwrap();
    }
    assert_eq!(house.ca.signers.asked.load(Ordering::SeqCst), 2);
    // Clients of both workers ask at the same time.
    let all = names.iter().map(|name| {
        let (config, address, name) = (Arc::clone(&config), house.https, name.clone());
        tokio::spawn(async move { load::connect(&config, address, &name).await })
    });
    for asked in all.collect::<Vec<_>>() {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(house.ca.signers.asked.load(Ordering::SeqCst), names.len());
}
