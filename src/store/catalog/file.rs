//! The tables of the second copy, and its transactions.
//!
//! A certificate lies there without its intermediates, which are kept once for all that share
//! them. Every record carries a checksum, so that damage costs the names it lies under and no
//! others. Names need no checksum: what they lead to says itself which names it is for.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use redb::Database;
use redb::ReadTransaction;
use redb::ReadableTable;
use redb::ReadableTableMetadata as _;
use redb::Table;
use redb::TableDefinition;
use redb::TableError;
use redb::WriteTransaction;
use serde::Deserialize;
use serde::Serialize;

use super::Staged;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::chain::Chain;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::key::SealedKey;
use crate::cert::record::Installed;
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
const NAMES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("names");

/// `CertificateId` to [`Entry`].
const ENTRIES: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("entries");

/// SHA-256 of an intermediate to the intermediate (DER).
const ISSUERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("issuers");

/// SHA-256 of an intermediate to the number of entries that are signed by it.
const ISSUER_USES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("issuer_uses");

/// One certificate as it lies there.
#[derive(Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Entry {
    spec: Specification,
    leaf: Vec<u8>,
    /// What follows the leaf.
    issuers: Vec<[u8; 32]>,
    validity: Validity,
    serial: String,
    ari_id: Option<String>,
    at: Timestamp,
    key: KeyId,
    algorithm: KeyAlgorithm,
    usage: KeyUsage,
    spki: Arc<[u8]>,
    sealed: SealedKey,
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

/// How many certificates there are.
pub(super) fn count(txn: &ReadTransaction) -> Result<u64, StoreError> {
    Ok(txn.open_table(ENTRIES)?.len()?)
}

/// Reads everything, where that is short.
///
/// # Errors
/// Names the first record that is not as it was written.
pub(super) fn look(txn: &ReadTransaction) -> Result<(), StoreError> {
    if count(txn)? > bounds::STORE_INSPECTED {
        return Ok(());
    }
    for row in txn.open_table(ENTRIES)?.iter()? {
        let (id, value) = row?;
        consider(txn, CertificateId(*id.value()), value.value())?;
    }
    Ok(())
}

/// Looks at some `limit` certificates behind `after`, and gives the last of them; `None` when
/// there was none. One that is not as it was written is told to `damaged`.
///
/// # Errors
/// When the file itself cannot be read.
pub(super) fn step(
    txn: &ReadTransaction,
    after: Option<CertificateId>,
    limit: usize,
    mut damaged: impl FnMut(CertificateId, StoreError),
) -> Result<Option<CertificateId>, StoreError> {
    let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
    let mut last = None;
    for row in txn.open_table(ENTRIES)?.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
        let (id, value) = row?;
        let id = CertificateId(*id.value());
        last = Some(id);
        match consider(txn, id, value.value()) {
            Err(error) if error.is_disk() => return Err(error),
            Err(error) => damaged(id, error),
            Ok(()) => {}
        }
    }
    Ok(last)
}

/// Whether one can be read, and is found by its names.
fn consider(txn: &ReadTransaction, id: CertificateId, bytes: &[u8]) -> Result<(), StoreError> {
    let served = served(txn, id, bytes)?;
    for name in served.spec.names() {
        if !named(txn, name)?.contains(&id) {
            return Err(unreadable(id, "it is not found by its name"));
        }
    }
    Ok(())
}

/// The certificates that have this very name.
pub(super) fn named(
    txn: &ReadTransaction,
    name: &Identifier,
) -> Result<Vec<CertificateId>, StoreError> {
    let found = txn.open_table(NAMES)?.get(name.to_string().as_str())?;
    Ok(found.map(|ids| ids_of(ids.value())).unwrap_or_default())
}

/// The certificates that have this very name, or the wildcard one label up.
pub(super) fn covering(
    txn: &ReadTransaction,
    host: &Identifier,
) -> Result<Vec<CertificateId>, StoreError> {
    let mut ids = named(txn, host)?;
    if let Some(star) = host.wildcard() {
        ids.extend(named(txn, &star)?);
    }
    Ok(ids)
}

/// One certificate with its intermediates.
pub(super) fn get(txn: &ReadTransaction, id: CertificateId) -> Result<Option<Served>, StoreError> {
    let found = txn.open_table(ENTRIES)?.get(&id.0)?;
    found.map(|value| served(txn, id, value.value())).transpose()
}

/// Whether there is one.
pub(super) fn has(txn: &ReadTransaction, id: CertificateId) -> Result<bool, StoreError> {
    Ok(txn.open_table(ENTRIES)?.get(&id.0)?.is_some())
}

/// The names of at most `limit` certificates behind `after`, readable or not.
pub(super) fn ids(
    txn: &ReadTransaction,
    after: Option<CertificateId>,
    limit: usize,
) -> Result<Vec<CertificateId>, StoreError> {
    let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0));
    let mut ids = Vec::new();
    for row in txn.open_table(ENTRIES)?.range::<&[u8; 8]>((from, Bound::Unbounded))?.take(limit) {
        ids.push(CertificateId(*row?.0.value()));
    }
    Ok(ids)
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
        let old = entries.get(&id.0)?.map(|value| entry(id, value.value()));
        // One that cannot be read is in the way of nothing: its names are those of its
        // successor, because they are a part of its identity.
        let old = old.and_then(Result::ok);
        let former: Vec<[u8; 32]> = old.iter().flat_map(|old| old.issuers.clone()).collect();
        let mut present = Vec::new();
        if let Some(served) = served {
            let mut certificates = served.installed.chain.certificates().iter();
            let leaf = certificates.next().cloned().unwrap_or_default();
            for issuer in certificates {
                let digest = digest(issuer);
                if issuers.get(&digest)?.is_none() {
                    issuers.insert(&digest, issuer.as_slice())?;
                }
                present.push(digest);
            }
            let packed = codec::encode(&Entry::new(served, leaf, present.clone()));
            entries.insert(&id.0, packed.as_slice())?;
            for name in served.spec.names() {
                enter(&mut names, name, id)?;
            }
        } else {
            entries.remove(&id.0)?;
            for name in old.iter().flat_map(|old| old.spec.names()) {
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
    let name = name.to_string();
    let mut ids = names.get(name.as_str())?.map(|v| ids_of(v.value())).unwrap_or_default();
    if !ids.contains(&id) {
        ids.push(id);
        names.insert(name.as_str(), bytes_of(&ids).as_slice())?;
    }
    Ok(())
}

fn strike(
    names: &mut Table<'_, &'static str, &'static [u8]>,
    name: &Identifier,
    id: CertificateId,
) -> Result<(), StoreError> {
    let name = name.to_string();
    let mut ids = names.get(name.as_str())?.map(|v| ids_of(v.value())).unwrap_or_default();
    ids.retain(|other| *other != id);
    if ids.is_empty() {
        names.remove(name.as_str())?;
    } else {
        names.insert(name.as_str(), bytes_of(&ids).as_slice())?;
    }
    Ok(())
}

fn ids_of(bytes: &[u8]) -> Vec<CertificateId> {
    bytes.as_chunks::<8>().0.iter().map(|id| CertificateId(*id)).collect()
}

fn bytes_of(ids: &[CertificateId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

impl Entry {
    pub(in crate::store) fn new(served: &Served, leaf: Vec<u8>, issuers: Vec<[u8; 32]>) -> Self {
        let Served { spec, installed, key, .. } = served.clone();
        Self {
            spec,
            leaf,
            issuers,
            validity: installed.validity,
            serial: installed.serial,
            ari_id: installed.ari_id,
            at: installed.at,
            key: key.id,
            algorithm: key.algorithm,
            usage: key.usage,
            spki: key.spki,
            sealed: key.sealed,
        }
    }
}

fn entry(id: CertificateId, bytes: &[u8]) -> Result<Entry, StoreError> {
    let entry: Entry = codec::decode("entries", || id.to_string(), bytes)?;
    if entry.spec.id() == id {
        Ok(entry)
    } else {
        Err(unreadable(id, "it lies under the name of another"))
    }
}

fn served(txn: &ReadTransaction, id: CertificateId, bytes: &[u8]) -> Result<Served, StoreError> {
    let entry = entry(id, bytes)?;
    let mut chain = vec![entry.leaf];
    if !entry.issuers.is_empty() {
        let issuers = txn.open_table(ISSUERS)?;
        for wanted in &entry.issuers {
            let found = issuers.get(wanted)?;
            let found = found.ok_or_else(|| unreadable(id, "its issuer is missing"))?;
            if digest(found.value()) != *wanted {
                return Err(unreadable(id, "its issuer is not as it was written"));
            }
            chain.push(found.value().to_vec());
        }
    }
    let installed = Installed {
        chain: Chain::restored(chain),
        key: entry.key,
        validity: entry.validity,
        serial: entry.serial,
        ari_id: entry.ari_id,
        at: entry.at,
    };
    let key = KeyHandle {
        id: entry.key,
        algorithm: entry.algorithm,
        usage: entry.usage,
        spki: entry.spki,
        sealed: entry.sealed,
    };
    Ok(Served { id, spec: entry.spec, installed, key })
}

fn unreadable(id: CertificateId, reason: &'static str) -> StoreError {
    StoreError::Unreadable { table: "entries", key: id.to_string(), reason }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.as_ref());
    octets
}
