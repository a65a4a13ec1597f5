//! Onboarded names: each in a row of its own, which comes and goes with its certificate in one
//! transaction.
//!
//! Deliberately absent: who may be one.

use std::ops::Bound;

use redb::ReadableDatabase as _;
use redb::ReadableTableMetadata as _;
use redb::WriteTransaction;

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use super::pack::pack;
use super::tables::CERTIFICATES;
use super::tables::GUESTS;
use crate::cert::guest::Guest;
use crate::cert::identifier::DnsName;
use crate::cert::journal::Entry;
use crate::cert::record::Certificate;

/// Makes the table in a file of an earlier version.
pub(super) fn make_table(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(GUESTS)?;
    Ok(())
}

fn read(name: &str, bytes: &[u8]) -> Result<Guest, StoreError> {
    codec::decode("guests", || name.to_owned(), bytes)
}

impl Disk {
    fn guest(&self, name: &str) -> Result<Option<Guest>, StoreError> {
        let table = self.db()?.begin_read()?.open_table(GUESTS)?;
        table.get(name)?.map(|value| read(name, value.value())).transpose()
    }

    fn guests(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Guest)>, StoreError> {
        let table = self.db()?.begin_read()?.open_table(GUESTS)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        for row in table.range::<&str>((from, Bound::Unbounded))?.take(limit) {
            let (name, value) = row?;
            page.push((name.value().to_owned(), read(name.value(), value.value())?));
        }
        Ok(page)
    }

    fn count_guests(&self) -> Result<u64, StoreError> {
        Ok(self.db()?.begin_read()?.open_table(GUESTS)?.len()?)
    }

    fn take_in(
        &mut self,
        (name, guest): (&str, &Guest),
        record: &Certificate,
        entries: Vec<Entry>,
    ) -> Result<bool, StoreError> {
        if self.guest(name)?.is_some_and(|known| !known.barred) {
            return Ok(false);
        }
        let id = record.id();
        // It may be there from a time before the row was.
        let old = self.certificate(id)?;
        let fresh = old.is_none().then_some(record);
        self.write(
            |txn| {
                if let Some(record) = fresh {
                    txn.open_table(CERTIFICATES)?.insert(&id.0, pack(record).as_slice())?;
                }
                txn.open_table(GUESTS)?.insert(name, codec::encode(guest).as_slice())?;
                Ok(())
            },
            None,
            fresh,
            None,
            entries,
        )?;
        Ok(true)
    }

    fn settle_guests(&mut self, guests: &[(DnsName, Guest)]) -> Result<(), StoreError> {
        let change = |txn: &WriteTransaction| {
            let mut table = txn.open_table(GUESTS)?;
            for (name, guest) in guests {
                table.insert(name.as_str(), codec::encode(guest).as_slice())?;
            }
            Ok(())
        };
        self.write(change, None, None, None, Vec::new())
    }

    fn amend(
        &mut self,
        name: &str,
        guest: &Guest,
        entries: Vec<Entry>,
    ) -> Result<bool, StoreError> {
        if self.guest(name)?.is_none() {
            return Ok(false);
        }
        let change = |txn: &WriteTransaction| {
            txn.open_table(GUESTS)?.insert(name, codec::encode(guest).as_slice())?;
            Ok(())
        };
        self.write(change, None, None, None, entries)?;
        Ok(true)
    }

    fn turn_out(
        &mut self,
        name: &str,
        barred: Option<&Guest>,
        entries: Vec<Entry>,
    ) -> Result<Option<Option<Certificate>>, StoreError> {
        let Some(guest) = self.guest(name)? else { return Ok(None) };
        let old = self.certificate(guest.certificate)?;
        self.write(
            |txn| {
                let mut guests = txn.open_table(GUESTS)?;
                match barred {
                    Some(barred) => drop(guests.insert(name, codec::encode(barred).as_slice())?),
                    None => drop(guests.remove(name)?),
                }
                txn.open_table(CERTIFICATES)?.remove(&guest.certificate.0)?;
                Ok(())
            },
            old.as_ref(),
            None,
            None,
            entries,
        )?;
        Ok(Some(old))
    }
}

impl Store {
    /// What is kept of an onboarded name.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn guest(&self, name: &DnsName) -> Result<Option<Guest>, StoreError> {
        let name = name.as_str().to_owned();
        self.ask(move |disk| disk.guest(&name)).await
    }

    /// At most `limit` onboarded names behind `after`, in order.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn guests(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<(String, Guest)>, StoreError> {
        self.ask(move |disk| disk.guests(after.as_deref(), limit)).await
    }

    /// How many there are.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn count_guests(&self) -> Result<u64, StoreError> {
        self.ask(|disk| disk.count_guests()).await
    }

    /// Adds an onboarded name and the record of its certificate, together with journal entries;
    /// whether it was not there before, or barred.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn take_in(
        &self,
        name: &DnsName,
        guest: Guest,
        record: Certificate,
        entries: Vec<Entry>,
    ) -> Result<bool, StoreError> {
        let name = name.as_str().to_owned();
        self.ask(move |disk| disk.take_in((&name, &guest), &record, entries)).await
    }

    /// Adds many onboarded names whose certificates are there already, in one transaction: where a
    /// store is filled.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn settle_guests(&self, guests: Vec<(DnsName, Guest)>) -> Result<(), StoreError> {
        self.ask(move |disk| disk.settle_guests(&guests)).await
    }

    /// Replaces what is kept of an onboarded name; whether it is there.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn amend(
        &self,
        name: &DnsName,
        guest: Guest,
        entries: Vec<Entry>,
    ) -> Result<bool, StoreError> {
        let name = name.as_str().to_owned();
        self.ask(move |disk| disk.amend(&name, &guest, entries)).await
    }

    /// Deletes an onboarded name with its certificate and keys, or leaves it `barred`, and returns the
    /// certificate, if there was one; `None` when the name was not there.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn turn_out(
        &self,
        name: &DnsName,
        barred: Option<Guest>,
        entries: Vec<Entry>,
    ) -> Result<Option<Option<Certificate>>, StoreError> {
        let name = name.as_str().to_owned();
        self.ask(move |disk| disk.turn_out(&name, barred.as_ref(), entries)).await
    }
}
