//! How a record lies in a table: one version octet, eight octets of the body's SHA-256, and the
//! body in postcard.
//!
//! The checksum is ours because redb verifies its own only when it repairs a file: a flipped bit
//! in a chain would otherwise be served. It guards against accidents, not against an attacker.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;

/// The version of every record so far.
pub(super) const VERSION: u8 = 1;

const CHECKSUM: usize = 8;

/// Packs a record.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    #[expect(
        clippy::expect_used,
        reason = "postcard fails only on maps and sequences without \
        a length, and no record has one"
    )]
    let body = postcard::to_stdvec(record).expect("every record has known lengths");
    let mut bytes = Vec::with_capacity(1 + CHECKSUM + body.len());
    bytes.push(VERSION);
    bytes.extend(checksum(&body));
    bytes.extend(body);
    bytes
}

/// Unpacks the record `key` of `table`.
///
/// # Errors
/// [`StoreError::UnknownVersion`] and [`StoreError::Unreadable`], naming table and key.
pub(super) fn decode<T: DeserializeOwned>(
    table: &'static str,
    key: impl FnOnce() -> String,
    bytes: &[u8],
) -> Result<T, StoreError> {
    let reason = match split(bytes) {
        Some((VERSION, sum, body)) if sum == checksum(body) => {
            match postcard::take_from_bytes(body) {
                Ok((record, [])) => return Ok(record),
                Ok(_) => "octets follow the record",
                Err(_) => "it does not parse",
            }
        }
        Some((VERSION, _, _)) => "its checksum does not match",
        Some((found, _, _)) => {
            return Err(StoreError::UnknownVersion { table, key: key(), found, known: VERSION });
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
