//! Limits of the hand-over from one process to the next.

use std::time::Duration;

/// How long the new process may take until all but the store is ready: it opens a vault.
pub const PREPARING: Duration = Duration::from_secs(12);

/// How long it may then take to open the store and serve. Clients wait in the queue meanwhile.
pub const TAKING_OVER: Duration = Duration::from_secs(10);

/// How long what is said already may take to be heard.
pub const WORD: Duration = Duration::from_secs(5);

/// Octets of a word between the two: the names of sockets, or a report of what is wrong.
pub const WORDS: usize = 64 * 1024;

/// Sockets that travel with one word.
pub const SOCKETS_PER_WORD: usize = 128;

/// Processes that may still finish what they began: a further one is not started before one ends.
pub const ELDERS: usize = 64;
