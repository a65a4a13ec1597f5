//! Limits of services that are no HTTP.

use std::time::Duration;

/// Octets of a client's first flight that are read to find a name in it: several of the largest
/// records. Those of browsers have some two thousand, with post-quantum keys and all.
pub const FIRST_FLIGHT: usize = 64 * 1024;

/// Octets of a line before TLS: what SMTP has for a command (RFC 5321, section 4.5.3.1.4).
pub const PREAMBLE_LINE: usize = 512;

/// Lines before TLS. Clients need three or four.
pub const PREAMBLE_LINES: usize = 32;

/// Octets of a server's greeting, which clients had one of already.
pub const GREETING: usize = 4096;

/// How long a connection waits for the service of a listener that a reload has just opened: the
/// listeners are there a moment before those who answer.
pub const UNSETTLED: Duration = Duration::from_millis(500);
