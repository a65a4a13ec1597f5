//! A TLS client that remembers what it was shown, and believes nobody.
//!
//! Whoever shows a certificate must have its key all the same: else anybody between could show the
//! one that is looked for. What cannot be checked here, as old servers sign, is noted and no error.

use std::sync::Arc;
use std::sync::OnceLock;

use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::SignatureScheme;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;

use crate::base::tls;
use crate::cert::key::KeyKind;

/// Whether a key of that kind signs so.
fn signs(kind: KeyKind, scheme: SignatureScheme) -> bool {
    match kind {
        KeyKind::Rsa => matches!(
            scheme,
            SignatureScheme::RSA_PKCS1_SHA256
                | SignatureScheme::RSA_PKCS1_SHA384
                | SignatureScheme::RSA_PKCS1_SHA512
                | SignatureScheme::RSA_PSS_SHA256
                | SignatureScheme::RSA_PSS_SHA384
                | SignatureScheme::RSA_PSS_SHA512
        ),
        KeyKind::Ecdsa => matches!(
            scheme,
            SignatureScheme::ECDSA_NISTP256_SHA256
                | SignatureScheme::ECDSA_NISTP384_SHA384
                | SignatureScheme::ECDSA_NISTP521_SHA512
        ),
    }
}

/// What one connection was shown.
#[derive(Debug)]
pub(super) struct Onlooker {
    algorithms: WebPkiSupportedAlgorithms,
    kind: Option<KeyKind>,
    sent: OnceLock<Vec<CertificateDer<'static>>>,
    /// What the signature of the handshake said of it.
    proof: OnceLock<Proof>,
}

/// Whether the server has the key of what it shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Proof {
    Given,
    /// It cannot be checked here.
    Unknown,
    /// It has not.
    False,
}

impl Onlooker {
    pub(super) fn new(kind: Option<KeyKind>) -> Arc<Self> {
        Arc::new(Self {
            algorithms: tls::provider().signature_verification_algorithms,
            kind,
            sent: OnceLock::new(),
            proof: OnceLock::new(),
        })
    }

    /// What a connection begins TLS with; good for one.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn config(self: &Arc<Self>, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Self>::clone(self))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // A resumed session shows no certificate.
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// What was shown, the leaf first, and whether with its key; once both are known.
    pub(super) fn seen(&self) -> Option<(&[CertificateDer<'static>], Proof)> {
        Some((self.sent.get()?, *self.proof.get()?))
    }

    fn judge(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (proof, outcome) = match checked {
            Ok(valid) => (Proof::Given, Ok(valid)),
            Err(error @ Error::InvalidCertificate(CertificateError::BadSignature)) => {
                (Proof::False, Err(error))
            }
            Err(_) => (Proof::Unknown, Ok(HandshakeSignatureValid::assertion())),
        };
        // Each handshake has one.
        let _first = self.proof.set(proof);
        outcome
    }
}

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(leaf).chain(others);
        let _first = self.sent.set(all.map(|der| der.clone().into_owned()).collect());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge(verify_tls12_signature(message, leaf, signed, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge(verify_tls13_signature(message, leaf, signed, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        schemes.retain(|scheme| self.kind.is_none_or(|kind| signs(kind, *scheme)));
        schemes
    }
}
