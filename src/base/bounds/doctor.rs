//! Limits of an examination that somebody asked for.

use std::time::Duration;

/// Names of one certificate that are examined, the first ones.
pub const NAMES: usize = 8;

/// Addresses of one name at which a door is knocked on.
pub const ADDRESSES: usize = 4;

/// For one knock: connection, question and answer.
pub const KNOCK: Duration = Duration::from_secs(4);

/// Octets of an answer to one that are read.
pub const ANSWER: u64 = 16 * 1024;

/// For all questions to the DNS about one name.
pub const DNS: Duration = Duration::from_secs(6);

/// For the whole examination but the order at a staging directory: the socket has thirty seconds.
pub const WHOLE: Duration = Duration::from_secs(27);

/// How far clocks may be apart before it is told, and before it is a problem: certificates begin an
/// hour before they are issued, so that little is noticed of less.
pub const SKEW_TOLD: Duration = Duration::from_secs(60);

/// See [`SKEW_TOLD`].
pub const SKEW_MOST: Duration = Duration::from_secs(1800);

/// Examinations at the same time.
pub const AT_ONCE: usize = 2;
