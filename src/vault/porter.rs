//! Keys that come in and go out, as main asks the vault for them.
//!
//! Main sees boxes, sealed keys and descriptors; a private key in the clear is none of them.

use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;

use super::age::Recipient;
use super::client::Vault;
use super::error::VaultError;
use super::import_box;
use super::import_box::ImportBox;
use super::wire::Reply;
use super::wire::Request;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::SealedKey;

impl Vault {
    /// The public key that a box with a private key must be sealed to. It changes with the master
    /// key and not else. Blocks.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn import_key(&self) -> Result<[u8; import_box::KEY], VaultError> {
        self.control().ask(&Request::ImportKey, |reply| match reply {
            Reply::Bytes(key) => key.try_into().map_err(|_| VaultError::Unexpected),
            _ => Err(VaultError::Unexpected),
        })
    }

    /// Has the vault take a key out of its box. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Seal`] when the box does not open, or holds another key than it says;
    /// [`VaultError::Crypto`] when the key is of no use.
    pub fn import(&self, made: &ImportBox) -> Result<KeyHandle, VaultError> {
        let ImportBox { label, encapsulated, sealed } = made;
        let request = Request::Import {
            algorithm: label.algorithm,
            usage: label.usage,
            key: label.key,
            encapsulated,
            sealed,
        };
        let (spki, sealed) = self.control().ask(&request, |reply| match reply {
            Reply::Generated { spki, sealed } => Ok((spki.to_vec(), sealed.to_vec())),
            _ => Err(VaultError::Unexpected),
        })?;
        if KeyId::of_spki(&spki) != label.key {
            return Err(VaultError::Unexpected);
        }
        Ok(KeyHandle {
            id: label.key,
            algorithm: label.algorithm,
            usage: label.usage,
            spki: spki.into(),
            sealed: SealedKey(sealed.into()),
        })
    }

    /// An exportable key as PEM in a file of age, which the vault encrypts to `recipient`. Blocks.
    ///
    /// # Errors
    /// [`VaultError::Purpose`] when the key was not sealed as exportable; [`VaultError::Crypto`] when
    /// the recipient is no point of its curve.
    pub fn deliver(&self, key: &KeyHandle, recipient: &Recipient) -> Result<Vec<u8>, VaultError> {
        let request = Request::Deliver { recipient: recipient.0, sealed: &key.sealed.0 };
        self.control().ask(&request, |reply| match reply {
            Reply::Bytes(file) => Ok(file.to_vec()),
            _ => Err(VaultError::Unexpected),
        })
    }

    /// Has the vault write an exportable key as PEM into `target`, and close it. Blocks, at most
    /// for as long as `target` does.
    ///
    /// # Errors
    /// [`VaultError::Purpose`] when the key was not sealed as exportable. After any error the
    /// target may hold a part of the key, or nothing.
    pub fn export(&self, key: &KeyHandle, target: OwnedFd) -> Result<(), VaultError> {
        let request = Request::Export { sealed: &key.sealed.0 };
        self.control().hand_over(&request, &[target.as_fd()], |reply| match reply {
            Reply::Done => Ok(()),
            _ => Err(VaultError::Unexpected),
        })
    }
}
