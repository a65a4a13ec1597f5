//! A certificate and its issuers as they are sent in a handshake, and what the leaf says.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::asn1_rs;
use x509_parser::asn1_rs::Any;
use x509_parser::asn1_rs::Class;
use x509_parser::extensions::DistributionPointName;
use x509_parser::extensions::GeneralName;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identifier::Identifier;
use super::key::KeyId;
use super::validity::Validity;
use crate::base::Timestamp;

/// DER certificates, the leaf first, each signed by the next; never empty.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chain(Arc<[Vec<u8>]>);

/// Why bytes are no chain.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChainError {
    /// No certificate in it.
    #[error("no certificate found")]
    Empty,
    /// The PEM armour is damaged.
    #[error("not PEM: {0}")]
    Pem(&'static str),
    /// A certificate does not parse.
    #[error("certificate number {number} does not parse: {reason}")]
    Parse {
        /// Counted from 1, the leaf.
        number: usize,
        /// What the parser said.
        reason: String,
    },
}

/// What matters of a leaf.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaf {
    /// Subject alternative names that are names or addresses, sorted.
    pub names: Vec<Identifier>,
    /// When it is good.
    pub validity: Validity,
    /// The serial number in lower-case hexadecimal, as on the wire.
    pub serial: String,
    /// The key it speaks for.
    pub key: KeyId,
    /// The issuer's distinguished name, for display.
    pub issuer: String,
    /// The identifier of RFC 9773 section 4.1, if the leaf has an authority key identifier.
    pub ari_id: Option<String>,
}

/// What is wrong with the armour of a PEM text, in words that quote nothing of it: what does not
/// parse may well be a private key.
pub fn armour(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => {
            "the line -----END ...----- is missing, or all of it stands on one line"
        }
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins with -----BEGIN does not end with -----, or all of it stands on one line"
        }
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is no base64",
        pem::Error::SectionTooLarge => "a section of it is too large",
        _ => "it cannot be read",
    }
}

impl Chain {
    /// From DER certificates, leaf first. Each must parse.
    ///
    /// # Errors
    /// [`ChainError`] says which one does not.
    pub fn from_der(certificates: Vec<Vec<u8>>) -> Result<Self, ChainError> {
        if certificates.is_empty() {
            return Err(ChainError::Empty);
        }
        for (index, der) in certificates.iter().enumerate() {
            let parsed = X509Certificate::from_der(der);
            let reason = match parsed {
                Ok(([], _)) => continue,
                Ok(_) => "bytes follow the certificate".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(ChainError::Parse { number: index + 1, reason });
        }
        Ok(Self(certificates.into()))
    }

    /// From a PEM text, leaf first. Other PEM sections are passed over.
    ///
    /// # Errors
    /// [`ChainError`] says what is wrong.
    pub fn from_pem(text: &[u8]) -> Result<Self, ChainError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text)
            .map(|section| section.map(|der| der.as_ref().to_vec()))
            .collect();
        Self::from_der(certificates.map_err(|error| ChainError::Pem(armour(&error)))?)
    }

    /// A chain that was one when it was stored; nothing is parsed again.
    pub(crate) fn restored(certificates: Vec<Vec<u8>>) -> Self {
        Self(certificates.into())
    }

    /// The certificates, leaf first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }

    /// As rustls wants them.
    pub fn to_rustls(&self) -> Vec<CertificateDer<'static>> {
        self.0.iter().map(|der| CertificateDer::from(der.clone())).collect()
    }

    /// As PEM, leaf first.
    pub fn to_pem(&self) -> String {
        use base64::Engine as _;
        let mut pem = String::new();
        for der in self.0.iter() {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (line, tail) = rest.split_at(rest.len().min(64));
                pem.push_str(line);
                pem.push('\n');
                rest = tail;
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }

    /// Bits of the leaf's key, if it is one for RSA.
    pub fn rsa_bits(&self) -> Option<usize> {
        let (_, leaf) = X509Certificate::from_der(self.0.first()?).ok()?;
        match leaf.public_key().parsed() {
            Ok(x509_parser::public_key::PublicKey::RSA(key)) => Some(key.key_size()),
            _ => None,
        }
    }

    /// Where the issuer says that the list of those lies that it revoked (RFC 5280, section 4.2.1.13): the
    /// first place that plain HTTP leads to, for the list is signed and what is reached by HTTPS may be
    /// revoked itself; or else the first that HTTPS does.
    pub fn revocation_list(&self) -> Option<String> {
        let (_, leaf) = X509Certificate::from_der(self.0.first()?).ok()?;
        let points = leaf.iter_extensions().find_map(|one| match one.parsed_extension() {
            ParsedExtension::CRLDistributionPoints(points) => Some(points),
            _ => None,
        })?;
        let names = || {
            let full = points.iter().filter_map(|point| match &point.distribution_point {
                Some(DistributionPointName::FullName(names)) => Some(names),
                _ => None,
            });
            full.flatten()
        };
        ["http://", "https://"].into_iter().find_map(|scheme| {
            names().find_map(|name| match name {
                GeneralName::URI(url) if url.starts_with(scheme) => Some((*url).to_owned()),
                _ => None,
            })
        })
    }

    /// The key that the leaf speaks for. Reads no more of it than lies before that.
    ///
    /// # Errors
    /// When the leaf does not parse as far as there.
    pub fn leaf_key(&self) -> Result<KeyId, ChainError> {
        let der = self.0.first().ok_or(ChainError::Empty)?;
        spki(der)
            .map(KeyId::of_spki)
            .map_err(|error| ChainError::Parse { number: 1, reason: error.to_string() })
    }

    /// Reads the leaf.
    ///
    /// # Errors
    /// When it has no readable names.
    pub fn leaf(&self) -> Result<Leaf, ChainError> {
        use base64::Engine as _;
        let bad = |reason: String| ChainError::Parse { number: 1, reason };
        let der = self.0.first().ok_or(ChainError::Empty)?;
        let (_, cert) = X509Certificate::from_der(der).map_err(|e| bad(e.to_string()))?;
        let mut names = Vec::new();
        let san = cert.subject_alternative_name().map_err(|e| bad(e.to_string()))?;
        for name in san.iter().flat_map(|san| &san.value.general_names) {
            match name {
                GeneralName::DNSName(text) => {
                    names.push(Identifier::parse(text).map_err(|e| bad(format!("{text}: {e}")))?);
                }
                GeneralName::IPAddress(octets) => {
                    let address = <[u8; 4]>::try_from(*octets)
                        .map(std::net::IpAddr::from)
                        .or_else(|_| <[u8; 16]>::try_from(*octets).map(std::net::IpAddr::from))
                        .map_err(|_| bad("an address of odd length".to_owned()))?;
                    names.push(Identifier::Ip(address));
                }
                _ => {}
            }
        }
        names.sort();
        names.dedup();
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let ari_id = cert
            .iter_extensions()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(aki) => {
                    aki.key_identifier.as_ref().map(|id| id.0)
                }
                _ => None,
            })
            .map(|aki| format!("{}.{}", engine.encode(aki), engine.encode(cert.raw_serial())));
        Ok(Leaf {
            names,
            validity: Validity {
                not_before: Timestamp::from_unix_signed(cert.validity().not_before.timestamp()),
                not_after: Timestamp::from_unix_signed(cert.validity().not_after.timestamp()),
            },
            serial: cert.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            key: KeyId::of_spki(cert.public_key().raw),
            issuer: cert.issuer().to_string(),
            ari_id,
        })
    }
}

/// The subject public key info of a certificate (RFC 5280, section 4.1).
fn spki(der: &[u8]) -> Result<&[u8], asn1_rs::Err<asn1_rs::Error>> {
    let (_, certificate) = Any::from_der(der)?;
    let (_, to_be_signed) = Any::from_der(certificate.data)?;
    let (mut rest, first) = Any::from_der(to_be_signed.data)?;
    // The version, where there is one, serial number, signature, issuer, validity and subject.
    let before = if first.class() == Class::ContextSpecific { 5 } else { 4 };
    for _ in 0..before {
        rest = Any::from_der(rest)?.0;
    }
    let (behind, _) = Any::from_der(rest)?;
    Ok(rest.get(..rest.len() - behind.len()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_survives_pem_and_its_leaf_is_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![
            "b.example".to_owned(),
            "a.example".to_owned(),
            "127.0.0.1".to_owned(),
        ])
        .unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let chain = Chain::from_der(vec![der]).unwrap();
        assert_eq!(Chain::from_pem(chain.to_pem().as_bytes()).unwrap(), chain);
        let leaf = chain.leaf().unwrap();
        let names: Vec<_> = leaf.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.example", "b.example", "127.0.0.1"]);
        use rcgen::PublicKeyData as _;
        assert_eq!(leaf.key, KeyId::of_spki(&key.subject_public_key_info()));
        assert_eq!(chain.leaf_key(), Ok(leaf.key));
    }

    #[test]
    fn the_key_of_a_leaf_is_found_without_the_rest_and_cut_bytes_are_an_error() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let spki = parsed.public_key().raw;
        let at = der.windows(spki.len()).position(|window| window == spki).unwrap();
        // The first version has no field that says so (RFC 5280, section 4.1.2.1).
        let version = [0xa0, 3, 2, 1, 2];
        let head = der.windows(version.len()).position(|window| window == version).unwrap();
        let mut older = der.clone();
        older.drain(head..head + version.len());
        for place in [2, head - 2] {
            let length = u16::from_be_bytes([older[place], older[place + 1]]) - 5;
            older[place..place + 2].copy_from_slice(&length.to_be_bytes());
        }
        for whole in [&der, &older] {
            assert_eq!(Chain::restored(vec![whole.clone()]).leaf_key(), Ok(KeyId::of_spki(spki)));
        }
        for cut in 0..at + spki.len() {
            let chain = Chain::restored(vec![der[..cut].to_vec()]);
            assert!(chain.leaf_key().is_err(), "{cut} of {} octets", der.len());
        }
    }

    #[test]
    fn damaged_bytes_are_named_by_number() {
        assert_eq!(Chain::from_der(vec![]), Err(ChainError::Empty));
        assert_eq!(Chain::from_pem(b"nothing here"), Err(ChainError::Empty));
        let damaged = Chain::from_der(vec![vec![0x30, 0x03, 1, 2, 3]]);
        assert!(matches!(damaged, Err(ChainError::Parse { number: 1, .. })));
    }
}
