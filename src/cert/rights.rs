//! What clients may do: their roles, and the kinds of requests that they may make.
//!
//! Deliberately absent: who has which, and which request is of which kind.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// What one may do with certificates that are not one's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(u8);

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Client, Self::Observer, Self::Operator];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Observer => "observer",
            Self::Operator => "operator",
        }
    }

    /// Reads that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// What who has this role may ask for, if nothing narrows it.
    pub fn scopes(self) -> Scopes {
        match self {
            Self::Observer => Scopes::of(&[Scope::Read]),
            Self::Client => Scopes::of(&[Scope::Read, Scope::Issue, Scope::Deploy]),
            Self::Operator => Scopes::of(&Scope::ALL),
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

    /// Reads that word.
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

    #[test]
    fn roles_and_scopes_are_told_by_their_words() {
        assert_eq!(Role::Operator.scopes().to_string(), "read,issue,deploy,operate");
        assert!(!Role::Client.scopes().has(Scope::Operate));
        assert_eq!(Role::Observer.scopes().to_string(), "read");
        let some = Scopes::of(&[Scope::Issue, Scope::Read]);
        assert_eq!(some.to_string(), "read,issue");
        assert_eq!(some.and(Scopes::of(&[Scope::Issue, Scope::Operate])).to_string(), "issue");
        assert!(Scope::ALL.iter().all(|scope| Scope::parse(scope.word()) == Some(*scope)));
        assert!(Role::ALL.iter().all(|role| Role::parse(role.word()) == Some(*role)));
        assert_eq!((Scope::parse("all"), Role::parse("root")), (None, None));
    }
}
