//! Limits of what sites and routes ask of requests.

use std::time::Duration;

/// Sets of the table of rates, and places in each: 256 KiB, whoever comes. A client network that is
/// pushed out of a full set is forgotten, and those that ask most are pushed out last.
pub const RATE_SETS: usize = 2048;

/// Places in each of them.
pub const RATE_WAYS: usize = 8;

/// Requests in a burst, and in the time that a rate names.
pub const RATE_MOST: u64 = 1_000_000;

/// Failed tries at a password that a client network has at once, and the time after which it has
/// another: a person mistypes a few times, and who guesses gets to 14,400 tries a day.
pub const AUTH_TRIES: u32 = 10;

/// See [`AUTH_TRIES`].
pub const AUTH_TRY_EVERY: Duration = Duration::from_secs(6);

/// Passwords that are checked at a time. Each takes a core for tens of milliseconds, and 19 MiB
/// unless the operator made it dearer.
pub const AUTH_AT_ONCE: usize = 2;

/// Requests that wait for their turn at that; further ones are answered with 503.
pub const AUTH_WAITING: usize = 256;

/// Names with passwords that were found good and are remembered, as keyed hashes. Each takes some
/// hundred bytes.
pub const AUTH_REMEMBERED: usize = 8192;

/// Longest Authorization field that is looked at.
pub const AUTH_FIELD_BYTES: usize = 4096;

/// KiB of memory, passes and lanes that checking a hash may take.
pub const HASH_COST_MOST: [u32; 3] = [256 * 1024, 10, 16];

/// Octets of the salt of a hash (RFC 9106, section 3.1).
pub const HASH_SALT: usize = 16;

/// Shortest password that is taken for a new one, in octets (NIST SP 800-63B, section 3.1.1.2, has
/// eight as the least beside something else).
pub const PASSWORD_LEAST: usize = 8;

/// Longest name of a user.
pub const USER_NAME_BYTES: usize = 255;

/// Largest file of users: some twenty thousand.
pub const USERS_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Longest page for an error.
pub const PAGE_BYTES: u64 = 256 * 1024;

/// When a client is told to come back to a site that is being worked on.
pub const CLOSED_FOR: Duration = Duration::from_secs(60);

/// Answers that are made shorter at a time, over all workers; further ones are passed on as they
/// are. An encoder has up to five MiB.
pub const COMPRESSED_AT_ONCE: usize = 64;

/// Shortest answer for which that is done, in bytes: below, it fits one packet anyway.
pub const COMPRESSED_LEAST: u64 = 1024;

/// Threads in which a worker has files read and passwords checked, at most; each ends when there is
/// nothing to do for a while. More would only wait for the same disks.
pub const WORKER_HELPERS: usize = 64;
