//! What was agreed on in a handshake, in the words of logs and of other programs.

use rustls::ProtocolVersion;
use rustls::ServerConnection;
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
}

impl Facts {
    /// Of a session whose handshake is complete.
    pub(super) fn of(session: &ServerConnection) -> Self {
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into());
        Self {
            version: version(session.protocol_version()),
            suite: suite(session.negotiated_cipher_suite()),
            alpn,
            shown: leaf.is_some(),
            common_name: leaf.and_then(|leaf| common_name(leaf)),
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
