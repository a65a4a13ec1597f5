//! Whether the CA has revoked a certificate: its list, from where the leaf says that it lies (RFC 5280,
//! section 4.2.1.13).
//!
//! What comes is believed only when the issuer of the leaf has signed it. Deliberately absent: OCSP,
//! which the CAs are giving up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;

use crate::base::Timestamp;
use crate::base::bounds::CA_CONNECT;
use crate::base::bounds::brought::REVOCATION_FETCH;
use crate::base::bounds::brought::REVOCATION_LIST;
use crate::base::exchange::Answer;
use crate::base::exchange::Within;
use crate::base::exchange::get;
use crate::base::tls;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;

/// Whether the list says that the leaf of `chain` is revoked; `None` where there is no list. By https
/// it comes from whom the PEM file `ca` vouches for, or without it from whom the system trusts.
///
/// # Errors
/// When it cannot be had, or is not one of the issuer's.
pub(super) async fn is_revoked(
    chain: &Chain,
    ca: Option<&Path>,
    now: Timestamp,
) -> Result<Option<bool>, Failure> {
    let Some(url) = chain.revocation_list() else { return Ok(None) };
    let list = get(&url, ca, WITHIN).await.and_then(Answer::ok).map_err(|reason| {
        Failure::new(
            FailureKind::Unreachable,
            format!("the list of revoked ones at {url}: {reason}"),
        )
    })?;
    look_up(chain, list.to_vec(), now).map(Some).map_err(|reason| {
        let detail = format!("the list of revoked ones at {url} is not believed: {reason}");
        Failure::new(FailureKind::CaFault, detail)
    })
}

/// The bounds of one fetch.
const WITHIN: Within =
    Within { connect: CA_CONNECT, whole: REVOCATION_FETCH, octets: REVOCATION_LIST };

/// Holds the leaf against the list, which its issuer must have signed and which must be of now.
fn look_up(chain: &Chain, list: Vec<u8>, now: Timestamp) -> Result<bool, String> {
    let told = |error: &dyn std::error::Error| error.to_string();
    let certificates = chain.to_rustls();
    let [leaf, issuer, ..] = certificates.as_slice() else {
        return Err("the chain has no issuer".to_owned());
    };
    let mut roots = RootCertStore::empty();
    roots.add(issuer.clone()).map_err(|error| told(&error))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
        .with_crls([CertificateRevocationListDer::from(list)])
        .only_check_end_entity_revocation()
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| told(&error))?;
    let names = chain.leaf().map_err(|error| told(&error))?.names;
    let name = match names.first() {
        Some(Identifier::Dns(dns)) => dns.as_str().to_owned(),
        Some(Identifier::Wildcard(base)) => format!("any.{}", base.as_str()),
        Some(Identifier::Ip(address)) => address.to_string(),
        None => return Err("the leaf has no name".to_owned()),
    };
    let name = ServerName::try_from(name).map_err(|error| told(&error))?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_unix()));
    match verifier.verify_server_cert(leaf, &[], &name, &[], at) {
        Ok(_) => Ok(false),
        Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)) => Ok(true),
        Err(error) => Err(told(&error)),
    }
}

#[cfg(test)]
#[path = "crl_tests.rs"]
mod tests;
