//! Limits of news: what people are told, and how.

use std::time::Duration;

/// The shortest time between two calls of a heartbeat's URL.
pub const BEAT_LEAST: Duration = Duration::from_secs(10);

/// The longest: whoever watches it wants to know within a day.
pub const BEAT_MOST: Duration = Duration::from_secs(24 * 3600);

/// The shortest time for which news is collected.
pub const DIGEST_LEAST: Duration = Duration::from_secs(60);

/// The longest.
pub const DIGEST_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// News that wait for one channel; beyond that the oldest are given up, and counted.
pub const OUTBOX: u64 = 10_000;

/// Entries of the journal that are sorted into the outbox in one transaction.
pub const SORTED_AT_ONCE: usize = 500;

/// News in one message: more than that nobody reads at once, and services cut messages off.
pub const TOLD_AT_ONCE: usize = 25;

/// Between two messages of one channel, so that a hundred news become four messages and not a hundred.
pub const PAUSE: Duration = Duration::from_secs(10);

/// How long one message may take.
pub const EXCHANGE: Duration = Duration::from_secs(30);

/// To connect.
pub const CONNECT: Duration = Duration::from_secs(10);

/// Octets of an answer that are read.
pub const ANSWER: u64 = 64 * 1024;

/// Octets of a file with a secret or a URL.
pub const SECRET: u64 = 8 * 1024;

/// The first wait after a message was not taken; it doubles each time.
pub const RETRY_FIRST: Duration = Duration::from_secs(10);

/// The longest: a service that was away for a day is found within a quarter of an hour.
pub const RETRY_MOST: Duration = Duration::from_secs(15 * 60);

/// How long a message is tried; services are seldom away for longer than a weekend.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Failures in a row after which the journal says that a channel does not work.
pub const FAILURES_TOLD: u32 = 3;

/// A sleeper looks at the clock again after so long, so that a step of it is noticed.
pub const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Characters of a reason that are kept.
pub const REASON: usize = 300;

/// Between two looks for certificates that run out, at least.
pub const EXPIRY_LEAST: Duration = Duration::from_secs(1);

/// And at most.
pub const EXPIRY_MOST: Duration = Duration::from_secs(10 * 60);

/// So many times as long as a look takes nobody looks again.
pub const EXPIRY_SHARE: u32 = 200;

/// Certificates that one look tells of, each by its name; of more it tells the number.
pub const EXPIRY_TOLD: usize = 100;
