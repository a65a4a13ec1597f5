//! How a certificate lies in its table: the record, and behind it what is to become of it besides,
//! where there is any of that.
//!
//! A record that has none of it is packed as before there was any, so that nothing changes for whoever
//! uses none of it.

use serde::Deserialize;

use super::codec;
use super::error::StoreError;
use crate::cert::care::Care;
use crate::cert::choice::Choice;
use crate::cert::issue::Issue;
use crate::cert::record::Certificate;
use crate::cert::standby::Standby;

/// The version of a record that has something behind it.
const WITH_CARE: u8 = 2;

/// The same with which of several CAs is asked behind that.
const WITH_CHOICE: u8 = 3;

/// The same with how it stands to another one behind that.
const WITH_STANDBY: u8 = 4;

/// The same with for whom it was issued behind that.
const WITH_ISSUE: u8 = 5;

/// Packs a record.
pub(super) fn pack(record: &Certificate) -> Vec<u8> {
    if record.care == Care::default() {
        return codec::encode(record);
    }
    let care = &record.care;
    if let Some(issue) = &care.issue {
        let all = (record, care, &care.choice, &care.standby, issue);
        return codec::encode_as(WITH_ISSUE, &all);
    }
    if let Some(standby) = &record.care.standby {
        let all = (record, &record.care, &record.care.choice, standby);
        return codec::encode_as(WITH_STANDBY, &all);
    }
    if record.care.choice == Choice::default() {
        return codec::encode_as(WITH_CARE, &(record, &record.care));
    }
    codec::encode_as(WITH_CHOICE, &(record, &record.care, &record.care.choice))
}

/// Unpacks the record `key` of `table`.
///
/// # Errors
/// [`StoreError::UnknownVersion`] and [`StoreError::Unreadable`], naming table and key.
pub(super) fn unpack(
    table: &'static str,
    key: impl Fn() -> String,
    bytes: &[u8],
) -> Result<Certificate, StoreError> {
    #[derive(Deserialize)]
    struct Both(Certificate, Care);
    #[derive(Deserialize)]
    struct Three(Certificate, Care, Choice);
    #[derive(Deserialize)]
    struct Four(Certificate, Care, Choice, Standby);
    #[derive(Deserialize)]
    struct All(Certificate, Care, Choice, Option<Standby>, Issue);
    match bytes.first() {
        Some(&WITH_CARE) => {
            let Both(record, care) = codec::decode_as(WITH_CARE, table, key, bytes)?;
            Ok(Certificate { care, ..record })
        }
        Some(&WITH_CHOICE) => {
            let Three(record, care, choice) = codec::decode_as(WITH_CHOICE, table, key, bytes)?;
            Ok(Certificate { care: Care { choice, ..care }, ..record })
        }
        Some(&WITH_STANDBY) => {
            let Four(record, care, choice, standby) =
                codec::decode_as(WITH_STANDBY, table, key, bytes)?;
            let standby = Some(standby);
            Ok(Certificate { care: Care { choice, standby, ..care }, ..record })
        }
        Some(&WITH_ISSUE) => {
            let All(record, care, choice, standby, issue) =
                codec::decode_as(WITH_ISSUE, table, key, bytes)?;
            let issue = Some(issue);
            Ok(Certificate { care: Care { choice, standby, issue, ..care }, ..record })
        }
        _ => codec::decode(table, key, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::cert::allowance::Class;
    use crate::cert::care::Accept;
    use crate::cert::care::Hosting;
    use crate::cert::care::Reason;
    use crate::cert::care::Revoked;
    use crate::cert::care::Revoking;
    use crate::cert::care::TakeOver;
    use crate::cert::choice::Left;
    use crate::cert::choice::Trouble;
    use crate::cert::client::ClientName;
    use crate::cert::failure::Failure;
    use crate::cert::failure::FailureKind;
    use crate::cert::identifier::Identifier;
    use crate::cert::key::KeyAlgorithm;
    use crate::cert::spec::CertificateId;
    use crate::cert::spec::IssuerName;
    use crate::cert::spec::Lot;
    use crate::cert::spec::Role;
    use crate::cert::spec::Specification;
    use crate::cert::standby::Cause;

    fn plain() -> Certificate {
        let names = vec![Identifier::parse("a.example").unwrap()];
        let (issuer, key) = (IssuerName::Imported, KeyAlgorithm::P256);
        Certificate::wanted(Specification::new(names, issuer, key, None, Role::Imported))
    }

    fn cared_for() -> Certificate {
        let at = Timestamp::from_unix(7);
        let care = Care {
            hosting: Hosting::Hosted { since: at, accept: Accept { dv: true, issuer: false } },
            take_over: Some(TakeOver { announced: at, at }),
            source: Some(IssuerName::Acme("https://ca.example/dir".to_owned())),
            revoking: Some(Revoking {
                serial: "0a".to_owned(),
                leaf: vec![1, 2, 3],
                reason: Reason::KeyCompromise,
                asked: at,
                attempt: 2,
                next: at,
                detail: None,
            }),
            revoked: Some(Revoked { serial: "09".to_owned(), at, reason: None }),
            ..Care::default()
        };
        Certificate { care, ..plain() }
    }

    fn standing_by(record: Certificate) -> Certificate {
        let standby = Standby {
            beside: CertificateId([9; 8]),
            first: false,
            back: true,
            since: Timestamp::from_unix(7),
            cause: Cause::Asked("root".to_owned()),
        };
        let care = Care { standby: Some(standby), ..record.care };
        Certificate { care, ..record }
    }

    fn issued(record: Certificate) -> Certificate {
        let issue = Issue {
            client: ClientName::parse("panel").unwrap(),
            class: Class::Wildcard,
            exportable: true,
            csr: Some(vec![48, 0]),
            request: [5; 32],
            since: Timestamp::from_unix(7),
            give_up: Timestamp::from_unix(8),
            by: "panel".to_owned(),
        };
        let mut record = record;
        (record.spec.role, record.care.issue) = (Role::Issued(Lot([7; 8])), Some(issue));
        record
    }

    fn by_another_ca() -> Certificate {
        let other = IssuerName::Acme("https://other.example/dir".to_owned());
        let failure = Failure::new(FailureKind::Unreachable, "no route");
        let at = Timestamp::from_unix(7);
        let choice = Choice {
            asked: Some(other.clone()),
            issued: Some(other.clone()),
            trouble: Some(Trouble { since: at, failures: 2 }),
            left: vec![Left::because(other, &failure, at)],
            revoker: None,
        };
        Certificate { care: Care { choice, ..cared_for().care }, ..plain() }
    }

    fn read(bytes: &[u8]) -> Result<Certificate, StoreError> {
        unpack("certificates", || "one".to_owned(), bytes)
    }

    #[test]
    fn what_is_to_become_of_a_certificate_survives_packing() {
        let standing = [standing_by(plain()), standing_by(by_another_ca())];
        let issued = [issued(plain()), issued(by_another_ca()), issued(standing_by(plain()))];
        let all = [plain(), cared_for(), by_another_ca()].into_iter();
        for record in all.chain(standing).chain(issued) {
            assert_eq!(read(&pack(&record)).unwrap(), record);
        }
    }

    #[test]
    fn a_record_without_any_of_it_is_packed_as_it_always_was() {
        assert_eq!(pack(&plain()), codec::encode(&plain()));
        assert_eq!(pack(&plain()).first(), Some(&codec::VERSION));
        assert_eq!(pack(&cared_for()).first(), Some(&WITH_CARE));
    }

    #[test]
    fn one_flipped_bit_is_noticed_wherever_it_is() {
        let standing = pack(&standing_by(by_another_ca()));
        let issued = pack(&issued(by_another_ca()));
        for whole in [pack(&cared_for()), pack(&by_another_ca()), standing, issued] {
            for at in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[at / 8] ^= 1 << (at % 8);
                assert!(read(&bytes).is_err(), "bit {at}");
            }
            assert!((0..whole.len()).all(|end| read(&whole[..end]).is_err()));
        }
    }
}
