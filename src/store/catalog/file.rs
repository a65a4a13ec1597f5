//! The tables of the second copy, and how they are written.
//!
//! A certificate lies there without its intermediates, which are kept once for all that share
//! them. Every record carries a checksum, so that damage costs the names it lies under and no
//! others. Names need no checksum: what they lead to says itself which names it is for.

use std::collections::BTreeMap;

use redb::Database;
use redb::ReadTransaction;
use redb::ReadableTable;
use redb::Table;
use redb::TableDefinition;
use redb::TableError;
use redb::WriteTransaction;
use serde::Deserialize;
use serde::Serialize;

use super::Staged;
use crate::base::Timestamp;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Specification;
use crate::cert::validity::Validity;
use crate::store::codec;
use crate::store::error::StoreError;
use crate::store::open;

/// The version of these tables. A copy of another version is made anew from the store.
const SCHEMA: u64 = 1;

/// Numbers about the file itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const META_SCHEMA: &str = "schema";
const META_LINEAGE: &str = "lineage";

/// A name as text, to the certificates that have it: eight octets each.
pub(super) const NAMES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("names");

/// `CertificateId` to [`Entry`].
pub(super) const ENTRIES: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("entries");

/// SHA-256 of an intermediate to the intermediate (DER).
pub(super) const ISSUERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("issuers");

/// SHA-256 of an intermediate to the number of entries that are signed by it.
const ISSUER_USES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("issuer_uses");

/// One certificate as it lies there. What is long is borrowed from the record: it is copied once,
/// to where it is needed.
#[derive(Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Entry<'a> {
    pub(super) spec: Specification,
    pub(super) leaf: &'a [u8],
    /// What follows the leaf.
    pub(super) issuers: Vec<[u8; 32]>,
    pub(super) validity: Validity,
    pub(super) serial: String,
    pub(super) ari_id: Option<String>,
    pub(super) at: Timestamp,
    pub(super) key: KeyId,
    pub(super) algorithm: KeyAlgorithm,
    pub(super) usage: KeyUsage,
    pub(super) spki: &'a [u8],
    pub(super) sealed: &'a [u8],
}

/// Makes the tables in an empty file.
pub(super) fn make_tables(db: &Database, lineage: u64) -> Result<(), StoreError> {
    let txn = open::begin(db, true)?;
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(META_SCHEMA, SCHEMA)?;
        meta.insert(META_LINEAGE, lineage)?;
        txn.open_table(NAMES)?;
        txn.open_table(ENTRIES)?;
        txn.open_table(ISSUERS)?;
        txn.open_table(ISSUER_USES)?;
    }
    txn.commit()?;
    Ok(())
}

/// Which store the file was made from; `None` when its tables are not the ones of this page.
pub(super) fn lineage(txn: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if meta.get(META_SCHEMA)?.map(|schema| schema.value()) != Some(SCHEMA) {
        return Ok(None);
    }
    Ok(meta.get(META_LINEAGE)?.map(|lineage| lineage.value()))
}

/// Puts certificates in the place of their former selves, and takes others away, in one
/// transaction that is durable on return.
pub(super) fn apply(
    db: &Database,
    changes: &BTreeMap<CertificateId, Staged>,
) -> Result<(), StoreError> {
    let txn = open::begin(db, true)?;
    write(&txn, changes.iter().map(|(id, staged)| (*id, staged.served.as_deref())))?;
    txn.commit()?;
    Ok(())
}

/// Puts certificates into a file that is being made, but for those that are there as something
/// `newer`, in one transaction that is durable on return.
pub(super) fn fill(
    db: &Database,
    served: &[Served],
    newer: impl Fn(CertificateId) -> bool,
) -> Result<(), StoreError> {
    // What is newer and not written yet is written behind this transaction.
    let txn = open::begin(db, true)?;
    let older = served.iter().filter(|served| !newer(served.id));
    write(&txn, older.map(|served| (served.id, Some(served))))?;
    txn.commit()?;
    Ok(())
}

fn write<'a>(
    txn: &WriteTransaction,
    changes: impl Iterator<Item = (CertificateId, Option<&'a Served>)>,
) -> Result<(), StoreError> {
    let mut entries = txn.open_table(ENTRIES)?;
    let mut names = txn.open_table(NAMES)?;
    let mut issuers = txn.open_table(ISSUERS)?;
    let mut uses = txn.open_table(ISSUER_USES)?;
    for (id, served) in changes {
        // One that cannot be read is in the way of nothing: its names are those of its
        // successor, because they are a part of its identity.
        let old = entries.get(&id.0)?.and_then(|value| {
            let old = entry(id, value.value()).ok()?;
            Some((old.issuers, old.spec))
        });
        let former = old.iter().flat_map(|(issuers, _)| issuers.clone()).collect::<Vec<_>>();
        let mut present = Vec::new();
        if let Some(served) = served {
            for issuer in served.installed.chain.certificates().iter().skip(1) {
                let digest = digest(issuer);
                if issuers.get(&digest)?.is_none() {
                    issuers.insert(&digest, issuer.as_slice())?;
                }
                present.push(digest);
            }
            let packed = codec::encode(&Entry::new(served, present.clone()));
            entries.insert(&id.0, packed.as_slice())?;
            for name in served.spec.names() {
                enter(&mut names, name, id)?;
            }
        } else {
            entries.remove(&id.0)?;
            for name in old.iter().flat_map(|(_, spec)| spec.names()) {
                strike(&mut names, name, id)?;
            }
        }
        if former != present {
            for digest in present {
                let count = uses.get(&digest)?.map_or(0, |count| count.value());
                uses.insert(&digest, count.saturating_add(1))?;
            }
            for digest in former {
                let count = uses.get(&digest)?.map_or(0, |count| count.value());
                if count > 1 {
                    uses.insert(&digest, count - 1)?;
                } else {
                    uses.remove(&digest)?;
                    issuers.remove(&digest)?;
                }
            }
        }
    }
    Ok(())
}

fn enter(
    names: &mut Table<'_, &'static str, &'static [u8]>,
    name: &Identifier,
    id: CertificateId,
) -> Result<(), StoreError> {
    let name = name.text();
    let mut ids = names.get(&*name)?.map(|v| ids_of(v.value())).unwrap_or_default();
    if !ids.contains(&id) {
        ids.push(id);
        names.insert(&*name, bytes_of(&ids).as_slice())?;
    }
    Ok(())
}

fn strike(
    names: &mut Table<'_, &'static str, &'static [u8]>,
    name: &Identifier,
    id: CertificateId,
) -> Result<(), StoreError> {
    let name = name.text();
    let mut ids = names.get(&*name)?.map(|v| ids_of(v.value())).unwrap_or_default();
    ids.retain(|other| *other != id);
    if ids.is_empty() {
        names.remove(&*name)?;
    } else {
        names.insert(&*name, bytes_of(&ids).as_slice())?;
    }
    Ok(())
}

pub(super) fn ids_of(bytes: &[u8]) -> Vec<CertificateId> {
    bytes.as_chunks::<8>().0.iter().map(|id| CertificateId(*id)).collect()
}

fn bytes_of(ids: &[CertificateId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

impl<'a> Entry<'a> {
    pub(in crate::store) fn new(served: &'a Served, issuers: Vec<[u8; 32]>) -> Self {
        let Served { spec, installed, key, .. } = served;
        Self {
            spec: spec.clone(),
            leaf: installed.chain.certificates().first().map_or(&[], Vec::as_slice),
            issuers,
            validity: installed.validity,
            serial: installed.serial.clone(),
            ari_id: installed.ari_id.clone(),
            at: installed.at,
            key: key.id,
            algorithm: key.algorithm,
            usage: key.usage,
            spki: &key.spki,
            sealed: &key.sealed.0,
        }
    }
}

/// Reads what lies under `id`.
pub(super) fn entry(id: CertificateId, bytes: &[u8]) -> Result<Entry<'_>, StoreError> {
    let entry: Entry<'_> = codec::decode("entries", || id.to_string(), bytes)?;
    if entry.spec.id() == id {
        Ok(entry)
    } else {
        Err(unreadable(id, "it lies under the name of another"))
    }
}

pub(super) fn unreadable(id: CertificateId, reason: &'static str) -> StoreError {
    StoreError::Unreadable { table: "entries", key: id.to_string(), reason }
}

pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.as_ref());
    octets
}
