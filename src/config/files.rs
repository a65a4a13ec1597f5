//! `root` and `fallback`: files that are served, as checked.

use std::path::PathBuf;

/// A directory whose files are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The directory.
    pub root: PathBuf,
    /// The path of the file that is given for pages that are not there, from the root: `/index.html`.
    pub fallback: Option<String>,
}
