//! Limits of what is asked and told about accounts at CAs.

use std::time::Duration;

/// For one CA that is asked how an account stands.
pub const ASK: Duration = Duration::from_secs(10);

/// Before a CA that did not take other contacts is told again; twice as long each time.
pub const CONTACT_FIRST: Duration = Duration::from_secs(10);

/// At most so long.
pub const CONTACT_MOST: Duration = Duration::from_secs(3600);
