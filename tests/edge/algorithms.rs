//! Of several certificates for a name, which one is shown to whom.

use std::sync::Arc;
use std::time::Duration;

use keyward::base::{Clock, SystemClock};
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::served::Served;

use crate::handshakes::s_client;
use crate::house::{House, limits, site};
use crate::memory::MemoryCa;
use crate::origin::Origin;

fn house(certificates: impl FnOnce(&MemoryCa) -> Vec<Arc<Served>>) -> (House, Origin) {
    let origin = Origin::start();
    let ca = MemoryCa::new();
    let certificates = certificates(&ca);
    (House::with(ca, vec![site(&["a.example"], origin.address)], limits(), certificates), origin)
}

/// How the server signed for a client with these options.
fn signature(house: &House, options: &[&str]) -> String {
    let answer = s_client(house, &[&["-servername", "a.example"], options].concat());
    let line = answer.lines().find_map(|line| line.strip_prefix("Peer signature type: "));
    match line {
        Some(line) => line.to_owned(),
        None if answer.contains("alert") => "alert".to_owned(),
        None => panic!("{options:?}: {answer}"),
    }
}

const RSA: &str = "rsa_pss_rsae_sha256:RSA+SHA256";

#[test]
fn who_can_check_ecdsa_gets_it_and_the_others_get_rsa() {
    let (house, _origin) = house(|ca| {
        // The longer life does not count.
        let rsa = ca.issue_for(&["a.example"], KeyAlgorithm::Rsa2048, Duration::from_secs(900));
        let ecdsa = ca.issue_for(&["a.example"], KeyAlgorithm::P256, Duration::from_secs(600));
        vec![rsa, ecdsa]
    });
    for (options, expected) in [
        (&[][..], "ECDSA"),
        (&["-tls1_2"], "ECDSA"),
        (&["-sigalgs", "ECDSA+SHA256:rsa_pss_rsae_sha256"], "ECDSA"),
        // The server's preference counts, not the client's.
        (&["-sigalgs", "rsa_pss_rsae_sha256:ECDSA+SHA256"], "ECDSA"),
        (&["-sigalgs", RSA], "RSA-PSS"),
        (&["-tls1_2", "-sigalgs", RSA], "RSA-PSS"),
        (&["-tls1_2", "-sigalgs", "RSA+SHA256"], "RSA"),
        // In TLS 1.2 a suite says what signs, whatever the client could check.
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "RSA-PSS"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ECDSA"),
        // P-384 alone is of no use to a key for P-256.
        (&["-sigalgs", "ECDSA+SHA384:rsa_pss_rsae_sha256"], "RSA-PSS"),
        (&["-sigalgs", "ECDSA+SHA384"], "alert"),
    ] {
        assert_eq!(signature(&house, options), expected, "{options:?}");
    }
    assert_eq!(house.edge.stats().certificates.looked_up, 1, "both were found at once");
}

#[test]
fn each_kind_of_ecdsa_key_is_for_those_who_can_check_it() {
    let (house, _origin) = house(|ca| {
        let kinds = [(KeyAlgorithm::P384, 900), (KeyAlgorithm::P256, 600)];
        let life = Duration::from_secs;
        kinds.map(|(kind, seconds)| ca.issue_for(&["a.example"], kind, life(seconds))).to_vec()
    });
    let shown = |options: &[&str]| {
        let answer = s_client(&house, &[&["-servername", "a.example"], options].concat());
        answer.lines().find(|line| line.contains("Server public key is")).unwrap().to_owned()
    };
    assert!(shown(&["-sigalgs", "ECDSA+SHA256"]).contains("256 bit"));
    assert!(shown(&["-sigalgs", "ECDSA+SHA384"]).contains("384 bit"));
}

/// A valid one of any kind is better than an expired one, and that is better than none.
#[test]
fn an_expired_certificate_is_shown_only_to_those_who_can_check_no_other() {
    let (house, _origin) = house(|ca| {
        let mut ecdsa = (*ca.issue(&["a.example"])).clone();
        ecdsa.installed.validity.not_after = SystemClock.now().minus(Duration::from_secs(60));
        let rsa = ca.issue_for(&["a.example"], KeyAlgorithm::Rsa2048, Duration::from_secs(900));
        vec![Arc::new(ecdsa), rsa]
    });
    assert_eq!(signature(&house, &[]), "RSA-PSS");
    assert_eq!(signature(&house, &["-sigalgs", "ECDSA+SHA256"]), "ECDSA");
}
