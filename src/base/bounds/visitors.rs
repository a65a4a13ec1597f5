//! Limits of what client certificates are checked with.

use std::time::Duration;

/// A file of CAs for client certificates: thousands of them, where a system trusts some hundred and
/// fifty.
pub const CLIENT_CA_BYTES: u64 = 4 * 1024 * 1024;

/// A file of revocation lists: about a million revoked certificates, at forty bytes each.
pub const CLIENT_CRL_BYTES: u64 = 48 * 1024 * 1024;

/// What follows a client's certificate and is named to origins: four times in base64 it is half of
/// what many an origin takes for a head.
pub const CLIENT_CHAIN_BYTES: usize = 12 * 1024;

/// Between two looks at whether the files for client certificates have changed: after a revocation,
/// a minute is long.
pub const CLIENT_FILES_LOOK: Duration = Duration::from_secs(15);

/// To connect to where a list of revoked certificates is.
pub const LIST_CONNECT: Duration = Duration::from_secs(10);

/// Until it is there whole: fifty megabytes at a megabyte in a second.
pub const LIST_EXCHANGE: Duration = Duration::from_secs(60);

/// Between two fetches of a list at least: one that runs out soon, or cannot be had.
pub const LIST_EARLIEST: Duration = Duration::from_secs(10);

/// The same at most: how long a revocation may be unknown, where a CA says that its list is good for a
/// week and puts another in its place.
pub const LIST_LATEST: Duration = Duration::from_secs(3600);
