//! What the connection of a client may take.

/// The most that the task of a client's connection may take beside what is on the heap.
pub const CONNECTION_TASK: usize = 2048;

/// The most that a handshake takes in one piece while it lasts.
pub const HANDSHAKE_TASK: usize = 1024;
