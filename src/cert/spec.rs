//! What is wanted: the specification that a certificate is ordered by, and its name.
//!
//! The identity of a certificate is a digest of its specification. So a changed site is another
//! certificate with a life of its own, while the former one goes on being served.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::client::ClientName;
use super::identifier::Identifier;
use super::key::KeyAlgorithm;
use super::key::KeyKind;

/// Who issues.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssuerName {
    /// The ACME CA whose directory is in the configuration; the URL is part of the identity.
    Acme(String),
    /// The CA of this machine.
    Internal,
    /// Somebody else, somewhere else: the certificate was brought here.
    Imported,
}

impl fmt::Display for IssuerName {
    /// `internal`, `imported`, or the host of the CA's directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal => f.write_str("internal"),
            Self::Imported => f.write_str("imported"),
            Self::Acme(directory) => {
                let rest = directory.split_once("://").map_or(directory.as_str(), |(_, r)| r);
                f.write_str(rest.split('/').next().unwrap_or(rest))
            }
        }
    }
}

/// Why a certificate is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It is the one the site should have.
    Primary,
    /// It keeps the port answering until the primary one is there.
    Bridge,
    /// It was brought here; no site of the file asks for it, and none need name it.
    Imported,
    /// It is for a name that no site of the file has, and whose DNS leads here.
    Onboarded,
    /// A client asked for it, for use elsewhere.
    Issued(Lot),
}

/// What tells one certificate that was issued for a client from all others, whatever is in it: a client
/// may have several for the same names, and asks for one by a key of idempotency.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lot(pub [u8; 8]);

impl Lot {
    /// The one that `client` means by `key`, always the same.
    pub fn of(client: &ClientName, key: &str) -> Self {
        // No name of a client has a line break in it.
        let text = ["v1", "lot", client.as_str(), key].join("\n");
        Self(head(text.as_bytes()))
    }
}

/// The first octets of a digest.
fn head(text: &[u8]) -> [u8; 8] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text);
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    head
}

impl Role {
    /// Whether the configuration asks for it. There may be very many of the others, which nobody
    /// holds in memory.
    pub const fn is_driven(self) -> bool {
        match self {
            Self::Primary | Self::Bridge => true,
            Self::Imported | Self::Onboarded | Self::Issued(_) => false,
        }
    }
}

/// Names, issuer, key and profile. Names are sorted and without repetition.
#[derive(Clone, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
pub struct Specification {
    names: Vec<Identifier>,
    /// Who issues it.
    pub issuer: IssuerName,
    /// The kind of key.
    pub key: KeyAlgorithm,
    /// The ACME profile asked for, if any.
    pub profile: Option<String>,
    /// Why it is wanted.
    pub role: Role,
}

/// The name of a certificate: the first eight octets of a digest of its specification.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificateId(pub [u8; 8]);

impl Specification {
    /// Sorts the names and drops repetitions.
    pub fn new(
        mut names: Vec<Identifier>,
        issuer: IssuerName,
        key: KeyAlgorithm,
        profile: Option<String>,
        role: Role,
    ) -> Self {
        names.sort();
        names.dedup();
        Self { names, issuer, key, profile, role }
    }

    /// The names, sorted.
    pub fn names(&self) -> &[Identifier] {
        &self.names
    }

    /// Whether a certificate of this specification is good for `host`.
    pub fn covers(&self, host: &Identifier) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }

    /// The certificate's name.
    pub fn id(&self) -> CertificateId {
        let role = match self.role {
            Role::Primary => "primary",
            Role::Bridge => "bridge",
            Role::Imported => "imported",
            Role::Onboarded => "onboarded",
            // Whatever else was asked for by the same key is found beside it, and refused.
            Role::Issued(Lot(lot)) => {
                return CertificateId(head(&[b"v1\nissued\n", &lot[..]].concat()));
            }
        };
        // Whoever issues for onboarded names may change: the certificate goes on being the same.
        let issuer = match &self.issuer {
            _ if self.role == Role::Onboarded => "any",
            IssuerName::Acme(directory) => directory.as_str(),
            IssuerName::Internal => "internal",
            IssuerName::Imported => "imported",
        };
        // What comes from elsewhere is succeeded by whatever its owner brings next of that kind:
        // clients that cannot check the one need the other beside it.
        let key = match (self.role, self.key.kind()) {
            // Up to schema 3 of the store: for any kind.
            (Role::Imported, KeyKind::Ecdsa) => "any",
            (Role::Imported, KeyKind::Rsa) => "rsa",
            (Role::Primary | Role::Bridge | Role::Onboarded | Role::Issued(_), _) => {
                self.key.text()
            }
        };
        let profile = self.profile.as_deref().filter(|_| self.role != Role::Onboarded);
        let mut text = ["v1", role, issuer, key, profile.unwrap_or("-")].join("\n");
        for name in &self.names {
            text.push('\n');
            text.push_str(&name.text());
        }
        CertificateId(head(text.as_bytes()))
    }
}

impl CertificateId {
    /// Reads sixteen lower-case hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |octet: u8| match octet {
            b'0'..=b'9' => Some(octet - b'0'),
            b'a'..=b'f' => Some(octet - b'a' + 10),
            _ => None,
        };
        let mut id = [0; 8];
        if text.len() != 2 * id.len() {
            return None;
        }
        for (to, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = *pair else { return None };
            *to = digit(high)? << 4 | digit(low)?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for CertificateId {
    /// Sixteen hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(names: &[&str], key: KeyAlgorithm) -> Specification {
        let names = names.iter().map(|n| Identifier::parse(n).unwrap()).collect();
        let issuer = IssuerName::Acme("https://ca.example/dir".to_owned());
        Specification::new(names, issuer, key, None, Role::Primary)
    }

    #[test]
    fn the_order_of_names_is_no_part_of_the_identity_but_the_key_is() {
        let one = spec(&["a.example", "b.example"], KeyAlgorithm::P256);
        let two = spec(&["b.example", "A.example", "a.example"], KeyAlgorithm::P256);
        assert_eq!(one.id(), two.id());
        assert_ne!(one.id(), spec(&["a.example", "b.example"], KeyAlgorithm::P384).id());
        assert_ne!(one.id(), spec(&["a.example"], KeyAlgorithm::P256).id());
    }

    #[test]
    fn what_is_brought_again_is_the_same_certificate_unless_its_key_is_of_another_kind() {
        let brought = |names: &[&str], key| {
            let names = names.iter().map(|n| Identifier::parse(n).unwrap()).collect();
            Specification::new(names, IssuerName::Imported, key, None, Role::Imported).id()
        };
        let one = brought(&["a.example"], KeyAlgorithm::P256);
        assert_eq!(one, brought(&["a.example"], KeyAlgorithm::P384));
        assert_ne!(one, brought(&["a.example"], KeyAlgorithm::Rsa2048));
        assert_ne!(one, brought(&["a.example", "b.example"], KeyAlgorithm::P256));
    }

    #[test]
    fn an_identity_never_changes_between_versions() {
        // Stored records are found by this number: a change here orphans every certificate.
        assert_eq!(spec(&["a.example"], KeyAlgorithm::P256).id().to_string(), GOLDEN);
        let mut brought = spec(&["a.example"], KeyAlgorithm::P256);
        (brought.issuer, brought.role) = (IssuerName::Imported, Role::Imported);
        assert_eq!(brought.id().to_string(), GOLDEN_BROUGHT);
        let lot = Lot::of(&ClientName::parse("panel").unwrap(), "order-1");
        let mut issued = spec(&["a.example"], KeyAlgorithm::P256);
        issued.role = Role::Issued(lot);
        assert_eq!(issued.id().to_string(), GOLDEN_ISSUED);
    }

    #[test]
    fn one_that_was_issued_is_known_by_client_and_key_of_idempotency_alone() {
        let client = |name| ClientName::parse(name).unwrap();
        let of = |lot, names: &[&str], key| Specification {
            role: Role::Issued(lot),
            ..spec(names, key)
        };
        let lot = Lot::of(&client("panel"), "1");
        let one = of(lot, &["a.example"], KeyAlgorithm::P256).id();
        assert_eq!(one, of(lot, &["b.example"], KeyAlgorithm::P384).id());
        for other in [Lot::of(&client("panel"), "2"), Lot::of(&client("other"), "1")] {
            assert_ne!(one, of(other, &["a.example"], KeyAlgorithm::P256).id());
        }
        // Where one ends and the other begins is no matter of taste.
        assert_ne!(Lot::of(&client("a"), "b"), Lot::of(&client("ab"), ""));
    }

    const GOLDEN: &str = "df926dd44aa90e60";
    const GOLDEN_BROUGHT: &str = "2017a32c2372cbef";
    const GOLDEN_ISSUED: &str = "eee587ebf5ee4242";
}
