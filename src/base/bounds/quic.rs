//! Limits of QUIC, and of HTTP/3 over it.

use std::time::Duration;

/// Connections of a worker whose clients have not shown yet that they are where they say. Above, a
/// client is sent a Retry first (RFC 9000, section 8.1.2), which costs a round trip and is kept
/// nowhere. On a quiet machine handshakes take milliseconds, so honest clients rarely meet it.
pub const QUIC_UNPROVEN: usize = 64;

/// Connections that were begun by clients and not looked at yet: the worker takes them as soon as it
/// gets to it.
pub const QUIC_WAITING: usize = 1024;

/// Octets kept of such a connection: a ClientHello with a post-quantum share, twice, and what a client
/// sends behind it.
pub const QUIC_WAITING_BYTES: u64 = 16 * 1024;

/// The same of all such connections together.
pub const QUIC_WAITING_TOTAL: u64 = 4 * 1024 * 1024;

/// Octets of a ClientHello; rustls takes no longer one from a single record either.
pub const QUIC_HELLO: usize = 16 * 1024;

/// Requests of a connection at the same time, as on HTTP/2; RFC 9114, section 6.1, asks for a hundred.
pub const QUIC_STREAMS: u32 = super::H2_STREAMS;

/// Streams that clients open in one direction at the same time: control, the two of QPACK, and reserved
/// ones that are there to be ignored.
pub const QUIC_UNI_STREAMS: u32 = 8;

/// Octets of a body that may wait for an origin, as on HTTP/2.
pub const QUIC_STREAM_WINDOW: u32 = super::H2_STREAM_WINDOW;

/// The same of all bodies of a connection.
pub const QUIC_CONNECTION_WINDOW: u32 = super::H2_CONNECTION_WINDOW;

/// Octets of answers that were sent or are to be, and that the client has not acknowledged: what is on
/// its way to a client 80 ms away at 100 Mbit/s.
pub const QUIC_SEND_WINDOW: u64 = 1024 * 1024;

/// Octets of a HEADERS frame. What comes to more than `HEAD_BYTES` when it is decoded is answered with
/// 431; the frame is read whole before, and no coding makes fields twice as long.
pub const QUIC_HEADERS: u64 = 2 * super::HEAD_BYTES as u64;

/// Octets of any other frame but DATA: numbers, settings, and frames that are there to be ignored.
pub const QUIC_OTHER_FRAME: u64 = 4096;

/// Octets that are read of a stream at once.
pub const QUIC_PIECE: usize = 8 * 1024;

/// Octets that the kernel may keep for a socket until its worker gets to it. It gives less where
/// `net.core.rmem_max` says so.
pub const QUIC_SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// Octets of a datagram that is passed on to another process, with where it came from. A datagram that
/// quinn takes has fewer than 1500.
pub const QUIC_LETTER: usize = 2048;

/// How long, in round trips, a client that was told of the end may still have begun a request.
pub const QUIC_GOODBYE_TRIPS: u32 = 3;

/// The same at least, and at most.
pub const QUIC_GOODBYE: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(1500));

/// Between two looks at whether a former process still has connections over a socket that is read for
/// nobody else.
pub const QUIC_LOOK: Duration = Duration::from_millis(500);

/// How long an endpoint stays for its clients to hear that it closes.
pub const QUIC_FAREWELL: Duration = Duration::from_millis(500);

/// Seconds for which a client may remember that there is HTTP/3 (RFC 7838, section 3.1): the day that is
/// the custom, and the default there.
pub const ALT_SVC_AGE: u32 = 86_400;
