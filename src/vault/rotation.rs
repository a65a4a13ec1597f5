//! The vault, as whoever rotates the master key knows it.

use super::client::Vault;
use super::error::VaultError;
use super::seal::Mark;
use super::succession::Step;
use super::wire::Reply;
use super::wire::Request;
use crate::base::bounds;

impl Vault {
    /// The master keys that the present vault has, the present one first. Does not block.
    pub fn masters(&self) -> Vec<Mark> {
        self.link().state().masters.clone()
    }

    /// Seals a record anew under the present master key; `None` when it is sealed so already.
    ///
    /// # Errors
    /// [`VaultError::Seal`] when it does not open.
    pub fn reseal(&self, record: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        self.control().ask(&Request::Reseal(record), |reply| match reply {
            Reply::Bytes(sealed) => Ok(Some(sealed.to_vec())),
            Reply::Done => Ok(None),
            _ => Err(VaultError::Unexpected),
        })
    }

    /// Has the next vault take a step in the succession of a master key of our own making, and
    /// waits for it: handshakes wait as long, as they do when a vault dies. Returns the master keys
    /// that are there then.
    ///
    /// # Errors
    /// [`VaultError::MasterKey`] when the step was not taken.
    pub fn change_master(&self, step: Step) -> Result<Vec<Mark>, VaultError> {
        let link = self.link();
        let before = link.generation();
        self.control().ask(&Request::ChangeMaster(step), |reply| match reply {
            Reply::Done => Ok(()),
            _ => Err(VaultError::Unexpected),
        })?;
        let masters = link.masters_after(before, bounds::VAULT_WORK_DEADLINE)?;
        let wanted = match step {
            Step::Begin => 2,
            Step::Finish => 1,
        };
        if masters.len() == wanted {
            return Ok(masters);
        }
        let what = match step {
            Step::Begin => "the new master key was not written",
            Step::Finish => "the former master key was not deleted",
        };
        Err(VaultError::MasterKey(format!("{what}; the log says why")))
    }
}
