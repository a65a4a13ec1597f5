//! What is sealed in the store, for whoever looks after the master key.

use std::ops::Bound;

use redb::ReadTransaction;
use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::TableDefinition;
use redb::WriteTransaction;

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use super::inspect::key_handle;
use super::tables::ACCOUNTS;
use super::tables::INTERNAL_CA;
use super::tables::KEYS;
use super::tables::PROOFS;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::ports::Shelf;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;

impl Store {
    /// At most `most` keys from either end of their table, which is in the order of their names:
    /// a sample of all.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn some_keys(&self, most: usize) -> Result<Vec<KeyHandle>, StoreError> {
        self.ask(move |disk| disk.some_keys(most)).await
    }

    /// What is stored of a certificate that clients are shown, with its key, and the revision of its
    /// record.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn served(&self, id: CertificateId) -> Result<Option<(Served, u64)>, StoreError> {
        self.ask(move |disk| {
            let revision = disk.certificate(id)?.map(|record| record.revision);
            Ok(disk.served(id)?.zip(revision))
        })
        .await
    }

    /// Everything on a shelf, by name.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn shelf(&self, shelf: Shelf) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.ask(move |disk| disk.shelf(shelf)).await
    }
}

impl Store {
    /// At most `most` keys whose names come after `after`, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn keys_after(
        &self,
        after: Option<KeyId>,
        most: usize,
    ) -> Result<Vec<KeyHandle>, StoreError> {
        self.ask(move |disk| disk.keys_after(after, most)).await
    }

    /// Puts keys that were sealed anew into the place of themselves, all or none. Those that were
    /// deleted meanwhile stay deleted.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn replace_keys(&self, keys: Vec<KeyHandle>) -> Result<(), StoreError> {
        self.ask(move |disk| disk.replace_keys(&keys)).await
    }

    /// Puts `new` into the place of `old` on a shelf, unless something else is there by now.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn replace_on_shelf(
        &self,
        shelf: Shelf,
        name: String,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.replace_on_shelf(shelf, &name, &old, &new)).await
    }
}

/// The table of a shelf, and its word for messages.
pub(super) const fn table_of(
    shelf: Shelf,
) -> (TableDefinition<'static, &'static str, &'static [u8]>, &'static str) {
    match shelf {
        Shelf::Accounts => (ACCOUNTS, "accounts"),
        Shelf::InternalCa => (INTERNAL_CA, "internal_ca"),
        Shelf::Proofs => (PROOFS, "proofs"),
    }
}

impl Disk {
    fn some_keys(&self, most: usize) -> Result<Vec<KeyHandle>, StoreError> {
        let table = self.db()?.begin_read()?.open_table(KEYS)?;
        let mut found = Vec::new();
        for row in table.iter()?.take(most).chain(table.iter()?.rev().take(most)) {
            let (id, value) = row?;
            found.push(key_handle(*id.value(), value.value())?);
        }
        Ok(found)
    }

    fn keys_after(&self, after: Option<KeyId>, most: usize) -> Result<Vec<KeyHandle>, StoreError> {
        let table = self.db()?.begin_read()?.open_table(KEYS)?;
        let from = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&key.0));
        let mut found = Vec::new();
        for row in table.range::<&[u8; 32]>((from, Bound::Unbounded))?.take(most) {
            let (id, value) = row?;
            found.push(key_handle(*id.value(), value.value())?);
        }
        Ok(found)
    }

    fn replace_keys(&mut self, anew: &[KeyHandle]) -> Result<(), StoreError> {
        let guard = self.guard.clone();
        let replace = |txn: &WriteTransaction| -> Result<(), StoreError> {
            for key in anew {
                let there = txn.open_table(KEYS)?.get(&key.id.0)?.is_some();
                if there {
                    guard.put_key(txn, key)?;
                }
            }
            Ok(())
        };
        self.write(replace, None, None, None, Vec::new())
    }

    fn replace_on_shelf(
        &mut self,
        shelf: Shelf,
        name: &str,
        old: &Vec<u8>,
        new: &Vec<u8>,
    ) -> Result<(), StoreError> {
        let replace = |txn: &WriteTransaction| -> Result<(), StoreError> {
            let mut table = txn.open_table(table_of(shelf).0)?;
            let same =
                table.get(name)?.is_some_and(|held| held.value() == codec::encode(old).as_slice());
            if same {
                table.insert(name, codec::encode(new).as_slice())?;
            }
            Ok(())
        };
        self.write(replace, None, None, None, Vec::new())
    }

    fn shelf(&self, shelf: Shelf) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        shelf_in(&self.db()?.begin_read()?, shelf)
    }
}

/// Everything on a shelf, by name.
pub(super) fn shelf_in(
    txn: &ReadTransaction,
    shelf: Shelf,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let (table, word) = table_of(shelf);
    let mut found = Vec::new();
    for row in txn.open_table(table)?.iter()? {
        let (name, value) = row?;
        let name = name.value().to_owned();
        let value = codec::decode(word, || name.clone(), value.value())?;
        found.push((name, value));
    }
    Ok(found)
}
