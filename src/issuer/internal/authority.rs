//! Root and intermediate as they are kept, and the certificates they sign.
//!
//! Knows no clock and no store: moments come in, bytes go out.

use std::sync::Arc;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyUsagePurpose;
use rcgen::SerialNumber;
use ring::rand::SecureRandom as _;
use serde::Deserialize;
use serde::Serialize;

use super::super::csr::PublicHalf;
use super::super::csr::Recorder;
use super::super::csr::RemoteKey;
use super::super::csr::alternative_names;
use super::super::custody::Reseal;
use crate::base::Timestamp;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::SealedKey;
use crate::cert::ports::JobKey;
use crate::cert::ports::ToBeSigned;
use crate::cert::validity::Validity;

/// First octet of the stored form.
const VERSION: u8 = 1;

/// The last second of the year 9999, beyond which X.509 cannot count (RFC 5280, section 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_799;

/// A root and its intermediate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Authority {
    pub(super) root: Member,
    pub(super) intermediate: Member,
}

/// One certificate of the authority and the key behind it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// Common name of the subject.
    pub(super) name: String,
    /// DER.
    pub(super) certificate: Vec<u8>,
    pub(super) key: KeyHandle,
    pub(super) validity: Validity,
}

impl Authority {
    /// Whether it may sign leaves at `now`: the intermediate is in the first half of its life.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        let validity = self.intermediate.validity;
        let half = validity.not_before.plus(validity.life() / 2);
        self.root_outlives(now) && validity.contains(now) && now < half
    }

    /// Whether the root is still good at `until`, the end of an intermediate to be signed.
    ///
    /// Its beginning does not matter: a machine that boots with its clock in 1970 must not make a
    /// root that nobody trusts.
    pub(super) fn root_outlives(&self, until: Timestamp) -> bool {
        until <= self.root.validity.not_after
    }

    /// The stored form.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        postcard::to_extend(self, vec![VERSION])
            .map_err(|error| Failure::new(FailureKind::Store, error.to_string()))
    }

    /// Reads the stored form. A later version is refused, never overwritten: it may be a newer
    /// keyward's, and a fresh root would have to be trusted anew everywhere.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let damaged = |what: String| {
            Failure::new(FailureKind::Store, format!("the stored internal CA is {what}"))
                .with_remedy(crate::cert::failure::Remedy::Intervene)
        };
        match bytes.split_first() {
            Some((&VERSION, rest)) => {
                postcard::from_bytes(rest).map_err(|error| damaged(format!("damaged: {error}")))
            }
            Some((other, _)) => Err(damaged(format!("of the unknown version {other}"))),
            None => Err(damaged("empty".to_owned())),
        }
    }
}

/// A stored authority with its keys sealed anew; `None` when it can stay as it is.
pub(in crate::issuer) fn reseal_authority(
    stored: &[u8],
    reseal: &mut Reseal<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut authority = Authority::from_bytes(stored)?;
    let mut changed = false;
    for member in [&mut authority.root, &mut authority.intermediate] {
        if let Some(sealed) = reseal(&member.key.sealed.0)? {
            member.key.sealed = SealedKey(sealed.into());
            changed = true;
        }
    }
    if changed { authority.to_bytes().map(Some) } else { Ok(None) }
}

impl Member {
    /// A self-signed root.
    pub(super) fn root(
        name: String,
        key: KeyHandle,
        not_before: Timestamp,
        not_after: Timestamp,
        signing: &Arc<Recorder>,
    ) -> Result<Self, Failure> {
        let params =
            Self::ca_params(&name, not_before, not_after, BasicConstraints::Unconstrained)?;
        let signer =
            RemoteKey::new(key.clone(), ToBeSigned::Certificate, Arc::clone(signing) as _)?;
        let certificate =
            params.self_signed(&signer).map_err(|error| signing.explain(&error))?.der().to_vec();
        Ok(Self { name, certificate, key, validity: Validity { not_before, not_after } })
    }

    /// An intermediate signed by `self`, which can sign leaves only.
    pub(super) fn intermediate(
        &self,
        key: KeyHandle,
        not_before: Timestamp,
        not_after: Timestamp,
        signing: &Arc<Recorder>,
    ) -> Result<Self, Failure> {
        // A new intermediate gets a new name, so that clients never mix two up.
        let short: String = key.id.to_hex().chars().take(8).collect();
        let name = format!("{} - {short}", self.name);
        let mut params =
            Self::ca_params(&name, not_before, not_after, BasicConstraints::Constrained(0))?;
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let public = PublicHalf::of(&key.spki, key.algorithm)?;
        let certificate = self.sign(&params, &public, signing)?;
        Ok(Self { name, certificate, key, validity: Validity { not_before, not_after } })
    }

    /// A leaf for `names` and `key`, signed by `self`; DER.
    pub(super) fn leaf(
        &self,
        names: &[Identifier],
        key: &JobKey,
        not_before: Timestamp,
        not_after: Timestamp,
        signing: &Arc<Recorder>,
    ) -> Result<Vec<u8>, Failure> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = alternative_names(names)?;
        params.is_ca = IsCa::ExplicitNoCa;
        set_validity(&mut params, not_before, not_after);
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if key.algorithm() == KeyAlgorithm::Rsa2048 {
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params, &PublicHalf::of(key.spki(), key.algorithm())?, signing)
    }

    fn sign(
        &self,
        params: &CertificateParams,
        subject: &PublicHalf,
        signing: &Arc<Recorder>,
    ) -> Result<Vec<u8>, Failure> {
        let signer =
            RemoteKey::new(self.key.clone(), ToBeSigned::Certificate, Arc::clone(signing) as _)?;
        let mut own = CertificateParams::default();
        own.distinguished_name = distinguished(&self.name);
        own.key_usages = ca_usages();
        let issuer = Issuer::new(own, signer);
        params
            .signed_by(subject, &issuer)
            .map(|certificate| certificate.der().to_vec())
            .map_err(|error| signing.explain(&error))
    }

    fn ca_params(
        name: &str,
        not_before: Timestamp,
        not_after: Timestamp,
        constraints: BasicConstraints,
    ) -> Result<CertificateParams, Failure> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(name);
        params.is_ca = IsCa::Ca(constraints);
        params.key_usages = ca_usages();
        set_validity(&mut params, not_before, not_after);
        params.serial_number = Some(serial()?);
        Ok(params)
    }
}

fn ca_usages() -> Vec<KeyUsagePurpose> {
    vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// A positive serial number of 127 random bits (RFC 5280, section 4.1.2.2).
fn serial() -> Result<SerialNumber, Failure> {
    let mut octets = [0; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| Failure::new(FailureKind::Vault, "no random numbers from the system"))?;
    octets[0] = (octets[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

/// Sets the span, in the type of moments that rcgen brings along.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |moment: Timestamp| Duration::from_secs(moment.as_unix().min(END_OF_TIME));
    params.not_before = epoch + at(not_before);
    params.not_after = epoch + at(not_after);
}
