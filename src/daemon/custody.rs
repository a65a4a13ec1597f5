//! Whether the master key that was found is the one that the state needs.
//!
//! Asked before anything is served, ordered or written: under another master key nothing would
//! open, and what is sealed from then on would be lost as soon as the right one is back.

use std::collections::BTreeSet;

use super::Failed;
use super::open::Memory;
use crate::base::bounds;
use crate::cert::ports::Shelf;
use crate::issuer::custody;
use crate::store::StoreError;
use crate::vault::MasterKeySource;
use crate::vault::master::former;
use crate::vault::seal::Mark;

/// Refuses to go on where something is sealed under a master key that is not there.
///
/// # Errors
/// With the master keys that are needed and found; also when the state cannot be read.
pub(super) async fn examine(
    memory: &Memory,
    found: &[Mark],
    source: &MasterKeySource,
) -> Result<(), Failed> {
    let needed =
        needed(memory).await.map_err(|error| Failed::unavailable(format!("error: {error}")))?;
    let there = |mark: &&Mark| found.iter().any(|found| found.check == mark.check);
    let lacking: Vec<String> =
        needed.iter().filter(|mark| !there(mark)).map(Mark::to_string).collect();
    let (Some(present), false) = (found.first(), lacking.is_empty()) else { return Ok(()) };
    let path = source.path();
    Err(Failed::configuration(format!(
        "error: the master key is another one than the state was sealed under\n  \
         needed: that of {}\n  found: that of {present}, in {}\n  \
         nothing is served and nothing was changed\n  \
         try: put the former master key back, or lay it beside the new one as {}, so that \
         everything is sealed anew under that",
        lacking.join(" and of "),
        path.display(),
        former(path).display(),
    )))
}

/// The line that tells which master key the store needs, for whoever has lost his.
pub(super) fn told(memory: &Memory) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let needed = runtime.block_on(needed(memory)).ok()?;
    let marks: Vec<String> = needed.iter().map(Mark::to_string).collect();
    let marks = (!marks.is_empty()).then(|| marks.join(" and of "))?;
    Some(format!("  what is sealed here needs the master key of {marks}; nothing was changed"))
}

/// The master keys that a sample of what is sealed needs.
async fn needed(memory: &Memory) -> Result<BTreeSet<Mark>, StoreError> {
    let most = bounds::master::SEALS_LOOKED_AT;
    let store = match memory {
        Memory::Whole(store) => store,
        Memory::Copy { catalog, .. } => {
            // What cannot be read is told when it is asked for.
            let readable = |id| catalog.get(id).ok().flatten();
            let shown = catalog.page(None, most)?.into_iter().filter_map(readable);
            return Ok(shown.filter_map(|served| Mark::of(&served.key.sealed.0)).collect());
        }
    };
    let keys = store.some_keys(most).await?;
    let mut needed: BTreeSet<Mark> =
        keys.iter().filter_map(|key| Mark::of(&key.sealed.0)).collect();
    for shelf in [Shelf::Accounts, Shelf::InternalCa] {
        for (_, stored) in store.shelf(shelf).await? {
            let mut look = |record: &[u8]| {
                needed.extend(Mark::of(record));
                Ok(None)
            };
            // What cannot be read is told when it is needed.
            let _unread = custody::reseal(shelf, &stored, &mut look);
        }
    }
    Ok(needed)
}
