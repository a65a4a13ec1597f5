//! Limits of origins.

use std::time::Duration;

/// Servers of one site. More belong behind a balancer of their own.
pub const ORIGIN_SERVERS: usize = 64;

/// Largest file of CAs for origins: twice what a system has of them.
pub const ORIGIN_CA_BYTES: u64 = 1024 * 1024;

/// Servers that one request is sent to. Each may take the whole time for a connection, and a client
/// does not wait for ever.
pub const ORIGIN_TRIES: u32 = 3;

/// Tries that a worker has at hand for a site beyond the share of its requests, so that a server
/// which fails while there is little to do is not noticed.
pub const RETRY_RESERVE: u32 = 10;

/// The longest that a server is left out without being tried again, unless the operator wants it
/// longer.
pub const EJECTED_AT_MOST: Duration = Duration::from_secs(300);
