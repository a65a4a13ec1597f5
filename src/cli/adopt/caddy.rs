//! Caddy's store: `certificates/ISSUER/NAME/NAME.crt` with the chain, `NAME.key` beside it.
//!
//! What its own CA has issued stays there: keyward has one of its own for such names.

use std::path::Path;

use super::kept::Kept;
use super::kept::entries;
use super::kept::name;

/// Its own CA.
const OWN: &str = "local";

pub(super) fn recognises(place: &Path) -> bool {
    let issuers = entries(&place.join("certificates")).unwrap_or_default();
    issuers.iter().any(|issuer| issuer.is_dir())
}

pub(super) fn read(place: &Path) -> Result<Vec<Kept>, String> {
    let mut found = Vec::new();
    for issuer in entries(&place.join("certificates"))? {
        if !issuer.is_dir() {
            continue;
        }
        for dir in entries(&issuer)? {
            let Some(file) = name(&dir).filter(|_| dir.is_dir()) else { continue };
            let (chain, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
            if !chain.exists() {
                continue;
            }
            let base = file.strip_prefix("wildcard_.");
            let title = base.map_or_else(|| file.to_owned(), |base| format!("*.{base}"));
            found.push(if name(&issuer) == Some(OWN) {
                let why = "issued by Caddy's own CA; keyward's does that for such names: issuer = \"internal\"";
                Kept::left(&title, &chain, why)
            } else {
                Kept::files(&title, &chain, &key)
            });
        }
    }
    Ok(found)
}
