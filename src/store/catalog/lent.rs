//! The second copy while another process writes the file: read as it stands, and not written.
//!
//! What the other one writes may make single entries unreadable here after a while; whoever lends
//! the file looks up hardly anything from then on. Deliberately absent: a copy of the file, which
//! may be a gigabyte.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Catalog;
use super::Held;
use crate::store::error::StoreError;

impl Catalog {
    /// Closes the file for writing, after what is staged was written.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be written, or while it is being made; nothing is lent then.
    pub fn lend(&self) -> Result<(), StoreError> {
        if self.filled().is_some() {
            return Err(StoreError::Closed);
        }
        self.flush()?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*held, Held::Open(_)) {
            return Ok(());
        }
        self.lent.store(true, Ordering::Release);
        // Closed here, as the library lets nobody else have it open.
        *held = Held::Lost;
        match Self::still(&self.path(), false) {
            Ok(Some(still)) => {
                *held = still.held.into_inner().unwrap_or_else(PoisonError::into_inner);
            }
            Ok(None) | Err(_) => {
                tracing::warn!("the second copy cannot be read while another process has it");
            }
        }
        Ok(())
    }

    /// Opens it for writing again. Where that does not work yet, the next change tries again.
    pub fn take_back(&self) {
        if self.lent.swap(false, Ordering::AcqRel) {
            self.reopen();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::Store;

    #[tokio::test]
    async fn a_lent_copy_is_read_here_written_there_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let served = dir.path().join("served");
        let catalog = store.catalog(&served).await.unwrap();
        catalog.lend().unwrap();
        let loan = store.lend().await.unwrap();
        assert_eq!(catalog.count().unwrap(), 0, "it is still read");
        let other = Store::open(&dir.path().join("store")).unwrap();
        let theirs = other.catalog(&served).await.unwrap();
        theirs.flush().unwrap();
        drop((theirs, other));
        loan.take_back().await;
        catalog.take_back();
        let once_more = store.open_catalog(&served).await;
        // The library lets nobody open twice what is open for writing: so it is, here.
        assert!(once_more.is_err() || once_more.unwrap().filled().is_some());
        assert_eq!(catalog.count().unwrap(), 0);
    }
}
