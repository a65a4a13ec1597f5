//! What a server showed in a handshake, in the terms in which it is compared and told.
//!
//! Nothing here is believed: the certificate may be anybody's.

use std::net::SocketAddr;

use ring::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::Timestamp;
use crate::base::bounds::deployment::probe::NAMES;

/// What is shown at a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// SHA-256 of the leaf, as DER.
    pub leaf: [u8; 32],
    /// Its serial number in lower-case hexadecimal, as on the wire.
    pub serial: String,
    /// From when it is good.
    pub not_before: Timestamp,
    /// Until when it is good.
    pub not_after: Timestamp,
    /// Its subject alternative names that are names or addresses, as they are written there.
    pub names: Vec<String>,
    /// The distinguished name of who issued it.
    pub issuer: String,
    /// Kind and size of its key.
    pub key: String,
    /// The version of TLS that was agreed on.
    pub protocol: &'static str,
    /// How many certificates were sent, with the leaf.
    pub chain_len: usize,
    /// Whether the server showed that it has the key. `false`: it signed in a way that cannot be
    /// checked here, or with a certificate that cannot.
    pub proven: bool,
    /// The addresses that show it.
    pub at: Vec<SocketAddr>,
    /// The addresses of the same name where nobody accepts a connection, and why: no client sees a
    /// former certificate there.
    pub silent: Vec<(SocketAddr, String)>,
    /// Addresses of the name that were not looked at, being too many.
    pub passed_over: usize,
}

/// SHA-256 of a certificate.
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    octets
}

impl Seen {
    /// From what was sent at one address, leaf first.
    ///
    /// # Errors
    /// In words, when the leaf cannot be read.
    pub(super) fn read(
        sent: &[CertificateDer<'_>],
        protocol: &'static str,
        proven: bool,
        at: SocketAddr,
    ) -> Result<Self, String> {
        let der = sent.first().ok_or("there is none")?;
        let (_, leaf) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let named = leaf.subject_alternative_name().ok().flatten();
        let names = named.iter().flat_map(|names| &names.value.general_names);
        Ok(Self {
            leaf: fingerprint(der),
            serial: leaf.raw_serial().iter().map(|octet| format!("{octet:02x}")).collect(),
            not_before: Timestamp::from_unix_signed(leaf.validity().not_before.timestamp()),
            not_after: Timestamp::from_unix_signed(leaf.validity().not_after.timestamp()),
            names: names.filter_map(written).take(NAMES).collect(),
            issuer: leaf.issuer().to_string(),
            key: kind(leaf.public_key()),
            protocol,
            chain_len: sent.len(),
            proven,
            at: vec![at],
            silent: Vec::new(),
            passed_over: 0,
        })
    }
}

fn written(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(octets) => {
            let four = <[u8; 4]>::try_from(*octets).map(std::net::IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*octets).map(Into::into));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// RFC 5480 and RFC 8410 name the curves.
fn kind(key: &SubjectPublicKeyInfo<'_>) -> String {
    match key.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA P-{}", point.key_size()),
        _ => match key.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => format!("of algorithm {other}"),
        },
    }
}
