//! Whether lists of revoked certificates that came over the network may take the place of others.
//!
//! What lists do to clients is the business of `visitors`.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Timestamp;
use super::bounds::visitors::CLIENT_CA_BYTES;
use super::bounds::visitors::CLIENT_CRL_BYTES;
use super::visitors;

/// Checks the lists in `bytes`, in PEM or one in DER, at `now`: each must be in date, no older than the
/// one of the same CA in the file `present`, and signed by a CA of the file `ca` that has its issuer's
/// name. Where none has, whoever is on the way could have made it, unless the way was `safe`.
///
/// # Errors
/// In words, why they are not taken.
pub fn check(
    bytes: &[u8],
    (ca, present): (&Path, &Path),
    safe: bool,
    now: Timestamp,
) -> Result<(), String> {
    let fresh = visitors::lists(bytes)?;
    if fresh.is_empty() {
        return Err("it is no list of revoked certificates".to_owned());
    }
    let text = visitors::read(ca, CLIENT_CA_BYTES).map_err(|error| error.to_string())?;
    let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let authorities = authorities.map_err(|error| error.to_string())?;
    // Without any, or with some that cannot be read, others are better.
    let known = visitors::read(present, CLIENT_CRL_BYTES).ok();
    let known = known.and_then(|known| visitors::lists(&known).ok()).unwrap_or_default();
    let now = i64::try_from(now.as_unix()).unwrap_or(i64::MAX);
    for list in &fresh {
        let list = parse(list)?;
        if list.next_update().is_some_and(|next| next.timestamp() < now) {
            return Err("it is out of date".to_owned());
        }
        if known.iter().filter_map(|known| parse(known).ok()).any(|known| is_later(&known, &list)) {
            return Err("it is older than the one that is there".to_owned());
        }
        is_genuine(&list, &authorities, safe)?;
    }
    Ok(())
}

fn parse(list: &[u8]) -> Result<CertificateRevocationList<'_>, String> {
    let parsed = CertificateRevocationList::from_der(list);
    parsed.map(|(_, list)| list).map_err(|error| format!("it cannot be read: {error}"))
}

/// Whether `known` is of the same CA as `list`, and of a later moment.
fn is_later(known: &CertificateRevocationList<'_>, list: &CertificateRevocationList<'_>) -> bool {
    known.issuer().as_raw() == list.issuer().as_raw()
        && known.last_update().timestamp() > list.last_update().timestamp()
}

fn is_genuine(
    list: &CertificateRevocationList<'_>,
    authorities: &[CertificateDer<'_>],
    safe: bool,
) -> Result<(), String> {
    let mut named = false;
    for authority in authorities {
        let Ok((_, authority)) = X509Certificate::from_der(authority) else { continue };
        if authority.subject().as_raw() != list.issuer().as_raw() {
            continue;
        }
        named = true;
        if list.verify_signature(authority.public_key()).is_ok() {
            return Ok(());
        }
    }
    let issuer = list.issuer();
    match (named, safe) {
        (true, _) => Err(format!("it is not signed by {issuer}, whose it says it is")),
        (false, true) => Ok(()),
        (false, false) => Err(format!(
            "it is of {issuer}, which client_ca does not have, and came without protection: name it \
             by https, or put that CA into client_ca"
        )),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::BasicConstraints;
    use rcgen::CertificateParams;
    use rcgen::CertificateRevocationListParams;
    use rcgen::DnType;
    use rcgen::IsCa;
    use rcgen::Issuer;
    use rcgen::KeyIdMethod;
    use rcgen::KeyPair;
    use rcgen::KeyUsagePurpose;
    use rcgen::SerialNumber;

    use super::*;

    /// A CA with this name, and its certificate in PEM.
    fn ca(name: &str) -> (Issuer<'static, KeyPair>, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    }

    /// Made in `year`, good to the next one's end.
    fn list(issuer: &Issuer<'static, KeyPair>, year: i32) -> Vec<u8> {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(year, 1, 1),
            next_update: rcgen::date_time_ymd(year + 2, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().der().to_vec()
    }

    #[test]
    fn a_list_is_taken_in_date_in_turn_and_from_its_ca_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, present) = (dir.path().join("ca.pem"), dir.path().join("list.crl"));
        let (ours, pem) = ca("ours");
        let (other, other_pem) = ca("other");
        // Of our name, and not us.
        let (forger, _) = ca("ours");
        std::fs::write(&file, &pem).unwrap();
        // 2026-11-29.
        let now = Timestamp::from_unix(1_795_910_400);
        let said = |bytes: &[u8], safe: bool| check(bytes, (&file, &present), safe, now);
        assert_eq!(said(&list(&ours, 2026), false), Ok(()));
        for safe in [false, true] {
            let refused = said(&list(&forger, 2026), safe).unwrap_err();
            assert!(refused.contains("not signed by CN=ours"), "{refused}");
        }
        let refused = said(&list(&other, 2026), false).unwrap_err();
        assert!(refused.contains("client_ca does not have"), "{refused}");
        assert_eq!(said(&list(&other, 2026), true), Ok(()));
        assert_eq!(said(&list(&ours, 2020), false), Err("it is out of date".to_owned()));
        assert!(said(b"no list", false).is_err() && said(&[0x30, 3, 1, 2, 3], false).is_err());
        let mut cut = list(&ours, 2026);
        cut.pop();
        assert!(said(&cut, false).is_err());
        // Both are taken, each by its own CA.
        std::fs::write(&file, pem + &other_pem).unwrap();
        assert_eq!(said(&list(&other, 2026), false), Ok(()));
        std::fs::write(&present, list(&ours, 2026)).unwrap();
        let older = Err("it is older than the one that is there".to_owned());
        assert_eq!(said(&list(&ours, 2025), false), older);
        assert_eq!(said(&list(&ours, 2026), false), Ok(()));
        assert_eq!(said(&list(&other, 2025), false), Ok(()), "another CA's");
        std::fs::write(&present, "damaged").unwrap();
        assert_eq!(said(&list(&ours, 2025), false), Ok(()));
    }
}
