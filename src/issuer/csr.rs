//! Certificate signing requests, and any other DER that rcgen writes, signed by the vault.
//!
//! The private half never comes here: [`RemoteKey`] hands rcgen the public half and sends the
//! bytes to be signed away. It blocks while the vault answers.

use std::fmt;
use std::sync::Arc;

use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::PublicKeyData;
use rcgen::SanType;
use rcgen::SignatureAlgorithm;
use rcgen::SigningKey;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::ToBeSigned;

/// A key in the vault, as rcgen wants to see it.
pub(crate) struct RemoteKey {
    handle: KeyHandle,
    public: Vec<u8>,
    what: ToBeSigned,
    signing: Arc<dyn RemoteSigning>,
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteKey({})", self.handle.id)
    }
}

impl RemoteKey {
    /// A key that signs documents of the kind `what`.
    pub(crate) fn new(
        handle: KeyHandle,
        what: ToBeSigned,
        signing: Arc<dyn RemoteSigning>,
    ) -> Result<Self, Failure> {
        let public = public_bits(&handle.spki)?;
        Ok(Self { handle, public, what, signing })
    }
}

/// The public half of a key, for a certificate that speaks for it.
#[derive(Debug)]
pub(crate) struct PublicHalf {
    public: Vec<u8>,
    algorithm: KeyAlgorithm,
}

impl PublicHalf {
    /// The public half of a key of this `algorithm`, from its subject public key info in DER.
    pub(crate) fn of(spki: &[u8], algorithm: KeyAlgorithm) -> Result<Self, Failure> {
        Ok(Self { public: public_bits(spki)?, algorithm })
    }
}

impl PublicKeyData for PublicHalf {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        rcgen_algorithm(self.algorithm)
    }
}

impl PublicKeyData for RemoteKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        rcgen_algorithm(self.handle.algorithm)
    }
}

impl SigningKey for RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signing
            .sign_der(&self.handle, self.what, message)
            .map_err(|_reason| rcgen::Error::RemoteKeyError)
    }
}

const fn rcgen_algorithm(algorithm: KeyAlgorithm) -> &'static SignatureAlgorithm {
    match algorithm {
        KeyAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        KeyAlgorithm::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
    }
}

fn public_bits(spki: &[u8]) -> Result<Vec<u8>, Failure> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).map_err(|error| {
        Failure::new(FailureKind::Vault, format!("the public key does not parse: {error}"))
    })?;
    Ok(spki.subject_public_key.data.into_owned())
}

/// The names as rcgen wants them.
pub(crate) fn alternative_names(names: &[Identifier]) -> Result<Vec<SanType>, Failure> {
    names
        .iter()
        .map(|name| match name {
            Identifier::Ip(address) => Ok(SanType::IpAddress(*address)),
            other => other.to_string().try_into().map(SanType::DnsName).map_err(|_| {
                Failure::new(FailureKind::Refused, "the name is not ASCII").about(other.clone())
            }),
        })
        .collect()
}

/// Runs `work`, which may wait for the vault, on a blocking thread.
pub(crate) async fn on_blocking_thread<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Failure::new(FailureKind::Vault, "the signing task ended early")))
}

/// A request for exactly `names` (RFC 8555, section 7.4), without a subject, signed by `key`.
pub(crate) async fn request(
    key: KeyHandle,
    names: Vec<Identifier>,
    signing: Arc<dyn RemoteSigning>,
) -> Result<Vec<u8>, Failure> {
    on_blocking_thread(move || {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = alternative_names(&names)?;
        let recorder = Recorder::wrap(signing);
        let key = RemoteKey::new(key, ToBeSigned::Csr, Arc::clone(&recorder) as _)?;
        params
            .serialize_request(&key)
            .map(|request| request.der().to_vec())
            .map_err(|error| recorder.explain(&error))
    })
    .await
}

/// Keeps the vault's words, which rcgen's error cannot carry.
#[derive(Debug)]
pub(crate) struct Recorder {
    inner: Arc<dyn RemoteSigning>,
    said: std::sync::Mutex<Option<String>>,
}

impl Recorder {
    /// Records what `inner` says.
    pub(crate) fn wrap(inner: Arc<dyn RemoteSigning>) -> Arc<Self> {
        Arc::new(Self { inner, said: std::sync::Mutex::new(None) })
    }

    /// The failure behind an error of rcgen.
    pub(crate) fn explain(&self, error: &rcgen::Error) -> Failure {
        let said = match self.said.lock() {
            Ok(said) => said.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        Failure::new(FailureKind::Vault, said.unwrap_or_else(|| error.to_string()))
    }
}

impl RemoteSigning for Recorder {
    fn sign_der(
        &self,
        key: &KeyHandle,
        what: ToBeSigned,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        self.inner.sign_der(key, what, message).inspect_err(|reason| {
            let mut said = match self.said.lock() {
                Ok(said) => said,
                Err(poisoned) => poisoned.into_inner(),
            };
            *said = Some(reason.clone());
        })
    }

    fn sign_key_change(
        &self,
        key: &KeyHandle,
        other: &KeyHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        self.inner.sign_key_change(key, other, message)
    }
}
