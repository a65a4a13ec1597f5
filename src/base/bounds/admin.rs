//! Limits of the admin socket that keep those who use it apart.

use std::time::Duration;

/// Connections that a user may have who is neither an operator nor a client: room to show a token.
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

/// Bad tokens in a minute of one user, after which none of its tokens is looked at for a while.
pub const BAD_TOKENS_PER_MINUTE: u32 = 10;

/// Tokens that are kept at a time.
pub const TOKENS: usize = 1000;

/// How often it is written which tokens were used.
pub const USES_WRITTEN_EVERY: Duration = Duration::from_secs(600);

/// Largest file with a token.
pub const TOKEN_FILE: u64 = 4096;
