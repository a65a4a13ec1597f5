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

/// Percent of its share that a server gets when it has just come back.
pub const RAMP_BEGINS: u32 = 10;

/// Addresses of one host of an origin. A name server may say more than anybody needs.
pub const NAME_ADDRESSES: usize = 16;

/// How long a name server may take, with all its repetitions.
pub const NAME_ANSWER: Duration = Duration::from_secs(10);

/// The shortest time between two questions for one host, however short its answer holds.
pub const NAME_RETRY: Duration = Duration::from_secs(1);

/// The longest that an answer is believed, so that a move is noticed on the day.
pub const NAME_KEPT: Duration = Duration::from_secs(300);

/// How often it is looked whether the files changed that say who is asked.
pub const NAME_LOOK: Duration = Duration::from_secs(15);

/// How long the connection to one address of a host may take before the next one is tried beside it
/// (RFC 8305, section 5).
pub const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Servers that are asked at a time how they are. Each takes a connection for as long.
pub const CHECKS_AT_ONCE: usize = 64;

/// News of servers that nobody read yet.
pub const TIDINGS_KEPT: usize = 256;

/// How long a body waits for an origin to say that it wants it. Many an origin never does, and after
/// this time most clients go on by themselves.
pub const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// How soon it is looked whether a server has said how many requests it takes at a time.
pub const SETTLE_LOOK: Duration = Duration::from_micros(500);

/// How long a server may take to say so.
pub const SETTLED: Duration = Duration::from_secs(1);

/// Servers to which one client has connections of its own, where they are told who it is; the ones
/// opened first give way. A site has as many at most, and on a connection there is mostly one site.
pub const OWN_POOLS: usize = 64;
