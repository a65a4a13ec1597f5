//! What the present master key seals, for whoever stores and shows what is sealed.

use std::sync::Arc;

use crate::cert::failure::Failure;
use crate::cert::ports::Seals;
use crate::cert::ports::Shelf;
use crate::issuer::custody;
use crate::vault::Vault;
use crate::vault::seal::Mark;

/// A master key, and the vault that seals anew what others sealed.
#[derive(Debug)]
struct Under {
    present: Mark,
    vault: Vault,
}

/// The master key that the vault has now; `None` where there is no vault.
pub(super) fn of(vault: &Vault) -> Option<Arc<dyn Seals>> {
    let present = vault.masters().first().copied()?;
    Some(Arc::new(Under { present, vault: vault.clone() }))
}

impl Seals for Under {
    fn is_former(&self, sealed: &[u8]) -> bool {
        // A vault that has succeeded meanwhile is ahead of what was said here.
        Mark::of(sealed)
            .is_none_or(|mark| mark.check != self.present.check && mark.epoch <= self.present.epoch)
    }

    fn anew(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        if self.is_former(sealed) { Ok(self.vault.reseal(sealed)?) } else { Ok(None) }
    }

    fn anew_on(&self, shelf: Shelf, value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        custody::reseal(shelf, value, &mut |record| self.anew(record))
    }
}
