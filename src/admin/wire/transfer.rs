//! What travels when certificates and keys come in or go out. No private key in the clear is
//! among it.

use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::CertificateView;
use super::Problem;
use crate::cert::key::KeyAlgorithm;

/// `GET /v1/import/key`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportKey {
    /// The vault's public key for boxes (X25519), base64.
    pub key: String,
    /// SHA-256 of it, hexadecimal.
    pub fingerprint: String,
}

/// Body of `POST /v1/import`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportOrder {
    /// The certificates, PEM, in any order.
    pub chain: String,
    /// Name of the key in the box, 64 hexadecimal digits.
    pub key: String,
    /// Its kind.
    #[schema(value_type = String)]
    pub key_algorithm: KeyAlgorithm,
    /// Whether it may ever be handed out again.
    #[serde(default)]
    pub exportable: bool,
    /// Take it in although it ran out or is not valid yet.
    #[serde(default)]
    pub force: bool,
    /// The sender's half of the exchange of the box, base64.
    pub encapsulated: String,
    /// The box, base64.
    pub sealed: String,
}

/// Answer to `POST /v1/import`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Imported {
    /// The certificate as it is now.
    pub certificate: CertificateView,
    /// Serial number of the one whose place it took.
    pub replaced: Option<String>,
    /// What was put right, and what else is worth knowing.
    pub notes: Vec<String>,
}

/// Answer to `DELETE /v1/certificates/{selector}`
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// The certificate as it was.
    pub certificate: CertificateView,
}

/// What is asked along with a descriptor.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HandoverOrder {
    /// Write the private key of this certificate into the descriptor.
    Export {
        /// A name it is for, its id, or the beginning of the id.
        certificate: String,
    },
    /// Copy the database, in which every key is sealed, into the descriptor.
    Backup,
}

/// What became of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Handover {
    /// The key was written.
    Exported(Box<Exported>),
    /// The database was copied.
    BackedUp(BackedUp),
    /// It was not; the descriptor may hold a part of it, or nothing.
    Problem(Problem),
}

/// A key that was handed out.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Exported {
    /// The certificate it belongs to.
    pub certificate: CertificateView,
    /// The certificate and its issuers, PEM, leaf first.
    pub chain: String,
}

/// A database that was copied.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackedUp {
    /// Octets written.
    pub octets: u64,
    /// Certificates in it.
    pub certificates: u64,
}

/// The first octets of a connection that hands a descriptor over instead of speaking HTTP: no
/// method of HTTP begins like this. The last one is the version.
pub const HANDOVER: [u8; 2] = [0, 1];

/// The longest order that comes with a descriptor, in octets.
pub const HANDOVER_ORDER: usize = 1024;
