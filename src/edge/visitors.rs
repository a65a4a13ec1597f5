//! Clients that show a certificate: checked once more for each site they ask, and named to origins.
//!
//! The handshake checks what is shown; but a connection outlives a reload, and so whoever asks for a
//! site that wants certificates is held against what that site wants now. Origins learn who it is
//! in the fields of RFC 9440, which a client cannot write itself (`super::headers` takes them out).

use std::cell::Cell;
use std::path::PathBuf;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::route::Refused;
use crate::base::bounds::visitors::CLIENT_CHAIN_BYTES;
use crate::base::visitors;
use crate::config::ClientCertificates;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Whom a site lets in.
#[derive(Debug)]
pub(super) enum Visitors {
    Anyone,
    Checked(visitors::Visitors),
    /// Their certificates cannot be checked.
    Nobody,
}

/// The certificate that a client showed in its handshake, and what followed it.
#[derive(Debug)]
pub(super) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    leaf: HeaderValue,
    rest: Option<HeaderValue>,
    /// Whose check it has passed last.
    passed: Cell<Option<[u8; 32]>>,
}

/// What a file is told by without being read.
pub(super) type Stamp = Option<(SystemTime, u64)>;

impl Visitors {
    pub(super) fn of(config: Option<&ClientCertificates>, site: &str) -> Self {
        let Some(config) = config else { return Self::Anyone };
        match visitors::load(&config.ca, config.crl.as_deref(), config.required) {
            Ok(visitors) => Self::Checked(visitors),
            Err(error) => {
                tracing::error!(site, %error, "client certificates cannot be checked, so nobody is let in");
                Self::Nobody
            }
        }
    }

    /// Whether a client that showed this, or nothing, may ask here.
    pub(super) fn admit(
        &self,
        shown: Option<&Shown>,
        now: impl Fn() -> UnixTime,
    ) -> Result<(), Refused> {
        let check = match self {
            Self::Anyone => return Ok(()),
            Self::Nobody => return Err(Refused::Unproven),
            Self::Checked(check) => check,
        };
        let Some(shown) = shown else {
            let required = check.verifier.client_auth_mandatory();
            return if required { Err(Refused::Unproven) } else { Ok(()) };
        };
        if shown.passed.get() == Some(check.id) {
            return Ok(());
        }
        let (leaf, rest) = shown.chain.split_first().ok_or(Refused::Unproven)?;
        check.verifier.verify_client_cert(leaf, rest, now()).map_err(|_| Refused::Unproven)?;
        shown.passed.set(Some(check.id));
        Ok(())
    }

    /// Tells the origin who asks, where somebody was asked to say so.
    pub(super) fn introduce(&self, shown: Option<&Shown>, headers: &mut HeaderMap) {
        if let (Self::Checked(_), Some(shown)) = (self, shown) {
            headers.insert(CLIENT_CERT, shown.leaf.clone());
            if let Some(rest) = &shown.rest {
                headers.insert(CLIENT_CERT_CHAIN, rest.clone());
            }
        }
    }
}

impl Shown {
    /// What a client showed in its handshake, if it did.
    pub(super) fn new(chain: Option<&[CertificateDer<'static>]>) -> Option<Self> {
        let chain = chain?;
        let (first, others) = chain.split_first()?;
        let size: usize = others.iter().map(|one| one.len()).sum();
        // What an origin takes for a head is soon full, and the chain is only a help.
        let rest = (!others.is_empty() && size <= CLIENT_CHAIN_BYTES).then(|| {
            let items: Vec<String> = others.iter().map(item).collect();
            HeaderValue::from_str(&items.join(", "))
        });
        Some(Self {
            leaf: HeaderValue::from_str(&item(first)).ok()?,
            rest: rest.and_then(Result::ok),
            chain: chain.to_vec(),
            passed: Cell::new(None),
        })
    }
}

/// A byte sequence (RFC 9440, section 2.1).
fn item(certificate: &CertificateDer<'_>) -> String {
    format!(":{}:", STANDARD.encode(certificate))
}

/// The files that `config` names, as they are now.
pub(super) fn stamps(config: Option<&ClientCertificates>) -> Vec<(PathBuf, Stamp)> {
    let paths = config.into_iter().flat_map(|config| [Some(&config.ca), config.crl.as_ref()]);
    paths.flatten().map(|path| (path.clone(), stamp(path))).collect()
}

pub(super) fn stamp(path: &std::path::Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}
