//! A certificate from elsewhere, looked at before it is taken in: which of the file's
//! certificates is the leaf, in which order its issuers follow, and whether it should be served.
//!
//! Pure, and the same for whoever sends it and whoever receives it. Not here: whether anybody
//! trusts its issuer, which only the machine's own trust store knows.

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::chain::Chain;
use super::chain::ChainError;
use super::chain::Leaf;
use super::key::KeyAlgorithm;
use super::key::KeyId;
use super::spec::IssuerName;
use super::spec::Role;
use super::spec::Specification;
use crate::base::Timestamp;
use crate::base::bounds;

/// Signatures that no client of today takes (RFC 9155, RFC 6151), by their object identifiers.
const BROKEN: [(&str, &str); 3] = [
    ("1.2.840.113549.1.1.5", "it is signed with SHA-1"),
    ("1.2.840.10045.4.1", "it is signed with SHA-1"),
    ("1.2.840.113549.1.1.4", "it is signed with MD5"),
];

/// A certificate that may be taken in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Brought {
    /// Leaf first, each signed by the next, without the root.
    pub chain: Chain,
    /// What the leaf says.
    pub leaf: Leaf,
    /// The kind of its key.
    pub algorithm: KeyAlgorithm,
    /// What was put right, and what else is worth knowing.
    pub notes: Vec<String>,
}

/// Why a certificate is not taken in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BroughtError {
    /// It does not parse.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// More certificates than a chain has.
    #[error("{count} certificates found: expected at most {most}", most = bounds::IMPORT_CHAIN)]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// None of them is for the key.
    #[error(
        "the key does not belong to the certificate: the key is {key}, the certificate of {names} is for {found}"
    )]
    OtherKey {
        /// The key that was given.
        key: KeyId,
        /// The key that the first certificate is for.
        found: KeyId,
        /// Names of the first certificate.
        names: String,
    },
    /// It names nothing that can be served.
    #[error("the certificate names no host: expected subject alternative names")]
    NoNames,
    /// More names than are kept for one certificate.
    #[error("the certificate has {count} names: expected at most {most}", most = bounds::IMPORT_NAMES)]
    TooManyNames {
        /// How many there are.
        count: usize,
    },
    /// It ran out.
    #[error("the certificate ran out at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It is not good yet.
    #[error("the certificate is not valid before {at}")]
    NotYet {
        /// From when on it is.
        at: Timestamp,
    },
    /// It is one that signs others, or is not for servers.
    #[error("the certificate is not for a server: {0}")]
    NotForServers(&'static str),
    /// A key or a signature that can be broken.
    #[error("certificate number {number} is weak: {what}")]
    Weak {
        /// Its number in the chain, 1 for the leaf.
        number: usize,
        /// What is weak about it.
        what: String,
    },
    /// A kind of key that is not served here.
    #[error("the certificate's key is of a kind that is not served here: expected P-256, P-384 or RSA with 2048 to {most} bits", most = bounds::RSA_BITS_MOST)]
    Key,
}

impl BroughtError {
    /// Whether somebody who insists may have it all the same.
    pub const fn can_be_forced(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::NotYet { .. })
    }
}

impl Brought {
    /// Looks at the certificates in `pem`, in whatever order, for the key named `key`.
    ///
    /// With `force`, one that ran out or is not valid yet is taken as well.
    ///
    /// # Errors
    /// [`BroughtError`], in words for whoever brought it.
    pub fn examine(
        pem: &[u8],
        key: KeyId,
        now: Timestamp,
        force: bool,
    ) -> Result<Self, BroughtError> {
        let given = Chain::from_pem(pem)?;
        let count = given.certificates().len();
        if count > bounds::IMPORT_CHAIN {
            return Err(BroughtError::TooMany { count });
        }
        let mut notes = Vec::new();
        let chain = arrange(&given, key, &mut notes)?;
        let leaf = chain.leaf()?;
        if leaf.names.is_empty() {
            return Err(BroughtError::NoNames);
        }
        if leaf.names.len() > bounds::IMPORT_NAMES {
            return Err(BroughtError::TooManyNames { count: leaf.names.len() });
        }
        let algorithm = for_servers(&chain)?;
        if let Some(error) = untimely(&leaf, now) {
            if !force {
                return Err(error);
            }
            notes.push(format!("taken in all the same: {error}"));
        }
        Ok(Self { chain, leaf, algorithm, notes })
    }

    /// What a certificate like this is called by. Of its key only the kind is a part of that: a
    /// successor on another curve takes its place, one with an RSA key stands beside it.
    pub fn specification(&self) -> Specification {
        let (names, issuer) = (self.leaf.names.clone(), IssuerName::Imported);
        Specification::new(names, issuer, self.algorithm, None, Role::Imported)
    }
}

fn parse(der: &[u8], number: usize) -> Result<X509Certificate<'_>, ChainError> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| ChainError::Parse { number, reason: error.to_string() })
}

/// The certificate for `key`, and from each the one that issued it.
fn arrange(given: &Chain, key: KeyId, notes: &mut Vec<String>) -> Result<Chain, BroughtError> {
    let ders = given.certificates();
    let numbered = ders.iter().enumerate();
    let parsed: Result<Vec<_>, _> = numbered.map(|(at, der)| parse(der, at + 1)).collect();
    let parsed = parsed?;
    let named = |certificate: &X509Certificate<'_>| KeyId::of_spki(certificate.public_key().raw);
    let Some(first) = parsed.iter().position(|certificate| named(certificate) == key) else {
        let leaf = given.leaf()?;
        let names: Vec<_> = leaf.names.iter().take(3).map(ToString::to_string).collect();
        return Err(BroughtError::OtherKey { key, found: leaf.key, names: names.join(", ") });
    };
    let mut order = vec![first];
    while let Some(last) = order.last().and_then(|at| parsed.get(*at)) {
        let next = parsed.iter().enumerate().find(|(at, candidate)| {
            !order.contains(at) && !is_root(candidate) && issued(candidate, last)
        });
        match next {
            Some((at, _)) => order.push(at),
            None => break,
        }
    }
    let left = ders.len().saturating_sub(order.len());
    let roots = parsed
        .iter()
        .enumerate()
        .filter(|(at, certificate)| !order.contains(at) && is_root(certificate))
        .count();
    if roots > 0 {
        notes.push("the root certificate is left out: clients have it, or do not trust it".into());
    }
    if left > roots {
        notes.push(format!(
            "{} certificates that are no part of the chain are left out",
            left - roots
        ));
    }
    if order.iter().enumerate().any(|(place, at)| place != *at) {
        notes.push("the certificates were put in order, the leaf first".into());
    }
    if let Some(last) = order.last().and_then(|at| parsed.get(*at))
        && !is_root(last)
        && order.len() == 1
        && roots == 0
    {
        notes.push(format!(
            "no intermediate certificate is in the file: clients that do not have the one of {} \
             will not trust it",
            last.issuer()
        ));
    }
    let chain = order.iter().filter_map(|at| ders.get(*at).cloned()).collect();
    Ok(Chain::from_der(chain)?)
}

fn is_root(certificate: &X509Certificate<'_>) -> bool {
    certificate.subject().as_raw() == certificate.issuer().as_raw()
}

/// Whether `issuer` signed `certificate`: by name, by key, and by the signature itself, unless it is
/// one that nobody here can check.
fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    let subject_key = issuer.iter_extensions().find_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
        _ => None,
    });
    let authority_key = certificate.iter_extensions().find_map(|e| match e.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
        _ => None,
    });
    let keys_fit = match (subject_key, authority_key) {
        (Some(subject), Some(authority)) => subject == authority,
        _ => true,
    };
    let named = keys_fit && issuer.subject().as_raw() == certificate.issuer().as_raw();
    named && signed(issuer, certificate)
}

fn signed(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    match certificate.verify_signature(Some(issuer.public_key())) {
        // Whether such a signature is taken at all is looked at apart.
        Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => true,
        Err(_) => false,
    }
}

fn untimely(leaf: &Leaf, now: Timestamp) -> Option<BroughtError> {
    if leaf.validity.not_after < now {
        return Some(BroughtError::Expired { at: leaf.validity.not_after });
    }
    (leaf.validity.not_before > now)
        .then_some(BroughtError::NotYet { at: leaf.validity.not_before })
}

/// Whether clients of today take this chain from a server; the kind of the leaf's key.
fn for_servers(chain: &Chain) -> Result<KeyAlgorithm, BroughtError> {
    let mut algorithm = None;
    for (index, der) in chain.certificates().iter().enumerate() {
        let number = index + 1;
        let certificate = parse(der, number)?;
        let signed_with = certificate.signature_algorithm.algorithm.to_id_string();
        if let Some((_, what)) = BROKEN.iter().find(|(oid, _)| *oid == signed_with) {
            return Err(BroughtError::Weak { number, what: (*what).to_owned() });
        }
        let kind = kind(&certificate, number)?;
        if index == 0 {
            purpose(&certificate)?;
            algorithm = kind;
        }
    }
    algorithm.ok_or(BroughtError::Key)
}

/// The kind of a certificate's key; `None` for one that is not served here.
fn kind(
    certificate: &X509Certificate<'_>,
    number: usize,
) -> Result<Option<KeyAlgorithm>, BroughtError> {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => {
            let bits = key.key_size();
            if bits < 2048 {
                let what = format!("its RSA key has {bits} bits, expected at least 2048");
                return Err(BroughtError::Weak { number, what });
            }
            Ok((bits <= bounds::RSA_BITS_MOST).then_some(KeyAlgorithm::Rsa2048))
        }
        Ok(PublicKey::EC(_)) => {
            let parameters = certificate.public_key().algorithm.parameters.as_ref();
            let curve = parameters.and_then(|any| any.as_oid().ok());
            Ok(match curve {
                Some(oid) if oid == oid_registry::OID_EC_P256 => Some(KeyAlgorithm::P256),
                Some(oid) if oid == oid_registry::OID_NIST_EC_P384 => Some(KeyAlgorithm::P384),
                _ => None,
            })
        }
        _ => Ok(None),
    }
}

fn purpose(leaf: &X509Certificate<'_>) -> Result<(), BroughtError> {
    let unreadable = |_| BroughtError::NotForServers("its extensions cannot be read");
    if leaf.is_ca() && !is_root(leaf) {
        return Err(BroughtError::NotForServers("it is one that signs others"));
    }
    if let Some(usage) = leaf.extended_key_usage().map_err(unreadable)?
        && !usage.value.server_auth
        && !usage.value.any
    {
        return Err(BroughtError::NotForServers("its extended key usage lacks serverAuth"));
    }
    if let Some(usage) = leaf.key_usage().map_err(unreadable)?
        && !usage.value.digital_signature()
    {
        return Err(BroughtError::NotForServers("its key usage lacks digitalSignature"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "brought_tests.rs"]
mod tests;
