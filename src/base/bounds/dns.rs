//! Limits of proofs by DNS.

use std::time::Duration;

/// The longest that records may be waited for: an order has five minutes, and the CA's own look is
/// a part of them.
pub const PROPAGATION_MOST: Duration = Duration::from_secs(180);

/// Between two looks whether a record is there.
pub const LOOK_PAUSE: Duration = Duration::from_secs(2);

/// How long one question to a name server may take, all attempts together.
pub const ANSWER: Duration = Duration::from_secs(5);

/// Aliases that are followed from one name to the next.
pub const ALIASES: usize = 8;

/// Name servers of a zone that are asked, and their addresses.
pub const SERVERS: usize = 16;

/// How long one change at a provider may take: some want three requests, each with thirty seconds.
pub const CHANGE: Duration = Duration::from_secs(100);

/// Octets of what is asked of the process that speaks to providers, and of its answer.
pub const MESSAGE: usize = 16 * 1024;

/// Octets of a secret's file: a service account of a large cloud has some three thousand.
pub const SECRET: u64 = 64 * 1024;

/// Memory that the process which speaks to providers may take for what they answer.
pub const HELPER_MEMORY: u64 = 512 * 1024 * 1024;

/// Changes at providers that run at the same time.
pub const HELPERS: usize = 16;

/// Between the first failure to remove a record and the next try; doubles up to [`REMOVE_LATEST`].
pub const REMOVE_RETRY: Duration = Duration::from_secs(60);

/// The longest pause between two tries.
pub const REMOVE_LATEST: Duration = Duration::from_secs(3600);

/// When a record that cannot be removed is left alone. It proves nothing any more.
pub const REMOVE_GIVE_UP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Records that are remembered to be removed; as many as eight orders of a hundred names, and more.
pub const OUTSTANDING: usize = 2000;

/// The algorithms of TSIG that are used (RFC 8945, section 6); those of MD5 and SHA-1 are not.
pub const TSIG_ALGORITHMS: [&str; 3] = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// Octets of an answer that comes in one datagram; a longer one comes over TCP.
pub const DATAGRAM: usize = 1232;

/// How long one try of one question to one server may take, where it is asked directly.
pub const ONE_ANSWER: Duration = Duration::from_millis(1500);

/// Tries of such a question.
pub const ONE_TRIES: u32 = 2;

/// Servers of a zone that are asked directly, one after the other, before nobody knows.
pub const ONE_SERVERS: usize = 4;

/// How long the look before an order may take. On doubt the order goes on.
pub const PREFLIGHT: Duration = Duration::from_secs(4);

/// How long nobody is asked before an order after such a look has taken too long: the resolver of
/// this machine is not to hold up ten thousand renewals.
pub const PREFLIGHT_REST: Duration = Duration::from_secs(60);

/// Names of one order that are looked at before it, at most.
pub const PREFLIGHT_NAMES: usize = 25;

/// Between two looks whether a name that cannot be proven leads here again.
pub const ASTRAY_LOOK: Duration = Duration::from_secs(3600);

/// Every so many looks the CA is asked all the same, where it may see more than is seen from here:
/// with [`ASTRAY_LOOK`] once a day.
pub const ASTRAY_ORDER: u32 = 24;

/// Failures in a row before a name is looked for elsewhere: those of a new site are often over soon.
pub const ASTRAY_AFTER: u32 = 3;

/// After the start, and after a look that could not be made, until records that prove names for good are
/// looked at.
pub const PERSIST_FIRST: Duration = Duration::from_secs(20);

/// Between two such looks.
pub const PERSIST_LOOK: Duration = Duration::from_secs(24 * 3600);

/// How long before the end of such a record it is told.
pub const PERSIST_ENDS: Duration = Duration::from_secs(14 * 24 * 3600);

/// Names that are looked at each time.
pub const PERSIST_NAMES: usize = 1000;
