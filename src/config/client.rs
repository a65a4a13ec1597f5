//! Who may use the admin socket beside its operators, and how much of it.

use crate::cert::client::ClientName;
use crate::cert::rights::Role;

/// `[[client]]`: somebody on whose behalf certificates are issued, or who looks on, or who operates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Its name, which no other has.
    pub name: ClientName,
    /// Users of this machine that are this client, by name or number.
    pub users: Vec<String>,
    /// Groups whose members are it, by name or number.
    pub groups: Vec<String>,
    /// What it may do.
    pub role: Role,
}

/// What each client may take of the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// Connections at a time.
    pub connections: usize,
    /// Requests that are worked on at a time.
    pub requests: usize,
    /// Requests within a minute; as many may come at once.
    pub per_minute: u32,
    /// The largest body of a request, in octets; of operators as well.
    pub body: usize,
}
