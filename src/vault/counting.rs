//! What the vault signed and what handshakes there were for it, both as main can know it.
//!
//! A handshake is counted in main when rustls asks for its signature, by the worker that does; the
//! vault counts for itself what it signs for handshakes, whoever asked. So a signature that somebody
//! has the vault make over a channel of main's, without a handshake, is in one count and not in the
//! other.

use std::collections::HashMap;

use super::client::Vault;
use super::error::VaultError;
use super::ledger::Look;
use super::purpose::Purpose;
use super::scheme::Scheme;
use super::tally::Counted;
use super::together;
use super::wire::Reply;
use super::wire::Request;
use crate::cert::key::KeyHandle;

impl Vault {
    /// Signs a handshake, and counts it; `known` says whether the key was asked for lately. Blocks
    /// as [`Vault::sign`] does.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(super) fn sign_handshake(
        &self,
        key: &KeyHandle,
        known: bool,
        purpose: Purpose,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, VaultError> {
        // Before the question: at no moment are there more signatures than handshakes.
        self.count_handshake(&key.id);
        together::sign(self, key, purpose, scheme, message).unwrap_or_else(|| match known {
            true => self.sign(key, purpose, scheme, message),
            false => self.sign_along(key, purpose, scheme, message),
        })
    }

    /// What the present vault signed by key, and the handshakes for it. `None` when another vault
    /// took its place meanwhile. Blocks.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn look(&self) -> Result<Option<Look>, VaultError> {
        let era = self.era();
        let mut signed: HashMap<u64, Counted> = HashMap::new();
        // The workers' desks, and that of whoever is none.
        for desk in 0..=self.workers() {
            let desk = u16::try_from(desk).map_err(|_| VaultError::Unexpected)?;
            let mut from = 0;
            loop {
                let (next, counts) = self.page(desk, from)?;
                for counted in counts {
                    signed
                        .entry(counted.key)
                        .and_modify(|sum| *sum = sum.and(counted))
                        .or_insert(counted);
                }
                if next <= from {
                    break;
                }
                from = next;
            }
        }
        if self.era() != era {
            return Ok(None);
        }
        // After the vault's: what began in between makes no alarm.
        let begun = |key| {
            let nothing = Counted { key, most: 0, inherited: 0 };
            self.tallies().iter().map(|tally| tally.of(key, era)).fold(nothing, Counted::and)
        };
        let counts = signed.into_values().map(|signed| (signed, begun(signed.key))).collect();
        Ok(Some(Look { era, counts }))
    }

    fn page(&self, desk: u16, from: u16) -> Result<(u16, Vec<Counted>), VaultError> {
        self.control().ask(&Request::Signed { desk, from }, |reply| match reply {
            Reply::Counts { next, counts } => Ok((next, counts)),
            _ => Err(VaultError::Unexpected),
        })
    }
}
