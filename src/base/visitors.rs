//! The verifier of client certificates, from the two files that an operator names.
//!
//! Revocation is looked up for the client's own certificate, in lists that are given: nothing is
//! fetched here. A list that is out of date, or none from the CA of a certificate, is a refusal, as in
//! the other servers: whoever gives lists wants to know.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::Timestamp;
use super::bounds::visitors::CLIENT_CA_BYTES;
use super::bounds::visitors::CLIENT_CRL_BYTES;
use super::tls::provider;

/// Why client certificates cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum VisitorsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file is longer than any such file is.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// Which.
        path: PathBuf,
        /// What is taken.
        limit: u64,
    },
    /// There is nothing of the kind in it.
    #[error("{path} holds no {what}")]
    Nothing {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// What is in it is not usable.
    #[error("{path} is not usable: {reason}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What the library said.
        reason: String,
    },
}

/// A verifier, and what tells it from others.
#[derive(Clone, Debug)]
pub struct Visitors {
    /// Checks certificates, and says whether one is required.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// A digest of the files and of whether one is required.
    pub id: [u8; 32],
}

/// The verifier for clients of the CAs in the PEM file `ca` that no list in `crl`, PEM or DER,
/// revokes. Without `required`, clients may also show nothing.
///
/// # Errors
/// When a file is not there or not what it should be.
pub fn load(ca: &Path, crl: Option<&Path>, required: bool) -> Result<Visitors, VisitorsError> {
    let unusable =
        |path: &Path, reason: String| VisitorsError::Unusable { path: path.to_owned(), reason };
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[u8::from(required), u8::from(crl.is_some())]);
    let text = read(ca, CLIENT_CA_BYTES)?;
    context.update(digest::digest(&digest::SHA256, &text).as_ref());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(ca, error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(ca, error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(VisitorsError::Nothing { path: ca.to_owned(), what: "certificate in PEM" });
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(crl) = crl {
        let bytes = read(crl, CLIENT_CRL_BYTES)?;
        context.update(digest::digest(&digest::SHA256, &bytes).as_ref());
        let lists = lists(&bytes).map_err(|reason| unusable(crl, reason))?;
        if lists.is_empty() {
            let what = "certificate revocation list";
            return Err(VisitorsError::Nothing { path: crl.to_owned(), what });
        }
        builder = builder
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
    }
    if !required {
        builder = builder.allow_unauthenticated();
    }
    let blamed = crl.unwrap_or(ca);
    let verifier = builder.build().map_err(|error| unusable(blamed, error.to_string()))?;
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    Ok(Visitors { verifier, id })
}

/// What lists of revoked certificates say of themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outlook {
    /// How many there are.
    pub count: u64,
    /// When the first runs out; `None` where none says so.
    pub until: Option<Timestamp>,
}

/// Reads the lists in `crl`.
///
/// # Errors
/// When the file is not there or not what it should be.
pub fn outlook(crl: &Path) -> Result<Outlook, VisitorsError> {
    let unusable = |reason| VisitorsError::Unusable { path: crl.to_owned(), reason };
    let lists = lists(&read(crl, CLIENT_CRL_BYTES)?).map_err(unusable)?;
    let mut outlook = Outlook { count: 0, until: None };
    for list in &lists {
        let (_, list) = CertificateRevocationList::from_der(list)
            .map_err(|error| unusable(error.to_string()))?;
        let next = list.next_update().and_then(|next| u64::try_from(next.timestamp()).ok());
        let next = next.map(Timestamp::from_unix);
        outlook.count += 1;
        outlook.until = [outlook.until, next].into_iter().flatten().min();
    }
    Ok(outlook)
}

/// The tag of a SEQUENCE: a list as CAs publish it begins with one.
const DER: u8 = 0x30;

pub(super) fn lists(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    if bytes.first() == Some(&DER) {
        return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(bytes);
    lists.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, VisitorsError> {
    let failed = |source| VisitorsError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(VisitorsError::TooLong { path: path.to_owned(), limit });
    }
    Ok(bytes)
}
