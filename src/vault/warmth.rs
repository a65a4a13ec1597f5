//! What main asks so that the busiest keys are open from the first handshake on.

use super::busy_list::Busy;
use super::client::Vault;
use super::error::VaultError;
use super::wire::Reply;
use super::wire::Request;
use crate::base::bounds;
use crate::cert::key::KeyHandle;

impl Vault {
    /// Has the keys ranked anew, and returns the busiest, at most [`bounds::VAULT_BUSIEST`] of
    /// them, the busiest first. Blocks for some ten milliseconds when very many are open.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn busiest(&self) -> Result<Vec<Busy>, VaultError> {
        let mut all: Vec<Busy> = Vec::new();
        loop {
            let skip = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let page = self.control().ask(&Request::Busiest { skip }, |reply| match reply {
                Reply::Busiest(page) => Ok(page),
                _ => Err(VaultError::Unexpected),
            })?;
            let last = page.len() < bounds::VAULT_BUSIEST_PAGE;
            all.extend(page.into_iter().map(|(key, heat)| Busy { key, heat }));
            // Whoever names more than that ranks them without end.
            if last || all.len() >= bounds::VAULT_BUSIEST {
                all.truncate(bounds::VAULT_BUSIEST);
                return Ok(all);
            }
        }
    }

    /// Has a key opened that was this busy in an earlier run; `false` when that would push out
    /// another.
    ///
    /// # Errors
    /// [`VaultError`]; above all [`VaultError::Seal`] when it does not open.
    pub fn warm(&self, key: &KeyHandle, heat: u64) -> Result<bool, VaultError> {
        let request = Request::Warm { heat, sealed: &key.sealed.0 };
        self.control().ask(&request, |reply| match reply {
            Reply::Warmed(open) => Ok(open),
            _ => Err(VaultError::Unexpected),
        })
    }
}
