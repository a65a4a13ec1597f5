//! Limits of certificates that are ordered by a call: of the call itself, and of whoever waits for it.

use std::time::Duration;

/// Octets of a certificate request that a client made: with a hundred names of the longest kind it has
/// less than thirty thousand; in PEM a third is added.
pub const REQUEST: usize = 48 * 1024;

/// How long one call may wait for its certificate: the client asks again, or follows the events.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Characters of the key by which a client finds its own order again: a UUID has 36, a digest 64.
pub const IDEMPOTENCY_KEY: usize = 128;

/// Octets of a file with names to be issued: half a million lines of the usual length.
pub const BULK_FILE: u64 = 32 * 1024 * 1024;

/// How long an order may stay as it is when the answer to a client that is ready tells a challenge's failure
/// already: most CAs end the order with it, some wait to be asked once more.
pub const CA_JUDGEMENT: Duration = Duration::from_secs(10);
