//! A certificate as another tool keeps it, and how its files are read: nothing there is changed.

use std::path::Path;
use std::path::PathBuf;

use crate::cli::material;
use crate::cli::material::Material;
use crate::cli::report::Report;

/// Entries of one directory that are looked at.
const ENTRIES: usize = 100_000;

/// A certificate in a store.
pub(super) struct Kept {
    /// What the store calls it.
    pub(super) title: String,
    /// Where it is.
    pub(super) at: PathBuf,
    /// It, or why it is of no use.
    pub(super) found: Result<Material, String>,
}

impl Kept {
    /// One whose certificate and key are files.
    pub(super) fn files(title: &str, chain: &Path, key: &Path) -> Self {
        let found = material::whole(chain)
            .and_then(|pem| Material::of(pem, &material::whole(key)?, (chain, key)))
            .map_err(words);
        Self { title: title.to_owned(), at: chain.to_owned(), found }
    }

    /// One that is left where it is.
    pub(super) fn left(title: &str, at: &Path, why: &str) -> Self {
        Self { title: title.to_owned(), at: at.to_owned(), found: Err(why.to_owned()) }
    }
}

/// Why it is of no use.
pub(super) fn words(report: Report) -> String {
    report.what.unwrap_or_default()
}

/// What is in a directory, by name; nothing if it is none.
///
/// # Errors
/// In words, when it is there and cannot be read.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let listed = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in listed.take(ENTRIES) {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

/// The last part of a path, if it is text.
pub(super) fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The name of a file that ends with `ending`, without that.
pub(super) fn stem<'a>(path: &'a Path, ending: &str) -> Option<&'a str> {
    name(path)?.strip_suffix(ending).filter(|stem| !stem.is_empty())
}
