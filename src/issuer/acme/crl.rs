//! Whether the CA has revoked a certificate: its list, from where the leaf says that it lies (RFC 5280,
//! section 4.2.1.13).
//!
//! What comes is believed only when the issuer of the leaf has signed it. Deliberately absent: OCSP,
//! which the CAs are giving up.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::Empty;
use http_body_util::Limited;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::CertificateError;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;

use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::base::tls;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;

/// Whether the list says that the leaf of `chain` is revoked; `None` where there is no list.
///
/// # Errors
/// When it cannot be had, or is not one of the issuer's.
pub(super) async fn is_revoked(chain: &Chain, now: Timestamp) -> Result<Option<bool>, Failure> {
    let Some(url) = chain.revocation_list() else { return Ok(None) };
    let list = fetch(&url).await.map_err(|reason| {
        Failure::new(
            FailureKind::Unreachable,
            format!("the list of revoked ones at {url}: {reason}"),
        )
    })?;
    look_up(chain, list, now).map(Some).map_err(|reason| {
        let detail = format!("the list of revoked ones at {url} is not believed: {reason}");
        Failure::new(FailureKind::CaFault, detail)
    })
}

async fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(bounds::CA_CONNECT));
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build(tcp);
    let exchange = async {
        let url = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let answer = client.get(url).await.map_err(|error| with_causes(&error))?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        let body =
            Limited::new(answer.into_body(), bounds::brought::REVOCATION_LIST).collect().await;
        Ok(body.map_err(|error| with_causes(error.as_ref()))?.to_bytes().to_vec())
    };
    let ended = tokio::time::timeout(bounds::brought::REVOCATION_FETCH, exchange).await;
    ended.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

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
