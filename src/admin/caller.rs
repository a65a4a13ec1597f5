//! Who asks: as which client, in which role, and for what.
//!
//! Deliberately absent: how that is found out, which `access` and `tokens` know, and which role a route
//! wants, which stands in the table of `ways`.

use tokio::time::Instant;

use super::access::Peer;
use super::tokens::Granted;
use crate::cert::client::ClientName;
use crate::cert::rights::Role;
use crate::cert::rights::Scopes;

/// Who asks. Every request has one, and so has every descriptor that is handed over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// Which client it is; none for who may use the socket without being one of the file.
    pub name: Option<ClientName>,
    /// What it may do with certificates that are not its own.
    pub role: Role,
    /// What it may ask for at all.
    pub scopes: Scopes,
    /// The process at the other end of the socket.
    pub peer: Peer,
    /// Who it is, as the journal writes it.
    pub told: String,
    /// Whether it is by a token, and until when that is good at most.
    pub token: Option<Bearer>,
}

/// Somebody who has shown a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bearer {
    /// When it runs out.
    pub until: Option<Instant>,
}

impl Caller {
    /// One that may do everything, being root, the daemon's user or of its group.
    pub fn operator(peer: Peer) -> Self {
        Self::new(None, Role::Operator, peer)
    }

    /// Whoever is at the other end as a client of the file, or as none.
    pub fn new(name: Option<ClientName>, role: Role, peer: Peer) -> Self {
        let user = match peer.pid {
            Some(pid) => format!("user {} (process {pid})", peer.uid),
            None => format!("user {}", peer.uid),
        };
        let told = match &name {
            Some(name) => format!("client {name}, {user}"),
            None => user,
        };
        Self { name, role, scopes: role.scopes(), peer, told, token: None }
    }

    /// Whoever shows a token: it counts, and who shows it does not.
    pub(super) fn bearer(granted: Granted, role: Role, peer: Peer) -> Self {
        let name = format!("by token {} ({:?})", granted.hash, granted.name);
        let caller = Self::new(Some(granted.client), role, peer);
        Self {
            scopes: granted.scopes.and(role.scopes()),
            told: format!("{} {name}", caller.told),
            token: Some(Bearer { until: granted.left.map(|left| Instant::now() + left) }),
            ..caller
        }
    }

    /// Whether it may know of what `owner` has; none is nobody's, so the house's own.
    pub fn sees(&self, owner: Option<&ClientName>) -> bool {
        match self.role {
            Role::Operator | Role::Observer => true,
            Role::Client => owner.is_some() && owner == self.name.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer { uid: 1000, gid: 1000, pid: Some(7) };

    #[test]
    fn a_client_sees_its_own_and_the_others_everything() {
        let (ann, bob) = (ClientName::parse("ann").unwrap(), ClientName::parse("bob").unwrap());
        let client = Caller::new(Some(ann.clone()), Role::Client, PEER);
        assert!(client.sees(Some(&ann)));
        assert!(!client.sees(Some(&bob)) && !client.sees(None));
        let nameless = Caller::new(None, Role::Client, PEER);
        assert!(!nameless.sees(None) && !nameless.sees(Some(&ann)));
        for role in [Role::Observer, Role::Operator] {
            let caller = Caller::new(Some(ann.clone()), role, PEER);
            assert!(caller.sees(Some(&bob)) && caller.sees(None));
        }
        assert_eq!(client.told, "client ann, user 1000 (process 7)");
        assert_eq!(Caller::operator(PEER).told, "user 1000 (process 7)");
    }
}
