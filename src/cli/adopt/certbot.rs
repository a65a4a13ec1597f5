//! certbot's store: `live/NAME` leads to the newest certificate of each lineage.
//!
//! Lineages that were revoked or deleted leave a directory without these, which is passed over.

use std::path::Path;

use super::kept::Kept;
use super::kept::entries;
use super::kept::name;

pub(super) fn recognises(place: &Path) -> bool {
    place.join("live").is_dir() && place.join("renewal").is_dir()
}

pub(super) fn read(place: &Path) -> Result<Vec<Kept>, String> {
    let mut found = Vec::new();
    for lineage in entries(&place.join("live"))? {
        let Some(title) = name(&lineage).filter(|_| lineage.is_dir()) else { continue };
        let (chain, key) = (lineage.join("fullchain.pem"), lineage.join("privkey.pem"));
        if chain.symlink_metadata().is_ok() {
            found.push(Kept::files(title, &chain, &key));
        }
    }
    Ok(found)
}
