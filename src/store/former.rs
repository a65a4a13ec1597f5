//! Whose the certificates were that are not there any more, so that a client is still told of its own: the
//! journal outlives them.
//!
//! The ledger knows as much, and would have to be read from its beginning. The table is not there before
//! the first of them is, so it needs no version of its own.

use redb::ReadableDatabase as _;
use redb::TableError;
use redb::WriteTransaction;

use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use super::tables::FORMER;
use crate::cert::client::ClientName;
use crate::cert::spec::CertificateId;

/// Remembers that `id` was `client`'s.
pub(super) fn remember(
    txn: &WriteTransaction,
    id: CertificateId,
    client: &ClientName,
) -> Result<(), StoreError> {
    txn.open_table(FORMER)?.insert(&id.0, client.as_str())?;
    Ok(())
}

impl Store {
    /// The client that asked for `id`, which is not there any more.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn former_owner(&self, id: CertificateId) -> Result<Option<ClientName>, StoreError> {
        self.ask(move |disk| disk.former_owner(id)).await
    }
}

impl Disk {
    fn former_owner(&self, id: CertificateId) -> Result<Option<ClientName>, StoreError> {
        let table = match self.db()?.begin_read()?.open_table(FORMER) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = table.get(&id.0)?;
        // A name that is none belongs to nobody.
        Ok(found.and_then(|name| ClientName::parse(name.value()).ok()))
    }
}
