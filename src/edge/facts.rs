//! What was agreed on in a handshake, in the words of logs and of other programs.

use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::CommonState;
use rustls::ProtocolVersion;
use rustls::SupportedCipherSuite;
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;

/// A TLS connection, by what is worth telling of it.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) version: &'static str,
    pub(super) suite: &'static str,
    pub(super) alpn: Option<Box<str>>,
    /// Whether the client showed a certificate, which was checked then.
    pub(super) shown: bool,
    /// The common name in it.
    pub(super) common_name: Option<Box<str>>,
    /// What its first message looked like, where that is told.
    pub(super) ja4: Option<Box<str>>,
}

impl Facts {
    /// Of a session whose handshake is complete.
    pub(super) fn of(session: &CommonState, ja4: Option<Box<str>>) -> Self {
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into());
        Self {
            version: version(session.protocol_version()),
            suite: suite(session.negotiated_cipher_suite()),
            alpn,
            shown: leaf.is_some(),
            common_name: leaf.and_then(|leaf| common_name(leaf)),
            ja4,
        }
    }
}

const X_TLS_VERSION: HeaderName = HeaderName::from_static("x-tls-version");
const X_TLS_CIPHER: HeaderName = HeaderName::from_static("x-tls-cipher");
const X_TLS_NAME: HeaderName = HeaderName::from_static("x-tls-name");
const X_TLS_JA4: HeaderName = HeaderName::from_static("x-tls-ja4");

/// Tells the origin what was agreed on with a client that asked for `name`.
pub(super) fn tell(facts: Option<&Facts>, name: Option<&str>, headers: &mut HeaderMap) {
    let Some(facts) = facts else { return };
    headers.insert(X_TLS_VERSION, HeaderValue::from_static(facts.version));
    headers.insert(X_TLS_CIPHER, HeaderValue::from_static(facts.suite));
    for (field, text) in [(X_TLS_NAME, name), (X_TLS_JA4, facts.ja4.as_deref())] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(field, value);
        }
    }
}

/// As OpenSSL says it, and everybody after it.
pub(super) const fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    }
}

/// As IANA registers it; rustls has a name of its own for those of TLS 1.3.
pub(super) fn suite(suite: Option<SupportedCipherSuite>) -> &'static str {
    match suite.and_then(|suite| suite.suite().as_str()) {
        Some("TLS13_AES_128_GCM_SHA256") => "TLS_AES_128_GCM_SHA256",
        Some("TLS13_AES_256_GCM_SHA384") => "TLS_AES_256_GCM_SHA384",
        Some("TLS13_CHACHA20_POLY1305_SHA256") => "TLS_CHACHA20_POLY1305_SHA256",
        Some(name) => name,
        None => "unknown",
    }
}

/// The first common name of the subject (RFC 5280, section 4.1.2.6).
fn common_name(leaf: &[u8]) -> Option<Box<str>> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(Into::into)
}
