//! The vault behind the ports of the issuer: requests and certificates to sign, and the keys of
//! accounts.

use super::client::Vault;
use super::error::VaultError;
use super::purpose::Purpose;
use super::scheme::Scheme;
use super::wire::Reply;
use super::wire::Request;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyUsage;
use crate::cert::ports::AccountKeys;
use crate::cert::ports::KeySource as _;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::ToBeSigned;

impl RemoteSigning for Vault {
    fn sign_der(
        &self,
        key: &KeyHandle,
        what: ToBeSigned,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        let purpose = match what {
            ToBeSigned::Csr => Purpose::Csr,
            ToBeSigned::Certificate => Purpose::InternalCaTbs,
            ToBeSigned::AccountRequest => Purpose::Account,
        };
        self.sign(key, purpose, scheme(key), message).map_err(|error| error.to_string())
    }

    fn sign_key_change(
        &self,
        key: &KeyHandle,
        other: &KeyHandle,
        message: &[u8],
    ) -> Result<Vec<u8>, String> {
        let signed = self
            .load(other)
            .and_then(|()| self.sign(key, Purpose::AccountKey, scheme(key), message));
        signed.map_err(|error| error.to_string())
    }
}

impl Vault {
    /// Has a key opened, for a signature that another one makes about it.
    ///
    /// # Errors
    /// [`VaultError`].
    fn load(&self, key: &KeyHandle) -> Result<(), VaultError> {
        // Where there is no room for it, the signature is refused.
        let request = Request::Warm { heat: 0, sealed: &key.sealed.0 };
        self.control().ask(&request, |reply| match reply {
            Reply::Warmed(_) => Ok(()),
            _ => Err(VaultError::Unexpected),
        })
    }
}

impl AccountKeys for Vault {
    fn make(&self) -> BoxFuture<'_, Result<KeyHandle, Failure>> {
        self.generate(KeyAlgorithm::P256, KeyUsage::Account)
    }

    fn take_over<'a>(
        &'a self,
        label: &'a str,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<KeyHandle, Failure>> {
        let (vault, label, sealed) = (self.clone(), label.to_owned(), sealed.to_vec());
        Box::pin(async move {
            let taken = tokio::task::spawn_blocking(move || vault.take_over(&label, &sealed));
            Ok(taken.await.map_err(|_| ending())??)
        })
    }
}

/// How a key signs documents.
const fn scheme(key: &KeyHandle) -> Scheme {
    match key.algorithm {
        KeyAlgorithm::P256 => Scheme::EcdsaP256Sha256,
        KeyAlgorithm::P384 => Scheme::EcdsaP384Sha384,
        KeyAlgorithm::Rsa2048 => Scheme::RsaPkcs1Sha256,
    }
}

fn ending() -> Failure {
    Failure::new(FailureKind::Vault, "the runtime is ending")
}
