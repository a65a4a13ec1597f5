//! An account as the book holds it, in the forms that there were: every one of them is read, the newest
//! is written.
//!
//! Not here: what becomes of it, and what is sealed in it.

use serde::Deserialize;
use serde::Serialize;

use super::super::custody::Reseal;
use super::account::damaged;
use crate::base::Timestamp;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::key::KeyHandle;
use crate::cert::key::SealedKey;

/// First octet of the stored form.
const VERSION: u8 = 4;

/// The same while another key is to become the account's, and which of both the CA knows is not
/// known here.
const CHANGING: u8 = 5;

/// The same of both before it was stored since when an account is here.
const UNDATED: u8 = 2;
const UNDATED_CHANGING: u8 = 3;

/// The same where the key is a secret for main.
const BEFORE: u8 = 1;

/// What the book holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) url: String,
    pub(super) contact: Vec<String>,
    pub(super) key: KeyHandle,
    /// When it was opened, or adopted; not known of one from an earlier version.
    pub(super) since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Undated {
    url: String,
    contact: Vec<String>,
    key: KeyHandle,
}

#[derive(Deserialize)]
struct UndatedChanging {
    record: Undated,
    next: KeyHandle,
}

/// What it held at first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RecordBefore {
    pub(super) url: String,
    pub(super) contact: Vec<String>,
    pub(super) sealed_key: Vec<u8>,
}

/// What it holds while the key is being changed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changing {
    pub(super) record: Record,
    pub(super) next: KeyHandle,
}

pub(super) enum Stored {
    Now(Record),
    Before(RecordBefore),
    Changing(Changing),
}

impl From<Undated> for Record {
    fn from(Undated { url, contact, key }: Undated) -> Self {
        Self { url, contact, key, since: None }
    }
}

impl Record {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        stored(VERSION, self)
    }
}

impl Changing {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        stored(CHANGING, self)
    }
}

impl Stored {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let Some((version, rest)) = bytes.split_first() else { return Err(damaged("empty")) };
        let read = match *version {
            VERSION => postcard::from_bytes(rest).map(Self::Now),
            CHANGING => postcard::from_bytes(rest).map(Self::Changing),
            UNDATED => postcard::from_bytes::<Undated>(rest).map(|old| Self::Now(old.into())),
            UNDATED_CHANGING => postcard::from_bytes::<UndatedChanging>(rest)
                .map(|old| Self::Changing(Changing { record: old.record.into(), next: old.next })),
            BEFORE => postcard::from_bytes(rest).map(Self::Before),
            other => return Err(damaged(&format!("unknown version {other}"))),
        };
        read.map_err(|error| damaged(&error.to_string()))
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Now(record) => &record.url,
            Self::Before(record) => &record.url,
            Self::Changing(changing) => &changing.record.url,
        }
    }

    pub(super) fn contact(&self) -> &[String] {
        match self {
            Self::Now(record) => &record.contact,
            Self::Before(record) => &record.contact,
            Self::Changing(changing) => &changing.record.contact,
        }
    }

    /// The key that it has, or had before the change that is under way; none where that is a secret.
    pub(super) const fn key(&self) -> Option<&KeyHandle> {
        match self {
            Self::Now(record) => Some(&record.key),
            Self::Before(_) => None,
            Self::Changing(changing) => Some(&changing.record.key),
        }
    }

    /// When it was opened here, or adopted.
    pub(super) const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Now(record) => record.since,
            Self::Before(_) => None,
            Self::Changing(changing) => changing.record.since,
        }
    }
}

fn stored(version: u8, record: &impl Serialize) -> Result<Vec<u8>, Failure> {
    postcard::to_extend(record, vec![version])
        .map_err(|error| Failure::new(FailureKind::Store, error.to_string()))
}

/// A stored account with its key sealed anew; `None` when it can stay as it is.
pub(in crate::issuer) fn reseal_account(
    record: &[u8],
    reseal: &mut Reseal<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    match Stored::from_bytes(record)? {
        Stored::Now(mut record) => {
            let Some(sealed) = reseal(&record.key.sealed.0)? else { return Ok(None) };
            record.key.sealed = SealedKey(sealed.into());
            record.to_bytes().map(Some)
        }
        Stored::Changing(mut changing) => {
            let (now, next) = (&changing.record.key.sealed.0, &changing.next.sealed.0);
            let (now, next) = (reseal(now)?, reseal(next)?);
            if now.is_none() && next.is_none() {
                return Ok(None);
            }
            if let Some(sealed) = now {
                changing.record.key.sealed = SealedKey(sealed.into());
            }
            if let Some(sealed) = next {
                changing.next.sealed = SealedKey(sealed.into());
            }
            changing.to_bytes().map(Some)
        }
        Stored::Before(mut record) => {
            let Some(sealed) = reseal(&record.sealed_key)? else { return Ok(None) };
            record.sealed_key = sealed;
            stored(BEFORE, &record).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::key::KeyId;
    use crate::cert::key::KeyUsage;

    fn key(octet: u8) -> KeyHandle {
        KeyHandle {
            id: KeyId([octet; 32]),
            algorithm: KeyAlgorithm::P256,
            usage: KeyUsage::Account,
            spki: Arc::from(&b"spki"[..]),
            sealed: SealedKey(Arc::from(&b"sealed"[..])),
        }
    }

    #[test]
    fn what_was_stored_before_accounts_had_a_date_is_read_and_written_in_the_new_form() {
        let (url, contact) = ("https://ca.example/1".to_owned(), vec!["mailto:a@b".to_owned()]);
        let undated = (&url, &contact, key(1));
        let bytes = postcard::to_extend(&undated, vec![2]).unwrap();
        let Stored::Now(record) = Stored::from_bytes(&bytes).unwrap() else { panic!("another") };
        assert_eq!((&record.url, &record.contact, record.since), (&url, &contact, None));
        assert_eq!(record.to_bytes().unwrap()[0], 4);

        let bytes = postcard::to_extend(&(undated, key(2)), vec![3]).unwrap();
        let Stored::Changing(both) = Stored::from_bytes(&bytes).unwrap() else { panic!("another") };
        assert_eq!((both.record.key, both.next), (key(1), key(2)));
        // Sealed anew it is of the new form.
        let mut anew = |_: &[u8]| Ok(Some(b"anew".to_vec()));
        let bytes = reseal_account(&bytes, &mut anew).unwrap().unwrap();
        let Stored::Changing(both) = Stored::from_bytes(&bytes).unwrap() else { panic!("another") };
        assert_eq!(
            (bytes[0], &*both.next.sealed.0, &*both.record.key.sealed.0),
            (5, &b"anew"[..], &b"anew"[..])
        );
        for strange in [&[][..], &[4], &[9, 1, 1]] {
            assert!(Stored::from_bytes(strange).is_err());
        }
    }
}
