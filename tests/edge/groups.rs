//! Which group the keys are exchanged in, and what that costs in round trips.

use std::sync::Arc;

use keyward::base::tls::provider;
use rustls::ClientConfig;
use rustls::HandshakeKind::{self, Full, FullWithHelloRetryRequest};
use rustls::NamedGroup::{self, X25519, X25519MLKEM768, secp256r1, secp384r1};
use rustls::crypto::CryptoProvider;

use crate::handshakes::s_client;
use crate::house::{House, limits, site};
use crate::load;
use crate::origin::Origin;

/// What a client gets that has these groups, in this order, and a share for the first.
pub(crate) async fn shake(
    house: &House,
    name: &str,
    groups: &[NamedGroup],
) -> (NamedGroup, HandshakeKind) {
    let all = provider();
    let find = |group: &NamedGroup| all.kx_groups.iter().find(|g| g.name() == *group).unwrap();
    let kx_groups = groups.iter().map(|group| *find(group)).collect();
    let provider = CryptoProvider { kx_groups, ..(*all).clone() };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ca.root()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = load::connect(&Arc::new(config), house.https, name).await.unwrap();
    let tls = stream.get_ref().1;
    (tls.negotiated_key_exchange_group().unwrap().name(), tls.handshake_kind().unwrap())
}

#[tokio::test]
async fn the_hybrid_group_is_worth_a_round_trip_and_no_other_is() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for (groups, expected) in [
        (&[X25519MLKEM768, X25519][..], (X25519MLKEM768, Full)),
        (&[X25519, secp256r1, X25519MLKEM768], (X25519MLKEM768, FullWithHelloRetryRequest)),
        (&[X25519, secp256r1, secp384r1], (X25519, Full)),
        (&[secp256r1, X25519], (secp256r1, Full)),
        (&[secp384r1, X25519], (secp384r1, Full)),
    ] {
        assert_eq!(shake(&house, "a.example", groups).await, expected, "{groups:?}");
    }
}

#[test]
fn openssl_gets_the_group_of_its_share_and_in_tls_1_2_the_best() {
    let origin = Origin::start();
    let house = House::open(vec![site(&["a.example"], origin.address)], limits());
    for (version, groups, expected) in [
        ("-tls1_3", "X25519:P-256:P-384", "X25519"),
        ("-tls1_3", "P-256:X25519", "prime256v1"),
        ("-tls1_3", "P-384:P-256:X25519", "secp384r1"),
        ("-tls1_2", "P-384:P-256:X25519", "X25519"),
        ("-tls1_2", "P-384:P-256", "prime256v1"),
        ("-tls1_2", "P-384", "secp384r1"),
    ] {
        let options = ["-servername", "a.example", version, "-groups", groups, "-msg"];
        let answer = s_client(&house, &options);
        let line = answer.lines().find(|line| line.starts_with("Server Temp Key"));
        let line = line.unwrap_or_else(|| panic!("{version} {groups}: {answer}"));
        assert!(line.contains(expected), "{version} {groups}: {line}");
        // A HelloRetryRequest would be answered by a second one.
        assert_eq!(answer.matches(", ClientHello").count(), 1, "{version} {groups}: {answer}");
    }
    // What P-521 alone can do, nobody here can.
    let none = s_client(&house, &["-servername", "a.example", "-groups", "P-521"]);
    assert!(none.contains("alert"), "{none}");
}
