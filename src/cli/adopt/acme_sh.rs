//! acme.sh's store: `NAME` for an RSA key and `NAME_ecc` for others, each with `NAME.conf`.

use std::path::Path;

use super::kept::Kept;
use super::kept::entries;
use super::kept::name;

/// At the end of a directory whose key is no RSA key.
const ECC: &str = "_ecc";

/// The name that `dir` is for, if it is one of acme.sh's.
fn lineage(dir: &Path) -> Option<&str> {
    let dir_name = name(dir)?;
    let title = dir_name.strip_suffix(ECC).unwrap_or(dir_name);
    dir.join(format!("{title}.conf")).is_file().then_some(title)
}

pub(super) fn recognises(place: &Path) -> bool {
    entries(place).unwrap_or_default().iter().any(|dir| lineage(dir).is_some())
}

pub(super) fn read(place: &Path) -> Result<Vec<Kept>, String> {
    let mut found = Vec::new();
    for dir in entries(place)? {
        let Some(title) = lineage(&dir) else { continue };
        let (chain, key) = (dir.join("fullchain.cer"), dir.join(format!("{title}.key")));
        // An order that never came to an end leaves the rest.
        if chain.exists() {
            found.push(Kept::files(title, &chain, &key));
        }
    }
    Ok(found)
}
