//! Limits of a look at what a server shows.

use std::time::Duration;

/// Addresses of one name that are looked at, the first ones.
pub const ADDRESSES: usize = 16;

/// Octets of a line before TLS. RFC 5321, section 4.5.3.1.5, has 512 for a reply; lists of
/// capabilities are longer.
pub const LINE: usize = 4096;

/// Octets that are read before TLS, all in all.
pub const PLAIN: usize = 32 * 1024;

/// Octets of one message of a protocol that has such.
pub const MESSAGE: usize = 4096;

/// Characters of what a server said that are told.
pub const QUOTED: usize = 160;

/// Names of a certificate that are told.
pub const NAMES: usize = 100;

/// For the last word of a connection: who does not take it is left without.
pub const FAREWELL: Duration = Duration::from_secs(1);
