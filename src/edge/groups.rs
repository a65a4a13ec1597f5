//! Which group the keys are exchanged in: the hybrid one wherever the client has it, and for
//! TLS 1.2 the cheapest.
//!
//! rustls takes the first group of the client's list that it has. That is where the client's key
//! share lies, so among the classic groups of TLS 1.3 nothing is changed: another choice would cost
//! a round trip and gain nothing. The hybrid group is worth it, because what is recorded today is
//! read by the machines of tomorrow; browsers send a share for it at once. TLS 1.2 sends no
//! shares, so there the order of the house costs nothing.

use rustls::NamedGroup;
use rustls::ProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;

/// The group, of those of `provider`, that rustls would not take by itself. With TLS 1.3 that costs
/// the client a second hello, and is left alone unless `ask`.
pub(super) fn steer(
    hello: &ClientHello<'_>,
    provider: &CryptoProvider,
    ask: bool,
) -> Option<NamedGroup> {
    let offered = hello.named_groups()?;
    let version = match speaks_tls13(hello, provider) {
        true if !ask => return None,
        true => ProtocolVersion::TLSv1_3,
        false => ProtocolVersion::TLSv1_2,
    };
    let groups = provider.kx_groups.iter().filter(|group| group.usable_for_version(version));
    let ours: Vec<NamedGroup> = groups.map(|group| group.name()).collect();
    choose(offered, &ours, version)
}

/// Whether the client offers a suite of TLS 1.3, which nobody does who does not speak it.
pub(super) fn speaks_tls13(hello: &ClientHello<'_>, provider: &CryptoProvider) -> bool {
    let mut suites = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some());
    suites.any(|suite| hello.cipher_suites().contains(&suite.suite()))
}

/// `ours` in the order of the house, for `version`.
fn choose(
    offered: &[NamedGroup],
    ours: &[NamedGroup],
    version: ProtocolVersion,
) -> Option<NamedGroup> {
    let first = offered.iter().find(|group| ours.contains(group))?;
    let best = ours.iter().find(|group| offered.contains(group))?;
    let worth_it = version == ProtocolVersion::TLSv1_2 || *best == NamedGroup::X25519MLKEM768;
    (first != best && worth_it).then_some(*best)
}

#[cfg(test)]
mod tests {
    use NamedGroup::{X448, X25519, X25519MLKEM768, secp256r1, secp384r1};

    use super::*;

    const OURS: [NamedGroup; 4] = [X25519MLKEM768, X25519, secp256r1, secp384r1];

    #[test]
    fn the_hybrid_group_is_worth_a_round_trip_and_no_other_is() {
        let tls13 = |offered: &[NamedGroup]| choose(offered, &OURS, ProtocolVersion::TLSv1_3);
        assert_eq!(tls13(&[X25519MLKEM768, X25519]), None, "rustls takes it by itself");
        assert_eq!(tls13(&[X25519, secp256r1, X25519MLKEM768]), Some(X25519MLKEM768));
        assert_eq!(tls13(&[X448, secp384r1, X25519]), None, "the client's share is for P-384");
        assert_eq!(tls13(&[X448]), None);
    }

    #[test]
    fn tls_1_2_takes_the_first_of_the_house() {
        let tls12 = |offered: &[NamedGroup]| choose(offered, &OURS[1..], ProtocolVersion::TLSv1_2);
        assert_eq!(tls12(&[secp384r1, secp256r1, X25519]), Some(X25519));
        assert_eq!(tls12(&[secp384r1, secp256r1]), Some(secp256r1));
        assert_eq!(tls12(&[X25519, secp256r1]), None);
        assert_eq!(tls12(&[X25519MLKEM768, secp384r1, X25519]), Some(X25519));
    }
}
