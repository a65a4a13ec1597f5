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

/// Requests on one HTTP/2 connection to an origin at a time, if the origin takes so many. Further
/// ones get a connection more, as a lost packet holds up all that share one.
pub const SHARED_STREAMS: u32 = 64;

/// Octets in flight towards us in one stream of an origin's HTTP/2 connection.
pub const SHARED_STREAM_WINDOW: u32 = 128 * 1024;

/// The same in all of its streams: as much as they may have together, so that clients who take
/// nothing of their answers hold up nobody else's.
pub const SHARED_WINDOW: u32 = SHARED_STREAM_WINDOW * SHARED_STREAMS;

/// Octets of one request that wait for an origin before its client is read further.
pub const SHARED_SEND_BUFFER: usize = 128 * 1024;

/// An HTTP/2 connection to an origin that is silent for so long while requests are under way is
/// asked whether it is there.
pub const SHARED_PING: Duration = Duration::from_secs(20);

/// How long it may take to say so.
pub const SHARED_PONG: Duration = Duration::from_secs(10);
