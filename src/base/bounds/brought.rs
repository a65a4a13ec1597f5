//! The limits of what files make us do that are brought, or fetched from a CA.

use std::time::Duration;

/// Rounds of PBKDF2 for the passphrase of a key: openssl takes 2048, careful programs 600,000; this
/// many take some seconds.
pub const DERIVATION_ROUNDS: u32 = 10_000_000;

/// Octets of memory that scrypt may take for it: openssl takes 16 MiB.
pub const DERIVATION_MEMORY: u64 = 256 << 20;

/// Times that scrypt may take this memory, one after the other: openssl does once.
pub const DERIVATION_PARALLEL: u16 = 16;

/// Largest list of revoked certificates that is fetched: those of the large CAs are cut into pieces of
/// less than ten MiB.
pub const REVOCATION_LIST: u64 = 16 << 20;

/// How long that may take.
pub const REVOCATION_FETCH: Duration = Duration::from_secs(30);

/// Between two looks at the list of one certificate.
pub const REVOCATION_LOOK: Duration = Duration::from_secs(24 * 3600);
