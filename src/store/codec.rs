//! How a record lies in a table: one version octet, eight octets of the body's SHA-256, and the
//! body in postcard.
//!
//! The checksum is ours because redb verifies its own only when it repairs a file: a flipped bit
//! in a chain would otherwise be served. It guards against accidents, not against an attacker.

use serde::Deserialize;
use serde::Serialize;

use super::error::StoreError;

/// The version of every record so far.
pub(super) const VERSION: u8 = 1;

const CHECKSUM: usize = 8;

/// Packs a record.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    encode_as(VERSION, record)
}

/// The same as another version.
pub(super) fn encode_as<T: Serialize>(version: u8, record: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "postcard fails only on maps and sequences without \
        a length, and no record has one"
    )]
    let body = postcard::to_stdvec(record).expect("every record has known lengths");
    let mut bytes = seal(&body);
    if let Some(first) = bytes.first_mut() {
        *first = version;
    }
    bytes
}

/// Puts version and checksum before a body.
pub(super) fn seal(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + CHECKSUM + body.len());
    bytes.push(VERSION);
    bytes.extend(checksum(body));
    bytes.extend(body);
    bytes
}

/// Unpacks the record `key` of `table`.
///
/// # Errors
/// [`StoreError::UnknownVersion`] and [`StoreError::Unreadable`], naming table and key.
pub(super) fn decode<'a, T: Deserialize<'a>>(
    table: &'static str,
    key: impl FnOnce() -> String,
    bytes: &'a [u8],
) -> Result<T, StoreError> {
    decode_as(VERSION, table, key, bytes)
}

/// The same of another version.
pub(super) fn decode_as<'a, T: Deserialize<'a>>(
    version: u8,
    table: &'static str,
    key: impl FnOnce() -> String,
    bytes: &'a [u8],
) -> Result<T, StoreError> {
    let reason = match split(bytes) {
        Some((found, sum, body)) if found == version && sum == checksum(body) => {
            match postcard::take_from_bytes(body) {
                Ok((record, [])) => return Ok(record),
                Ok(_) => "octets follow the record",
                Err(_) => "it does not parse",
            }
        }
        Some((found, _, _)) if found == version => "its checksum does not match",
        Some((found, _, _)) => {
            return Err(StoreError::UnknownVersion { table, key: key(), found, known: version });
        }
        None => "it is too short",
    };
    Err(StoreError::Unreadable { table, key: key(), reason })
}

fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (version, rest) = bytes.split_first()?;
    let (sum, body) = rest.split_at_checked(CHECKSUM)?;
    Some((*version, sum, body))
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    let mut sum = [0; CHECKSUM];
    for (to, from) in sum.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::cert::identifier::Identifier;
    use crate::cert::journal::Entry;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyHandle;
    use crate::cert::key::KeyId;
    use crate::cert::key::KeyUsage;
    use crate::cert::key::SealedKey;
    use crate::cert::lifecycle::properties::phase;
    use crate::cert::record::Certificate;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Role;
    use crate::cert::spec::Specification;
    use crate::store::catalog::file;

    prop_compose! {
        fn certificate()(
            names in proptest::collection::vec("[a-z]{1,20}\\.example", 1..5),
            directory in proptest::option::of(".{0,40}"),
            profile: Option<String>,
            bridge: bool,
            phase in phase(),
            revision: u64,
        ) -> Certificate {
            let names = names.iter().map(|name| Identifier::parse(name).unwrap()).collect();
            let issuer = directory.map_or(IssuerName::Internal, IssuerName::Acme);
            let role = if bridge { Role::Bridge } else { Role::Primary };
            let spec = Specification::new(names, issuer, KeyAlgorithm::P384, profile, role);
            Certificate { phase, revision, ..Certificate::wanted(spec) }
        }
    }

    fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, StoreError> {
        decode("things", || "one".to_owned(), bytes)
    }

    proptest! {
        #[test]
        fn a_certificate_survives_packing(record in certificate()) {
            prop_assert_eq!(read::<Certificate>(&encode(&record)).unwrap(), record);
        }

        #[test]
        fn a_key_survives_packing(
            id: [u8; 32],
            spki in proptest::collection::vec(any::<u8>(), 0..200),
            sealed in proptest::collection::vec(any::<u8>(), 0..2000),
        ) {
            let handle = KeyHandle {
                id: KeyId(id),
                algorithm: KeyAlgorithm::Rsa2048,
                usage: KeyUsage::InternalCa,
                spki: Arc::from(spki),
                sealed: SealedKey(Arc::from(sealed)),
            };
            prop_assert_eq!(read::<KeyHandle>(&encode(&handle)).unwrap(), handle);
        }

        #[test]
        fn junk_is_an_error_and_never_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            prop_assert!(read::<Certificate>(&bytes).is_err());
            // Past the checksum too, where the parser itself must hold.
            let mut sealed = vec![VERSION];
            sealed.extend(checksum(&bytes));
            sealed.extend(&bytes);
            let _any = read::<Certificate>(&sealed);
            let _any = read::<KeyHandle>(&sealed);
            let _any = read::<Entry>(&sealed);
            let _any = read::<file::Entry<'_>>(&sealed);
        }

        #[test]
        fn one_flipped_bit_is_noticed(record in certificate(), at: usize, bit in 0u8..8) {
            let mut bytes = encode(&record);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(read::<Certificate>(&bytes).is_err());
        }
    }

    #[test]
    fn an_unknown_version_is_named_with_table_and_key() {
        let mut bytes = encode(&1u8);
        bytes[0] = 9;
        let error = read::<u8>(&bytes).unwrap_err();
        let shown = "the record one in things has version 9, and this one knows 1";
        assert_eq!(error.to_string(), shown);
    }

    #[test]
    fn octets_after_a_record_are_an_error() {
        let mut body = postcard::to_stdvec(&1u8).unwrap();
        body.push(0);
        let bytes = [&[VERSION][..], &checksum(&body), &body].concat();
        assert!(matches!(
            read::<u8>(&bytes),
            Err(StoreError::Unreadable { reason: "octets follow the record", .. })
        ));
    }
}
