//! The end of the start of `keyward demo`: the internal root where curl finds it, and the words.

use crate::base::disk;
use crate::cert::chain::Chain;
use crate::cli;
use crate::cli::DemoOptions;

/// Writes `root` beside the admin socket and says what to try.
pub(super) fn introduce(options: &DemoOptions, root: &Chain) {
    let path = options.state.join("run/root.pem");
    if let Err(error) = disk::replace(&path, root.to_pem().as_bytes(), 0o644) {
        tracing::warn!(path = %path.display(), %error, "the root cannot be written for curl");
    }
    cli::greet(options, &path);
}
