//! Limits of names that come of themselves.

use std::time::Duration;

/// The most labels that a name may have: it has no more characters.
pub const LABELS_MOST: u64 = 127;

/// The most names that may be onboarded.
pub const NAMES_MOST: u64 = 10_000_000;

/// The longest that a client may be kept waiting for a certificate: browsers give up soon after.
pub const HOLD_MOST: Duration = Duration::from_secs(60);

/// Names that clients asked for and that were not looked at yet; beyond them nobody is heard.
pub const KNOCKS: usize = 256;

/// Clients that wait for a certificate, over all workers.
pub const HELD: usize = 256;

/// Clients of one network that do.
pub const HELD_PER_NETWORK: usize = 8;

/// The longest that a client waits at a start until all names are there that were onboarded before:
/// a hundred thousand take a fraction of a second.
pub const GUESTS_COME: Duration = Duration::from_secs(10);

/// Names that are looked up in the DNS at the same time.
pub const LOOKUPS_AT_ONCE: usize = 16;

/// How long the look-up of one name may take, over all its aliases.
pub const LOOKUP: Duration = Duration::from_secs(10);

/// Names that are looked up in one second, whoever asks for them.
pub const LOOKUPS_PER_SECOND: u32 = 20;

/// Names that are looked up in [`LOOKUPS_WINDOW`] because clients of one network ask for them.
pub const LOOKUPS_PER_NETWORK: u32 = 30;

/// Names below one registered domain that are looked up in that time.
pub const LOOKUPS_PER_DOMAIN: u32 = 60;

/// The time for which look-ups are counted.
pub const LOOKUPS_WINDOW: Duration = Duration::from_secs(60);

/// Networks, and domains, that are counted apart; beyond them nobody new is heard within the time.
pub const COUNTED_APART: usize = 16_384;

/// How long a name is not looked up again that leads elsewhere.
pub const ELSEWHERE_KEPT: Duration = Duration::from_secs(60);

/// How long a name is not looked up again that whoever is asked does not want.
pub const UNWANTED_KEPT: Duration = Duration::from_secs(300);

/// Names that are known to be none of ours; the cache holds on to those that are asked for again.
pub const REFUSED_KEPT: usize = 16_384;

/// Names whose certificate is being ordered and that somebody waits for.
pub const IN_FLIGHT: usize = 256;

/// The time for which new names of one registered domain are counted, as CAs do.
pub const DOMAIN_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// The time for which new names of one network are counted.
pub const NETWORK_WINDOW: Duration = Duration::from_secs(3600);

/// How long whoever is asked about a name may take.
pub const ASK: Duration = Duration::from_secs(5);

/// Onboarded names that are read at once.
pub const READ_AT_ONCE: usize = 4096;
