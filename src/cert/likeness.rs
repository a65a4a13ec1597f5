//! What makes two certificates the same kind of thing to their owner: names, type, level and brand.
//!
//! Hosting compares these. Read from the leaf alone, so that what was brought and what was ordered
//! are held to the same measure.

use std::fmt;

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::care::Accept;
use super::chain::Chain;
use super::chain::ChainError;
use super::identifier::Identifier;

/// What a leaf is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Likeness {
    /// Its names, sorted.
    pub names: Vec<Identifier>,
    /// How far its issuer looked at its owner; `None` where it does not say.
    pub level: Option<Level>,
    /// The organisation that issued it.
    pub brand: String,
}

/// How far an issuer looked at the owner (CA/Browser Forum, object identifiers of policies).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Level {
    /// Only at who controls the name: 2.23.140.1.2.1.
    Domain,
    /// At a person, 2.23.140.1.2.3, or an organisation, 2.23.140.1.2.2, too.
    Organisation,
    /// Thoroughly: 2.23.140.1.1.
    Extended,
}

/// How many names of which kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Type {
    /// One name.
    Single,
    /// A wildcard, with the name that it stands on or without.
    Wildcard,
    /// Several names.
    Multi,
}

/// The policies by their object identifiers.
const POLICIES: [(&str, Level); 4] = [
    ("2.23.140.1.2.1", Level::Domain),
    ("2.23.140.1.2.2", Level::Organisation),
    ("2.23.140.1.2.3", Level::Organisation),
    ("2.23.140.1.1", Level::Extended),
];

/// A difference between a certificate and the one that is to follow it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Difference {
    /// It is for other names, or another number of them.
    #[error("its names would be {coming}, and are {present}")]
    Names {
        /// What there is, with its type.
        present: String,
        /// What would follow.
        coming: String,
    },
    /// Its issuer looks less far.
    #[error("its level would be {coming}, and is {present}")]
    Level {
        /// What there is.
        present: Level,
        /// What would follow.
        coming: Level,
    },
    /// Somebody else issues it.
    #[error("its issuer would be {coming}, and is {present}")]
    Brand {
        /// Who issued what there is.
        present: String,
        /// Who would issue what follows.
        coming: String,
    },
}

impl Difference {
    /// The word that agrees to it beforehand, where there is one.
    pub const fn agreed_by(&self) -> Option<&'static str> {
        match self {
            Self::Names { .. } => None,
            Self::Level { .. } => Some("dv"),
            Self::Brand { .. } => Some("issuer"),
        }
    }
}

impl Likeness {
    /// Reads the leaf of `chain`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(chain: &Chain) -> Result<Self, ChainError> {
        let names = chain.leaf()?.names;
        let bad = |reason: String| ChainError::Parse { number: 1, reason };
        let der = chain.certificates().first().ok_or(ChainError::Empty)?;
        let (_, leaf) = X509Certificate::from_der(der).map_err(|error| bad(error.to_string()))?;
        let level = leaf.iter_extensions().find_map(|extension| {
            let ParsedExtension::CertificatePolicies(policies) = extension.parsed_extension()
            else {
                return None;
            };
            let known =
                policies.iter().filter_map(|policy| level(&policy.policy_id.to_id_string()));
            known.max()
        });
        let issuer = leaf.issuer();
        let mut words = issuer.iter_organization().chain(issuer.iter_common_name());
        let brand = words.find_map(|word| word.as_str().ok()).unwrap_or_default().to_owned();
        Ok(Self { names, level, brand })
    }

    /// The type of it.
    pub fn kind(&self) -> Type {
        let wildcard = self.names.iter().find_map(|name| match name {
            Identifier::Wildcard(base) => Some(base),
            _ => None,
        });
        match (wildcard, self.names.as_slice()) {
            (Some(_), [_]) => Type::Wildcard,
            (Some(base), [one, other]) => {
                let plain = |name: &Identifier| matches!(name, Identifier::Dns(dns) if dns == base);
                if plain(one) || plain(other) { Type::Wildcard } else { Type::Multi }
            }
            (None, [_]) => Type::Single,
            _ => Type::Multi,
        }
    }

    /// The first difference of what is to follow that nobody agreed to. A level that is not said
    /// counts as the lowest for what is to follow, and as nothing to lose for what there is.
    pub fn difference(&self, coming: &Self, accept: Accept) -> Option<Difference> {
        if self.names != coming.names {
            let told = |one: &Self| {
                let names: Vec<_> = one.names.iter().map(ToString::to_string).collect();
                format!("{} ({})", names.join(" "), one.kind())
            };
            return Some(Difference::Names { present: told(self), coming: told(coming) });
        }
        let (present, next) = (self.level.unwrap_or(Level::Domain), coming.level);
        let next = next.unwrap_or(Level::Domain);
        if next < present && !(accept.dv && next == Level::Domain) {
            return Some(Difference::Level { present, coming: next });
        }
        let same = self.brand.eq_ignore_ascii_case(&coming.brand);
        (!same && !accept.issuer).then(|| Difference::Brand {
            present: self.brand.clone(),
            coming: coming.brand.clone(),
        })
    }
}

fn level(oid: &str) -> Option<Level> {
    POLICIES.iter().find(|(known, _)| *known == oid).map(|(_, level)| *level)
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain => "DV",
            Self::Organisation => "OV",
            Self::Extended => "EV",
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Wildcard => "wildcard",
            Self::Multi => "multi",
        })
    }
}

#[cfg(test)]
#[path = "likeness_tests.rs"]
mod tests;
