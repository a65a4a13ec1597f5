//! Whether the certificate that arrived is the one that was asked for.
//!
//! No path building to a root: whom clients trust is not ours to judge.

use std::time::Duration;

use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;

use crate::base::Timestamp;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyId;

/// How far the CA's clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(3600);

/// The chain in `pem`, if it is for exactly `names` and `key` and good at `now`.
pub(super) fn chain(
    pem: &str,
    names: &[Identifier],
    key: KeyId,
    now: Timestamp,
) -> Result<Chain, Failure> {
    let bad = |detail: String| Failure::new(FailureKind::BadCertificate, detail);
    let chain = Chain::from_pem(pem.as_bytes()).map_err(|error| bad(error.to_string()))?;
    let leaf = chain.leaf().map_err(|error| bad(error.to_string()))?;
    if leaf.key != key {
        return Err(bad(format!("the certificate is for the key {}, not {key}", leaf.key)));
    }
    if leaf.names != names {
        let listed: Vec<String> = leaf.names.iter().take(5).map(ToString::to_string).collect();
        return Err(bad(format!("the certificate is for {}", listed.join(", "))));
    }
    if leaf.validity.not_before > now.plus(SKEW) || leaf.validity.not_after <= now {
        return Err(bad(format!(
            "the certificate is good from {} to {}, and by this machine's clock it is {now}",
            leaf.validity.not_before, leaf.validity.not_after
        )));
    }
    match broken_link(&chain) {
        None => Ok(chain),
        Some(number) => {
            Err(bad(format!("certificate number {number} of the chain did not issue the former")))
        }
    }
}

/// The number, counted from 1, of the first certificate whose subject is not the issuer of the
/// one before.
fn broken_link(chain: &Chain) -> Option<usize> {
    chain.certificates().windows(2).zip(2..).find_map(|(pair, number)| {
        let [lower, upper] = pair else { return None };
        let lower = X509Certificate::from_der(lower).ok()?.1;
        let upper = X509Certificate::from_der(upper).ok()?.1;
        (lower.issuer().as_raw() != upper.subject().as_raw()).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::KeyPair;
    use rcgen::PublicKeyData as _;

    use super::*;

    struct Made {
        pem: String,
        key: KeyId,
    }

    fn made(names: &[&str]) -> Made {
        let pair = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let pem = params.self_signed(&pair).unwrap().pem();
        Made { pem, key: KeyId::of_spki(&pair.subject_public_key_info()) }
    }

    fn names(names: &[&str]) -> Vec<Identifier> {
        names.iter().map(|name| Identifier::parse(name).unwrap()).collect()
    }

    /// 2026-02-01.
    const NOW: Timestamp = Timestamp::from_unix(1_769_904_000);

    #[test]
    fn the_right_certificate_passes_and_each_wrong_one_is_named() {
        let right = made(&["a.example", "b.example"]);
        let wanted = names(&["a.example", "b.example"]);
        assert!(chain(&right.pem, &wanted, right.key, NOW).is_ok());

        let said = |result: Result<Chain, Failure>| {
            let failure = result.unwrap_err();
            assert_eq!(failure.kind, FailureKind::BadCertificate);
            failure.detail
        };
        let other = made(&["a.example", "b.example"]);
        assert!(said(chain(&other.pem, &wanted, right.key, NOW)).contains("for the key"));
        let fewer = names(&["a.example"]);
        assert!(said(chain(&right.pem, &fewer, right.key, NOW)).contains("a.example, b.example"));
        for moment in [1_767_000_000, 1_775_088_000] {
            let at = Timestamp::from_unix(moment);
            assert!(said(chain(&right.pem, &wanted, right.key, at)).contains("good from"));
        }
        assert_eq!(said(chain("", &wanted, right.key, NOW)), "no certificate found");
    }

    #[test]
    fn a_clock_that_is_a_little_behind_is_tolerated() {
        let right = made(&["a.example"]);
        let at = Timestamp::from_unix(1_767_225_600 - 1800);
        assert!(chain(&right.pem, &names(&["a.example"]), right.key, at).is_ok());
    }

    #[test]
    fn a_stranger_in_the_chain_is_found() {
        let right = made(&["a.example"]);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a stranger");
        let stranger = params.self_signed(&key).unwrap().pem();
        let pem = format!("{}{stranger}", right.pem);
        let failure = chain(&pem, &names(&["a.example"]), right.key, NOW).unwrap_err();
        assert!(failure.detail.contains("number 2"), "{failure}");
    }
}
