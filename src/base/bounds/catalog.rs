//! Limits of the second copy.

use std::time::Duration;

/// After the copy was written, what is published meanwhile waits so long to be written with it, unless
/// somebody waits for it: many changes one after the other have the disk for themselves. A store that
/// is damaged within that time has what the copy lacks in its last transactions.
pub const COPY_PAUSE: Duration = Duration::from_millis(250);

/// Intermediates that stay in memory while the copy does not change. A CA has a handful of them,
/// some kilobytes each; what comes on top of these is read again for each certificate.
pub const ISSUERS_KNOWN: usize = 64;
