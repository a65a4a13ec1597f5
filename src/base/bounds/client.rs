//! What a connection holds back when hands are shaken, and what its task may take.

use std::time::Duration;

/// How long a ticket waits for an answer that takes it along: most origins answer in less, and a
/// client that opens another connection so soon after the first has mostly opened it already.
pub const HELD_FOR: Duration = Duration::from_millis(100);

/// Octets that may wait on a connection: the longest tickets, several of them.
pub const HELD_MOST: usize = 4096;

/// Pieces that are written at once behind what waited. rustls has one for each record.
pub const HELD_SLICES: usize = 16;

/// How long a client says nothing before the buffers for what it says next are given back: longer
/// than a page and what belongs to it take.
pub const REST_AFTER: Duration = Duration::from_secs(1);

/// The most that the task of a client's connection may take beside what is on the heap.
pub const CONNECTION_TASK: usize = 2048;

/// The most that a handshake takes in one piece while it lasts.
pub const HANDSHAKE_TASK: usize = 1024;
