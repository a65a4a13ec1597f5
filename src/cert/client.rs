//! The names of clients: those on whose behalf certificates are issued.
//!
//! Deliberately absent: who is one, which the configuration says.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::de::Error as _;

/// The longest name, in octets.
const LONGEST: usize = 64;

/// The name of a client: a lower-case letter or digit, then at most 63 of those, `.`, `_` and `-`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
#[serde(transparent)]
pub struct ClientName(Box<str>);

/// What is no name of a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the name of a client is 1 to 64 of a-z, 0-9, \".\", \"_\", \"-\", the first a letter or digit"
)]
pub struct NoClientName;

impl ClientName {
    /// Reads a name as it is written.
    ///
    /// # Errors
    /// [`NoClientName`].
    pub fn parse(text: &str) -> Result<Self, NoClientName> {
        let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit();
        let more = |octet: u8| plain(octet) || matches!(octet, b'.' | b'_' | b'-');
        let first = text.bytes().next().is_some_and(plain);
        if !first || text.len() > LONGEST || !text.bytes().all(more) {
            return Err(NoClientName);
        }
        Ok(Self(text.into()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_short() {
        for good in ["a", "0", "shop-panel", "a.b_c-d", &"x".repeat(64)] {
            assert_eq!(ClientName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", ".a", "_a", "A", "a b", "a/b", "\u{e4}", "a\n", &"x".repeat(65)] {
            assert_eq!(ClientName::parse(bad), Err(NoClientName), "{bad}");
        }
        assert!(serde_json::from_str::<ClientName>("\"A\"").is_err());
        let name = ClientName::parse("ann").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"ann\"");
    }
}
