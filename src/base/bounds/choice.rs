//! Limits of the choice between CAs, and between the chains that one offers.

use std::time::Duration;

/// Failures in a row after which a CA that does not answer, or has faults of its own, gives way; on the
/// retry ladder they are some six minutes apart.
pub const PATIENCE_FAILURES: u32 = 3;

/// Failures in a row after which one gives way that a CAA record forbids: the first may be a resolver's.
pub const PATIENCE_CAA: u32 = 2;

/// What a CA may ask to wait for a rate limit without giving way.
pub const PATIENCE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The longest that a certificate which is still good waits for its CA to recover, however much is left
/// of it.
pub const PATIENCE_LONGEST: Duration = Duration::from_secs(24 * 3600);

/// That wait as a share of what is left of the certificate: one of so many parts.
pub const PATIENCE_SHARE: u32 = 8;

/// After so long a CA that refused is asked again, where the others fail: nothing else would come of it
/// than another refusal, and something might.
pub const REFUSAL_REST: Duration = Duration::from_secs(24 * 3600);

/// Where the certificate runs out before that: it rests half of what is left, and so long at least.
pub const LEAST_REST: Duration = Duration::from_secs(3600);

/// Domains without a slot that are told of at once, for each look.
pub const BUDGETS_TOLD: usize = 5;

/// Chains beside the default one that are fetched to find the preferred one.
pub const ALTERNATE_CHAINS: usize = 8;
