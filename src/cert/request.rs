//! A certificate request that a client made with a key of its own (RFC 2986), read strictly.
//!
//! What a CA would refuse at the end of an order is refused here before one is opened. Not here: who
//! may have a certificate for such names. The key itself never was in this house.

use std::sync::Arc;

use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::GeneralName;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Extension;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::chain;
use super::identifier::Identifier;
use super::key::KeyAlgorithm;
use super::key::KeyId;
use super::rsa;
use crate::base::bounds;

/// Signatures that no CA takes: whoever makes one can make another request with the same.
const BROKEN: [&str; 3] = ["1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.113549.1.1.4"];

/// A request whose signature is its key's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientRequest {
    der: Arc<[u8]>,
    spki: Arc<[u8]>,
    names: Vec<Identifier>,
    key: KeyId,
    algorithm: KeyAlgorithm,
}

/// Why a request is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// More than any request has.
    #[error("it has more than {most} octets", most = bounds::orders::REQUEST)]
    Long,
    /// No armour in what looks like text.
    #[error(
        "no section CERTIFICATE REQUEST found: expected a request as openssl req -new writes it"
    )]
    NoSection,
    /// The PEM armour is damaged.
    #[error("not PEM: {0}")]
    Pem(&'static str),
    /// Two of them, of which one would be left out.
    #[error("several requests found: expected one")]
    Several,
    /// It does not parse.
    #[error("it does not parse as a certificate request (RFC 2986): {0}")]
    Parse(String),
    /// A key that CAs sign for, but not one of these.
    #[error("its key is {0}: expected P-256, P-384, or RSA with 2048 to {most} bits", most = bounds::RSA_BITS_MOST)]
    Kind(String),
    /// A key that can be broken.
    #[error("its key is weak: {0}")]
    Weak(String),
    /// The signature is not by this key.
    #[error("its signature is not by its key")]
    Signature,
    /// The signature is of a kind that can be forged.
    #[error("it is signed with SHA-1 or MD5: expected SHA-256, SHA-384 or SHA-512")]
    Digest,
    /// No subject alternative name.
    #[error(
        "it has no subject alternative names, and the common name alone names nobody: expected e.g. \
         openssl req -addext subjectAltName=DNS:shop.example"
    )]
    NoNames,
    /// A name that cannot be in a certificate.
    #[error("its name {text:?} is none: {reason}")]
    Name {
        /// As it stands there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that is neither a host nor an address.
    #[error(
        "it asks for {0}, which no certificate for servers gets: expected names of hosts and addresses"
    )]
    OtherName(&'static str),
    /// More names than are asked for at once.
    #[error("it has {count} names: expected at most {most}", most = bounds::NAMES_PER_CERTIFICATE)]
    TooManyNames {
        /// How many there are.
        count: usize,
    },
    /// A common name that the CA would count as one more name.
    #[error(
        "its common name {0:?} is not among its subject alternative names: add it there, or leave it out"
    )]
    CommonName(String),
    /// It asks for more than a certificate for a server.
    #[error("it asks for {0}, which no certificate for servers gets")]
    Extension(String),
}

impl ClientRequest {
    /// Reads a request in PEM, or else in DER.
    ///
    /// # Errors
    /// [`RequestError`], in words for whoever made it.
    pub fn read(file: &[u8]) -> Result<Self, RequestError> {
        // What is DER begins with the tag of a sequence.
        if file.first() == Some(&0x30) {
            return Self::from_der(file);
        }
        if file.len() > bounds::orders::REQUEST {
            return Err(RequestError::Long);
        }
        let mut sections = CertificateSigningRequestDer::pem_slice_iter(file);
        let first = sections.next().ok_or(RequestError::NoSection)?;
        let first = first.map_err(|error| RequestError::Pem(chain::armour(&error)))?;
        if sections.next().is_some() {
            return Err(RequestError::Several);
        }
        Self::from_der(&first)
    }

    /// Reads a request in DER.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > bounds::orders::REQUEST {
            return Err(RequestError::Long);
        }
        let bad = |error: &dyn std::fmt::Display| RequestError::Parse(error.to_string());
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|e| bad(&e))?;
        if !rest.is_empty() {
            return Err(bad(&"bytes follow the request"));
        }
        let info = &request.certification_request_info;
        if info.version.0 != 0 {
            return Err(bad(&"its version is not 1"));
        }
        let signed_with = request.signature_algorithm.algorithm.to_id_string();
        if BROKEN.contains(&signed_with.as_str()) {
            return Err(RequestError::Digest);
        }
        let algorithm = kind(&info.subject_pki)?;
        // The one part that the signature is not about, and that the parser reads as it pleases.
        if !is_plain(outside(der, info.raw)) {
            return Err(bad(&"how it is signed is not told as DER has it"));
        }
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let names = names(&request)?;
        for name in info.subject.iter_common_name() {
            common(name.as_str().unwrap_or_default(), &names)?;
        }
        let spki = info.subject_pki.raw;
        let key = KeyId::of_spki(spki);
        Ok(Self { der: der.into(), spki: spki.into(), names, key, algorithm })
    }

    /// As it goes to the CA.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// DER subject public key info.
    pub fn spki(&self) -> &Arc<[u8]> {
        &self.spki
    }

    /// The names that it asks for, sorted.
    pub fn names(&self) -> &[Identifier] {
        &self.names
    }

    /// The name of its key.
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// The kind of its key; one for RSA may be longer than its name says.
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }
}

/// What of a request is behind the part that is signed: how it is signed, and the signature.
fn outside<'a>(der: &'a [u8], signed: &[u8]) -> &'a [u8] {
    // Four octets at most say that all of it is a sequence, and how long it is.
    (2..=4).find_map(|head| der.get(head..)?.strip_prefix(signed)).unwrap_or_default()
}

/// Whether it is a sequence of an object identifier and nothing, or what goes with it, and a string of
/// whole octets (RFC 2986, section 4.2).
fn is_plain(rest: &[u8]) -> bool {
    let [0x30, length, algorithm @ ..] = rest else { return false };
    let Some((algorithm, signature)) = algorithm.split_at_checked(usize::from(*length)) else {
        return false;
    };
    let [0x06, length, rest @ ..] = algorithm else { return false };
    let parameters = rest.get(usize::from(*length)..).unwrap_or_default();
    let whole = matches!(
        signature,
        [0x03, 0x00..=0x7f, 0, ..] | [0x03, 0x81, _, 0, ..] | [0x03, 0x82, _, _, 0, ..]
    );
    whole && matches!(parameters, [] | [0x05, 0x00] | [0x30, ..])
}

/// Whether it is a key that CAs sign for and that is served here (Baseline Requirements, 6.1.5).
fn kind(spki: &SubjectPublicKeyInfo<'_>) -> Result<KeyAlgorithm, RequestError> {
    let other = |what: &str| Err(RequestError::Kind(what.to_owned()));
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => {
            let bits = key.key_size();
            let modulus = key.modulus;
            if bits < 2048 {
                let what = format!("RSA with {bits} bits, expected at least 2048");
                return Err(RequestError::Weak(what));
            }
            if bits > bounds::RSA_BITS_MOST {
                return other(&format!("RSA with {bits} bits"));
            }
            // An exponent of 1 encrypts nothing, and an even one belongs to no key.
            let exponent = key.exponent;
            let long = exponent.iter().skip_while(|octet| **octet == 0).count() > 1;
            let last = exponent.last().copied().unwrap_or_default();
            if last % 2 == 0 || (!long && last < 3) {
                return Err(RequestError::Weak("its exponent is even or 1".to_owned()));
            }
            match rsa::weakness(modulus) {
                Some(what) => Err(RequestError::Weak(what.to_owned())),
                None => Ok(KeyAlgorithm::Rsa2048),
            }
        }
        Ok(PublicKey::EC(_)) => {
            let curve = spki.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            match curve {
                Some(oid) if oid == oid_registry::OID_EC_P256 => Ok(KeyAlgorithm::P256),
                Some(oid) if oid == oid_registry::OID_NIST_EC_P384 => Ok(KeyAlgorithm::P384),
                _ => other("on another curve"),
            }
        }
        _ => other("of another kind"),
    }
}

/// The names in its only request for extensions, where nothing else is asked for that no server gets.
fn names(request: &X509CertificationRequest<'_>) -> Result<Vec<Identifier>, RequestError> {
    let attributes = request.certification_request_info.iter_attributes();
    let mut asked = attributes.filter_map(|one| match one.parsed_attribute() {
        ParsedCriAttribute::ExtensionRequest(asked) => Some(&asked.extensions),
        _ => None,
    });
    let extensions = asked.next().ok_or(RequestError::NoNames)?;
    if asked.next().is_some() {
        return Err(RequestError::Parse("it asks for extensions twice".to_owned()));
    }
    let mut names = None;
    for (at, extension) in extensions.iter().enumerate() {
        if extensions.iter().take(at).any(|former| former.oid == extension.oid) {
            let oid = extension.oid.to_id_string();
            return Err(RequestError::Parse(format!("it asks for extension {oid} twice")));
        }
        if let Some(found) = examine(extension)? {
            names = Some(found);
        }
    }
    let mut names = names.filter(|names| !names.is_empty()).ok_or(RequestError::NoNames)?;
    names.sort();
    names.dedup();
    let count = names.len();
    if count > bounds::NAMES_PER_CERTIFICATE {
        return Err(RequestError::TooManyNames { count });
    }
    Ok(names)
}

/// The names, if these are in it.
fn examine(extension: &X509Extension<'_>) -> Result<Option<Vec<Identifier>>, RequestError> {
    let asks = |what: &str| Err(RequestError::Extension(what.to_owned()));
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(found) => {
            found.general_names.iter().map(name).collect::<Result<_, _>>().map(Some)
        }
        ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
            asks("the right to sign certificates (CA:TRUE)")
        }
        ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
            asks("a key that signs certificates or lists of revoked ones")
        }
        ParsedExtension::ExtendedKeyUsage(usage) if !usage.server_auth && !usage.any => {
            asks("another purpose than that of a server")
        }
        ParsedExtension::NameConstraints(_)
        | ParsedExtension::PolicyConstraints(_)
        | ParsedExtension::PolicyMappings(_)
        | ParsedExtension::InhibitAnyPolicy(_) => asks("what only CAs have in theirs"),
        ParsedExtension::ParseError { .. } => {
            let oid = extension.oid.to_id_string();
            Err(RequestError::Parse(format!("extension {oid} is damaged")))
        }
        _ => Ok(None),
    }
}

fn name(name: &GeneralName<'_>) -> Result<Identifier, RequestError> {
    let (text, parsed) = match name {
        GeneralName::DNSName(text) => ((*text).to_owned(), Identifier::parse(text)),
        GeneralName::IPAddress(octets) => {
            let address = <[u8; 4]>::try_from(*octets)
                .map(std::net::IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from));
            let address = address
                .map_err(|_| RequestError::Parse("an address of odd length is in it".to_owned()))?;
            return Ok(Identifier::Ip(address));
        }
        GeneralName::RFC822Name(_) => return Err(RequestError::OtherName("an e-mail address")),
        GeneralName::URI(_) => return Err(RequestError::OtherName("a URI")),
        GeneralName::DirectoryName(_) => {
            return Err(RequestError::OtherName("the name of a directory"));
        }
        _ => return Err(RequestError::OtherName("a name of another kind")),
    };
    match parsed {
        // An address that is written as a name is none of either.
        Ok(name) if !matches!(name, Identifier::Ip(_)) => Ok(name),
        Ok(_) => Err(RequestError::Name { text, reason: "an address is no DNS name".to_owned() }),
        Err(error) => Err(RequestError::Name { text, reason: error.to_string() }),
    }
}

/// CAs count the common name among the names of an order (RFC 8555, section 7.4).
fn common(text: &str, names: &[Identifier]) -> Result<(), RequestError> {
    let known = Identifier::parse(text).is_ok_and(|name| names.contains(&name));
    // Nothing at all is what some programs leave in the field.
    if known || text.is_empty() {
        return Ok(());
    }
    Err(RequestError::CommonName(text.chars().take(64).collect()))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
