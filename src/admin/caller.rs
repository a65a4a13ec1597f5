//! Who asks: as which client, in which role, and for what.
//!
//! Deliberately absent: how that is found out, which `access` and `tokens` know, and which role a route
//! wants, which stands in the table of `ways`.

use std::fmt;

use super::access::Peer;
use crate::cert::client::ClientName;

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
}

/// What one may do with certificates that are not one's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Role {
    /// Nothing: it sees and changes its own, and learns of no other that it is there.
    Client,
    /// Sees everything and changes nothing.
    Observer,
    /// Everything.
    Operator,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Scope {
    /// To be shown something.
    Read,
    /// To have certificates issued, renewed, hosted and revoked.
    Issue,
    /// To have a private key handed out.
    Deploy,
    /// To change how the house runs.
    Operate,
}

/// Some kinds of requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Scopes(u8);

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
        let scopes = match role {
            Role::Observer => Scopes::of(&[Scope::Read]),
            Role::Client => Scopes::of(&[Scope::Read, Scope::Issue, Scope::Deploy]),
            Role::Operator => Scopes::ALL,
        };
        Self { name, role, scopes, peer, told }
    }

    /// Whether it may know of what `owner` has; none is nobody's, so the house's own.
    pub fn sees(&self, owner: Option<&ClientName>) -> bool {
        match self.role {
            Role::Operator | Role::Observer => true,
            Role::Client => owner.is_some() && owner == self.name.as_ref(),
        }
    }
}

impl Scope {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Read, Self::Issue, Self::Deploy, Self::Operate];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Issue => "issue",
            Self::Deploy => "deploy",
            Self::Operate => "operate",
        }
    }

    /// The one that is called so.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Issue => 2,
            Self::Deploy => 4,
            Self::Operate => 8,
        }
    }
}

impl Scopes {
    /// Every one.
    pub const ALL: Self = Self(15);

    /// These.
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |all, scope| all | scope.bit()))
    }

    /// Whether `scope` is among them.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Each of them, in order.
    pub fn each(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }
}

impl Role {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Observer => "observer",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.each().map(Scope::word).collect();
        f.write_str(&words.join(","))
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

    #[test]
    fn scopes_are_told_by_their_words() {
        assert_eq!(Scopes::ALL.to_string(), "read,issue,deploy,operate");
        let some = Scopes::of(&[Scope::Issue, Scope::Read]);
        assert_eq!(some.to_string(), "read,issue");
        assert_eq!(some.and(Scopes::of(&[Scope::Issue, Scope::Operate])).to_string(), "issue");
        assert!(Scope::ALL.iter().all(|scope| Scope::parse(scope.word()) == Some(*scope)));
        assert_eq!(Scope::parse("all"), None);
        assert!(!Caller::new(None, Role::Observer, PEER).scopes.has(Scope::Issue));
        assert!(!Caller::new(None, Role::Client, PEER).scopes.has(Scope::Operate));
    }
}
