//! What the books have to do with certificates: each that a client asked for has one claim, which is
//! reserved, consumed or given back as its record says.
//!
//! It changes in the transaction that changes a record, and only here: whoever writes a record need not
//! know of the books, and can neither forget them nor count twice.

use redb::ReadTransaction;
use redb::ReadableTable as _;
use redb::WriteTransaction;
use serde::Deserialize;
use serde::Serialize;

use super::books::Books;
use super::books::Told;
use super::codec;
use super::error::StoreError;
use super::former;
use super::tables::CLAIMS;
use super::tables::ISSUED;
use super::turns;
use crate::base::Timestamp;
use crate::cert::allowance::Class;
use crate::cert::client::ClientName;
use crate::cert::issue::Claim;
use crate::cert::journal::Entry;
use crate::cert::lifecycle::Phase;
use crate::cert::pack::PackId;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// What is kept of the claim of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) client: ClientName,
    pub(super) class: Class,
    /// Where it came from; `None` for what is free.
    pub(super) source: Option<PackId>,
    pub(super) claim: Claim,
}

/// Makes the tables.
pub(super) fn make_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(CLAIMS)?;
    txn.open_table(ISSUED)?;
    turns::make_table(txn)
}

/// Follows the change of one record from `old` to `new`, of which `entries` tell, and returns what the
/// journal is to tell besides.
///
/// # Errors
/// [`StoreError::Overdrawn`] when the client may not have it, and those of writing.
pub(super) fn follow(
    txn: &WriteTransaction,
    old: Option<&Certificate>,
    new: Option<&Certificate>,
    entries: &[Entry],
) -> Result<Vec<Entry>, StoreError> {
    turns::follow(txn, old, new)?;
    let (before, after) = (old.and_then(Certificate::claim), new.and_then(Certificate::claim));
    // For all but the fewest changes that is all there is to do.
    if before == after {
        return Ok(Vec::new());
    }
    let Some(record) = new.filter(|_| after.is_some()).or(old) else { return Ok(Vec::new()) };
    let Some(issue) = &record.care.issue else { return Ok(Vec::new()) };
    let id = record.id();
    let known = held(txn, id)?;
    let (client, class) = match &known {
        Some(held) => (held.client.clone(), held.class),
        None => (issue.client.clone(), issue.class),
    };
    let mut books = Books::open(txn);
    let told = Told {
        at: moment(record, entries),
        certificate: Some(id),
        by: &issue.by,
        note: &first_name(record),
    };
    let whose = (&client, class);
    let source = known.as_ref().and_then(|held| held.source);
    // What was consumed stays so, whatever becomes of the certificate.
    let now = match (known.as_ref().map(|held| held.claim), after) {
        (None | Some(Claim::Refunded), Some(Claim::Reserved)) => {
            Some((Claim::Reserved, books.reserve(whose, told)?))
        }
        (None | Some(Claim::Refunded), Some(Claim::Consumed)) => {
            let source = books.reserve(whose, told)?;
            books.consume(whose, source, told)?;
            Some((Claim::Consumed, source))
        }
        (Some(Claim::Reserved), Some(Claim::Consumed)) => {
            books.consume(whose, source, told)?;
            Some((Claim::Consumed, source))
        }
        (Some(Claim::Reserved), Some(Claim::Refunded) | None) => {
            books.refund(whose, source, told)?;
            Some((Claim::Refunded, source))
        }
        (None, Some(Claim::Refunded)) => Some((Claim::Refunded, None)),
        (None, None)
        | (Some(Claim::Reserved), Some(Claim::Reserved))
        | (Some(Claim::Refunded), Some(Claim::Refunded) | None)
        | (Some(Claim::Consumed), _) => None,
    };
    let (mut claims, mut issued) = (txn.open_table(CLAIMS)?, txn.open_table(ISSUED)?);
    if after.is_none() {
        claims.remove(&id.0)?;
        issued.remove((client.as_str(), &id.0))?;
        former::remember(txn, id, &client)?;
    } else if let Some((claim, source)) = now {
        issued.insert((client.as_str(), &id.0), ())?;
        let held = Held { client, class, source, claim };
        claims.insert(&id.0, codec::encode(&held).as_slice())?;
    }
    Ok(books.news)
}

/// What is kept of the claim of `id`.
fn held(txn: &WriteTransaction, id: CertificateId) -> Result<Option<Held>, StoreError> {
    let table = txn.open_table(CLAIMS)?;
    let found = table.get(&id.0)?;
    found.map(|value| read(id, value.value())).transpose()
}

/// The claim that lies under `id`.
pub(super) fn read(id: CertificateId, bytes: &[u8]) -> Result<Held, StoreError> {
    codec::decode("claims", || id.to_string(), bytes)
}

/// Whether `record` is entered as it must be. `word` says what is not.
pub(super) fn agrees(txn: &ReadTransaction, record: &Certificate) -> Result<(), &'static str> {
    turns::agrees(txn, record)?;
    let unreadable = |_| "the books beside it cannot be read";
    let table = txn.open_table(CLAIMS).map_err(|_| "the list of claims is missing")?;
    let id = record.id();
    let found = table.get(&id.0).map_err(unreadable)?;
    match (record.claim(), found) {
        (None, None) => Ok(()),
        (Some(claim), Some(value)) => match read(id, value.value()) {
            Ok(held) if held.claim == claim => Ok(()),
            Ok(_) => Err("the books have it otherwise"),
            Err(_) => Err("its claim cannot be read"),
        },
        (Some(_), None) => Err("the books do not know it"),
        (None, Some(_)) => Err("the books have a claim for it, and nobody asked for it"),
    }
}

/// When a change was, as the journal has it, or else as the record does.
fn moment(record: &Certificate, entries: &[Entry]) -> Timestamp {
    let of_record = || match (&record.installed, &record.phase, &record.care.issue) {
        (Some(installed), _, _) => installed.at,
        (None, Phase::Halted { since, .. }, _) => *since,
        (None, _, Some(issue)) => issue.since,
        (None, _, None) => Timestamp::default(),
    };
    entries.last().map_or_else(of_record, |entry| entry.at)
}

fn first_name(record: &Certificate) -> String {
    record.spec.names().first().map(ToString::to_string).unwrap_or_default()
}
