//! The vault behind the traits of rustls and rcgen.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rcgen::PublicKeyData;
use rustls::SignatureScheme;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::CertifiedKey;
use rustls::sign::Signer;
use rustls::sign::SigningKey;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::client::Vault;
use super::purpose::Purpose;
use super::scheme::SCHEMES;
use super::scheme::Scheme;
use crate::cert::chain::Chain;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyUsage;
use crate::cert::ports::Signers;

/// One count of owners for both: each handshake takes part in it, on whatever core.
#[derive(Clone, Debug)]
struct VaultKey(Arc<Held>);

#[derive(Debug)]
struct Held {
    vault: Vault,
    key: KeyHandle,
    /// What it signs in TLS 1.3, and in TLS 1.2.
    purposes: (Purpose, Purpose),
    /// Whether it was asked for.
    known: AtomicBool,
}

#[derive(Debug)]
struct VaultSigner {
    key: VaultKey,
    scheme: Scheme,
}

impl SigningKey for VaultKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = SCHEMES.into_iter().find(|scheme| {
            scheme.algorithm() == self.0.key.algorithm
                && offered.contains(&SignatureScheme::from(scheme.code()))
        })?;
        Some(Box::new(VaultSigner { key: self.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&*self.0.key.spki))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        match self.0.key.algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => rustls::SignatureAlgorithm::ECDSA,
            KeyAlgorithm::Rsa2048 => rustls::SignatureAlgorithm::RSA,
        }
    }
}

impl Signer for VaultSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        // rustls does not say which version it speaks. The vault checks the whole form; random
        // octets begin with sixty-four spaces in one of 2^512 cases.
        let Held { vault, key, purposes, known } = &*self.key.0;
        let purpose = if message.starts_with(&[b' '; 64]) { purposes.0 } else { purposes.1 };
        let was_known = known.load(Ordering::Relaxed);
        let signature = vault
            .sign_handshake(key, was_known, purpose, self.scheme, message)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        if !was_known {
            known.store(true, Ordering::Relaxed);
        }
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::from(self.scheme.code())
    }
}

impl Vault {
    fn certify(
        &self,
        chain: &Chain,
        key: &KeyHandle,
        purposes: (Purpose, Purpose),
    ) -> Result<Arc<CertifiedKey>, String> {
        let leaf = chain.leaf_key().map_err(|error| error.to_string())?;
        if leaf != key.id {
            return Err(format!("the certificate is for key {leaf}, not for key {}", key.id));
        }
        if !key.usage.is_tls() {
            return Err(format!("key {} does not sign handshakes", key.id));
        }
        let known = AtomicBool::new(false);
        let key = Held { vault: self.clone(), key: key.clone(), purposes, known };
        let key = Arc::new(VaultKey(Arc::new(key)));
        Ok(Arc::new(CertifiedKey::new(chain.to_rustls(), key)))
    }
}

impl Signers for Vault {
    fn certified_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.certify(chain, key, (Purpose::Tls13, Purpose::Tls12))
    }

    fn client_key(&self, chain: &Chain, key: &KeyHandle) -> Result<Arc<CertifiedKey>, String> {
        self.certify(chain, key, (Purpose::ClientTls13, Purpose::ClientTls12))
    }

    fn bind_worker(&self, index: usize, core: Option<usize>) {
        self.bind(index);
        if let Some(core) = core {
            // Where it is not permitted, worker and vault thread run where the kernel likes.
            let _unpinned = crate::os::affinity::bind_thread(core);
        }
    }
}

/// A key of the vault as rcgen wants it. A key for handshakes signs certificate requests about
/// itself, one of the internal CA signs certificates.
///
/// Signing blocks: on a runtime, build the request in `spawn_blocking`.
#[derive(Clone, Debug)]
pub struct CsrSigner {
    vault: Vault,
    key: Arc<KeyHandle>,
    public_key: Vec<u8>,
}

impl Vault {
    /// What rcgen needs to make a certificate request for `key`, or, with a key of the internal
    /// CA, a certificate.
    ///
    /// # Errors
    /// In plain words, when the handle's public key does not parse.
    pub fn csr_signer(&self, key: &KeyHandle) -> Result<CsrSigner, String> {
        let (_, info) = SubjectPublicKeyInfo::from_der(&key.spki)
            .map_err(|error| format!("public key of {}: {error}", key.id))?;
        let public_key = info.subject_public_key.data.to_vec();
        Ok(CsrSigner { vault: self.clone(), key: Arc::new(key.clone()), public_key })
    }
}

impl PublicKeyData for CsrSigner {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.key.algorithm {
            KeyAlgorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for CsrSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let purpose = match self.key.usage {
            KeyUsage::Tls | KeyUsage::ExportableTls => Purpose::Csr,
            KeyUsage::InternalCa => Purpose::InternalCaTbs,
            // Which a request for a certificate is not: the vault refuses.
            KeyUsage::Account | KeyUsage::BroughtAccount => Purpose::Account,
        };
        let scheme = match self.key.algorithm {
            KeyAlgorithm::P256 => Scheme::EcdsaP256Sha256,
            KeyAlgorithm::P384 => Scheme::EcdsaP384Sha384,
            KeyAlgorithm::Rsa2048 => Scheme::RsaPkcs1Sha256,
        };
        self.vault.sign(&self.key, purpose, scheme, message).map_err(|error| {
            tracing::warn!(key = %self.key.id, reason = %error, "the vault does not sign");
            rcgen::Error::RemoteKeyError
        })
    }
}

#[cfg(test)]
#[path = "signer_tests.rs"]
mod tests;
