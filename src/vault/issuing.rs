//! The vault behind the ports of the issuer: requests and certificates to sign, an account's key
//! to seal.

use super::client::Vault;
use super::purpose::Purpose;
use super::scheme::Scheme;
use crate::base::Secret;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::ports::RemoteSigning;
use crate::cert::ports::SecretSeal;
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
        };
        let scheme = match key.algorithm {
            KeyAlgorithm::P256 => Scheme::EcdsaP256Sha256,
            KeyAlgorithm::P384 => Scheme::EcdsaP384Sha384,
            KeyAlgorithm::Rsa2048 => Scheme::RsaPkcs1Sha256,
        };
        self.sign(key, purpose, scheme, message).map_err(|error| error.to_string())
    }
}

impl SecretSeal for Vault {
    fn seal<'a>(
        &'a self,
        label: &'a str,
        secret: &'a [u8],
    ) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        let (vault, label) = (self.clone(), label.to_owned());
        let secret = Secret::new(secret.to_vec());
        Box::pin(async move {
            let sealed =
                tokio::task::spawn_blocking(move || vault.seal_secret(&label, secret.expose()));
            Ok(sealed.await.map_err(|_| ending())??)
        })
    }

    fn open<'a>(
        &'a self,
        label: &'a str,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, Result<Secret<Vec<u8>>, Failure>> {
        let (vault, label, sealed) = (self.clone(), label.to_owned(), sealed.to_vec());
        Box::pin(async move {
            let opened = tokio::task::spawn_blocking(move || vault.open_secret(&label, &sealed));
            Ok(opened.await.map_err(|_| ending())??)
        })
    }
}

fn ending() -> Failure {
    Failure::new(FailureKind::Vault, "the runtime is ending")
}
