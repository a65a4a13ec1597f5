//! What the issuers keep under seal, for whoever looks after the master key: which records, and how
//! they are put back when they were sealed anew.

use super::acme;
use super::internal;
use crate::cert::failure::Failure;
use crate::cert::ports::Shelf;

/// Seals one record anew; `None` when it can stay as it is.
pub type Reseal<'a> = dyn FnMut(&[u8]) -> Result<Option<Vec<u8>>, Failure> + 'a;

/// What lies on a `shelf`, with each sealed record in it replaced by what `reseal` makes of it;
/// `None` when all stay as they are.
///
/// # Errors
/// When what lies there cannot be read, and the first error of `reseal`.
pub fn reseal(
    shelf: Shelf,
    stored: &[u8],
    reseal: &mut Reseal<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    match shelf {
        Shelf::Accounts => acme::reseal_account(stored, reseal),
        Shelf::InternalCa => internal::reseal_authority(stored, reseal),
        Shelf::Proofs => Ok(None),
    }
}
