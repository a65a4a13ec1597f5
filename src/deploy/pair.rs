//! A chain and its private key, as a hand has them for as long as it lives.

use std::fmt;

use zeroize::Zeroizing;

use crate::cert::chain::Chain;
use crate::cert::identifier::Identifier;
use crate::vault::key_file::KeyFile;

/// What is carried to a target. The key belongs to the leaf.
pub(super) struct Pair {
    /// The certificate's first name.
    pub(super) name: Identifier,
    /// The leaf first.
    pub(super) chain: Chain,
    /// The chain as PEM.
    pub(super) chain_pem: String,
    /// The private key as PEM, in PKCS#8 (RFC 5208).
    pub(super) key_pem: Zeroizing<Vec<u8>>,
    /// The same as DER.
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
}

impl Pair {
    /// Puts the two together.
    ///
    /// # Errors
    /// In words, when they do not belong together or the leaf is not for `name`.
    pub(super) fn new(
        name: Identifier,
        chain: Chain,
        key_pem: Zeroizing<Vec<u8>>,
    ) -> Result<Self, String> {
        let leaf = chain.leaf().map_err(|error| format!("the leaf cannot be read: {error}"))?;
        if !leaf.names.contains(&name) {
            return Err(format!("the leaf is not for {name}"));
        }
        let key = KeyFile::from_pem(&key_pem)
            .map_err(|error| format!("what came is no private key: {error}"))?;
        if key.id != leaf.key {
            return Err("the private key does not belong to the leaf".to_owned());
        }
        Ok(Self { name, chain_pem: chain.to_pem(), chain, key_pem, pkcs8: key.pkcs8 })
    }

    /// The key and then the chain: an order that all servers take which want both in one file (Postfix
    /// no other).
    pub(super) fn combined(&self) -> Zeroizing<Vec<u8>> {
        let room = self.key_pem.len().saturating_add(self.chain_pem.len());
        let mut both = Zeroizing::new(Vec::with_capacity(room));
        both.extend_from_slice(&self.key_pem);
        both.extend_from_slice(self.chain_pem.as_bytes());
        both
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({})", self.name)
    }
}
