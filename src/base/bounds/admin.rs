//! Limits of the admin socket that keep those who use it apart.

use std::time::Duration;

/// Connections that a user may have who is neither an operator nor a client: room to be told so.
pub const STRANGER_CONNECTIONS: usize = 4;

/// Connections that all of those may have together, whoever they are: users can make themselves many
/// numbers (user_namespaces(7)).
pub const STRANGERS: usize = 128;

/// Requests in a minute of a user that is neither.
pub const STRANGER_PER_MINUTE: u32 = 120;

/// Connections of operators that wait for a place among those that are served.
pub const OPERATORS_WAITING: usize = 1024;

/// How often the users and groups of clients are looked up again: one that was deleted, and whose number
/// goes to another, is that other no longer than this.
pub const LOOK_UP_AGAIN: Duration = Duration::from_secs(60);

/// How often those are forgotten that have used the socket and have gone.
pub const SWEEP: Duration = Duration::from_secs(5);

/// Frames of the journal that wait for a slow follower; further ones stay in the store.
pub const FOLLOW_QUEUE: usize = 16;
