//! Which records of ours are in the DNS, written down before they are set.
//!
//! One value holds them all: there are a few while orders are open, and none between.

use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::ports::Book;
use crate::cert::ports::Shelf;
use crate::cert::zone::ZoneRecord;

/// What the value is called on its shelf.
const NAME: &str = "outstanding";

/// A record that is there, or may be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Outstanding {
    pub(super) record: ZoneRecord,
    /// When it was written down last.
    pub(super) at: Timestamp,
}

#[derive(Debug)]
pub(super) struct Ledger {
    book: Arc<dyn Book>,
    /// `None` before it was read.
    known: Mutex<Option<Vec<Outstanding>>>,
}

impl Ledger {
    pub(super) fn new(book: Arc<dyn Book>) -> Self {
        Self { book, known: Mutex::new(None) }
    }

    /// All of them.
    pub(super) async fn all(&self) -> Result<Vec<Outstanding>, Failure> {
        let mut known = self.known.lock().await;
        self.read(&mut known).await.cloned()
    }

    /// Durable on return.
    pub(super) async fn note(&self, record: &ZoneRecord, now: Timestamp) -> Result<(), Failure> {
        let mut known = self.known.lock().await;
        let mut all = self.read(&mut known).await?.clone();
        all.retain(|other| other.record != *record);
        if all.len() >= bounds::dns::OUTSTANDING {
            let detail = "too many records of former orders could not be removed from the DNS";
            return Err(Failure::new(FailureKind::Zone, detail));
        }
        all.push(Outstanding { record: record.clone(), at: now });
        self.write(&mut known, all).await
    }

    /// It is gone. Durable on return.
    pub(super) async fn erase(&self, record: &ZoneRecord) -> Result<(), Failure> {
        let mut known = self.known.lock().await;
        let mut all = self.read(&mut known).await?.clone();
        all.retain(|other| other.record != *record);
        self.write(&mut known, all).await
    }

    async fn read<'a>(
        &self,
        known: &'a mut Option<Vec<Outstanding>>,
    ) -> Result<&'a Vec<Outstanding>, Failure> {
        if known.is_none() {
            let stored = self.book.get(Shelf::Proofs, NAME).await?;
            let read =
                stored.map_or_else(|| Ok(Vec::new()), |bytes| serde_json::from_slice(&bytes));
            let read = read.map_err(|error| Failure::new(FailureKind::Store, error.to_string()))?;
            *known = Some(read);
        }
        Ok(known.get_or_insert_default())
    }

    async fn write(
        &self,
        known: &mut Option<Vec<Outstanding>>,
        all: Vec<Outstanding>,
    ) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&all);
        let bytes = bytes.map_err(|error| Failure::new(FailureKind::Store, error.to_string()))?;
        self.book.put(Shelf::Proofs, NAME, bytes).await?;
        *known = Some(all);
        Ok(())
    }
}
