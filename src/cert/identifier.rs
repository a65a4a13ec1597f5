//! What a certificate speaks for: a DNS name (perhaps a wildcard) or an IP address.
//!
//! An [`Identifier`] is parsed once and is in its normal form from then on: IDNA applied, lower
//! case, no dot at the end (RFC 5890, RFC 8555 section 7.1.4, RFC 8738).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A DNS name in A-label form, or an IP address.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Identifier {
    /// A host name such as `shop.example`.
    Dns(DnsName),
    /// A wildcard such as `*.shop.example`; the name within is what follows the `*.`.
    Wildcard(DnsName),
    /// An address (RFC 8738).
    Ip(IpAddr),
}

/// A DNS name in normal form: lower-case A-labels joined by single dots, none at the end.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct DnsName(Box<str>);

/// Why a text is no identifier. The text says what is wrong with it, for the operator.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdentifierError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// More than 253 octets, or a label of more than 63.
    #[error("the name is too long: {what}")]
    TooLong {
        /// Which limit.
        what: &'static str,
    },
    /// A character or form that IDNA and the host-name rules refuse.
    #[error("the name has a part that no host name may have: {label:?}")]
    BadLabel {
        /// The offending label.
        label: String,
    },
    /// A star anywhere but as the whole first label.
    #[error("a wildcard stands only as the whole first label, as in *.example.org")]
    BadWildcard,
    /// A single label such as `intranet` that is not `localhost`.
    #[error("the name has only one part, which no public CA signs")]
    SingleLabel,
    /// It looks like an address but is none.
    #[error("the name looks like an IP address but is none")]
    BadAddress,
}

impl DnsName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label, if something is left: `b.c` for `a.b.c`.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, rest)| rest)
    }

    fn parse(text: &str) -> Result<Self, IdentifierError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(IdentifierError::Empty);
        }
        if text.len() > 1024 {
            return Err(IdentifierError::TooLong { what: "more than 253 characters" });
        }
        // Read back from a record and asked for by clients, nearly every name is in its normal form.
        let ascii = if is_plain(text) {
            Cow::Borrowed(text)
        } else {
            idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::STD3)
                .map_err(|_| IdentifierError::BadLabel { label: bad_label(text) })?
        };
        if ascii.len() > 253 {
            return Err(IdentifierError::TooLong { what: "more than 253 characters" });
        }
        for label in ascii.split('.') {
            if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
                return Err(IdentifierError::BadLabel { label: label.to_owned() });
            }
            if label.len() > 63 {
                return Err(IdentifierError::TooLong { what: "a part of more than 63 characters" });
            }
        }
        let last = ascii.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(IdentifierError::BadAddress);
        }
        Ok(Self(ascii.into_owned().into_boxed_str()))
    }
}

/// Whether IDNA leaves this as it is: nothing but lower-case letters, digits, hyphens and dots, and
/// no label that says it is encoded (RFC 5890, section 2.3.1).
fn is_plain(text: &str) -> bool {
    let plain = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    text.bytes().all(plain) && !text.contains("--")
}

/// The first label that does not survive on its own, for the message.
fn bad_label(text: &str) -> String {
    text.split('.')
        .find(|label| {
            label.is_empty()
                || idna::domain_to_ascii_cow(label.as_bytes(), idna::AsciiDenyList::STD3).is_err()
        })
        .unwrap_or(text)
        .chars()
        .take(64)
        .collect()
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Identifier {
    /// Parses a host name, wildcard or address as an operator writes it.
    ///
    /// # Errors
    /// [`IdentifierError`] names what is wrong.
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let text = text.trim();
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(address.to_canonical()));
        }
        if let Some(base) = text.strip_prefix("*.") {
            if base.contains('*') {
                return Err(IdentifierError::BadWildcard);
            }
            return DnsName::parse(base).map(Self::Wildcard);
        }
        if text.contains('*') {
            return Err(IdentifierError::BadWildcard);
        }
        let name = DnsName::parse(text)?;
        if name.parent().is_none() && name.as_str() != "localhost" {
            return Err(IdentifierError::SingleLabel);
        }
        Ok(Self::Dns(name))
    }

    /// The text of it, as [`fmt::Display`] writes it.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Dns(name) => Cow::Borrowed(name.as_str()),
            Self::Wildcard(base) => Cow::Owned(["*.", base.as_str()].concat()),
            Self::Ip(address) => Cow::Owned(address.to_string()),
        }
    }

    /// The wildcard that covers this name, if one can.
    pub fn wildcard(&self) -> Option<Self> {
        let parent = self.as_dns()?.parent()?;
        Some(Self::Wildcard(DnsName(parent.into())))
    }

    /// Whether a certificate for `self` is good for the host `other` (RFC 6125, section 6.4.3).
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wildcard(base), Self::Dns(name)) => name.parent() == Some(base.as_str()),
            (one, two) => one == two,
        }
    }

    /// The DNS name, if it is a plain one.
    pub const fn as_dns(&self) -> Option<&DnsName> {
        match self {
            Self::Dns(name) => Some(name),
            Self::Wildcard(_) | Self::Ip(_) => None,
        }
    }

    /// Whether this is a wildcard.
    pub const fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// Whether no public CA signs it: special-use names (RFC 6761, RFC 6762, RFC 8375, and
    /// `internal` as reserved by ICANN in 2024) and addresses that are not global.
    pub fn is_internal(&self) -> bool {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => {
                let last = name.as_str().rsplit('.').next().unwrap_or_default();
                matches!(last, "localhost" | "internal" | "local" | "test" | "lan" | "invalid")
                    || name.as_str() == "home.arpa"
                    || name.as_str().ends_with(".home.arpa")
            }
            Self::Ip(IpAddr::V4(v4)) => {
                let [a, b, ..] = v4.octets();
                v4.is_private()
                    || v4.is_loopback()
                    || v4.is_link_local()
                    || v4.is_unspecified()
                    || v4.is_documentation()
                    || v4.is_broadcast()
                    || (a == 100 && (64..128).contains(&b))
            }
            Self::Ip(IpAddr::V6(v6)) => {
                v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_unique_local()
                    || v6.is_unicast_link_local()
            }
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Identifier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        Self::parse(&text.0).map_err(serde::de::Error::custom)
    }
}

/// Borrowed from what is read, where that can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_once() {
        for (text, expected) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.Shop.example", "*.shop.example"),
            ("localhost", "localhost"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(Identifier::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", IdentifierError::Empty),
            ("a..example", IdentifierError::BadLabel { label: String::new() }),
            ("under_score.example", IdentifierError::BadLabel { label: "under_score".into() }),
            ("-a.example", IdentifierError::BadLabel { label: "-a".into() }),
            ("a*.example", IdentifierError::BadWildcard),
            ("*.*.example", IdentifierError::BadWildcard),
            ("intranet", IdentifierError::SingleLabel),
            ("1.2.3", IdentifierError::BadAddress),
            ("300.1.1.1", IdentifierError::BadAddress),
        ] {
            assert_eq!(Identifier::parse(text).unwrap_err(), expected, "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        assert!(Identifier::parse(&long).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_name_in_normal_form_is_what_idna_says(
            text in "((xn--)?[a-z0-9-]{0,6}\\.){0,3}(xn--)?[a-z0-9A-Z_-]{1,6}",
        ) {
            let idna = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::STD3);
            if is_plain(&text) {
                proptest::prop_assert_eq!(idna.ok(), Some(Cow::Borrowed(text.as_str())));
            }
        }

        #[test]
        fn the_text_of_a_name_is_read_as_the_same_name(text in "(\\*\\.)?[a-z0-9.-]{1,40}|::[1-9]") {
            if let Ok(name) = Identifier::parse(&text) {
                proptest::prop_assert_eq!(Identifier::parse(&name.text()), Ok(name.clone()));
                proptest::prop_assert_eq!(name.text(), name.to_string());
            }
        }
    }

    #[test]
    fn a_wildcard_covers_one_label_and_not_its_base() {
        let star = Identifier::parse("*.shop.example").unwrap();
        let covers = |name: &str| star.covers(&Identifier::parse(name).unwrap());
        assert!(covers("a.shop.example") && covers("*.shop.example"));
        assert!(!covers("shop.example") && !covers("a.b.shop.example"));
    }

    #[test]
    fn names_that_no_public_ca_signs_are_known() {
        for name in ["localhost", "nas.internal", "*.x.internal", "10.1.2.3", "::1", "fd00::1"] {
            assert!(Identifier::parse(name).unwrap().is_internal(), "{name}");
        }
        for name in ["example.org", "8.8.8.8", "2606:4700::1"] {
            assert!(!Identifier::parse(name).unwrap().is_internal(), "{name}");
        }
    }
}
