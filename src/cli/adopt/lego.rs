//! lego's store: `certificates/NAME.crt` with the chain, `NAME.key` beside it.

use std::path::Path;

use super::kept::Kept;
use super::kept::entries;
use super::kept::stem;

/// The issuer alone, which the other file has as well.
const ISSUER: &str = ".issuer.crt";

pub(super) fn recognises(place: &Path) -> bool {
    // Caddy has directories where lego has files.
    let certificates = entries(&place.join("certificates")).unwrap_or_default();
    certificates.iter().any(|path| stem(path, ".crt").is_some() && path.is_file())
}

pub(super) fn read(place: &Path) -> Result<Vec<Kept>, String> {
    let mut found = Vec::new();
    for chain in entries(&place.join("certificates"))? {
        if stem(&chain, ISSUER).is_some() {
            continue;
        }
        let Some(title) = stem(&chain, ".crt") else { continue };
        let key = chain.with_file_name(format!("{title}.key"));
        // For a wildcard the file begins with an underscore.
        let title =
            title.strip_prefix("_.").map_or_else(|| title.to_owned(), |base| format!("*.{base}"));
        found.push(Kept::files(&title, &chain, &key));
    }
    Ok(found)
}
