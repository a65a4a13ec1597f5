//! Lends the files of the store and its second copy to another process, and takes them back.
//!
//! Both have one writer, so a process that is to go on where this one ends can open them only when
//! they are closed here. Calls that come meanwhile wait: they are carried out when the file is back,
//! and fail when it stays away. Deliberately absent: whether the borrower deserves it.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::oneshot;

use super::disk::Disk;
use super::error::OpenError;
use super::error::StoreError;
use super::handle::Store;

/// What the store's thread is told.
pub(super) struct Lend {
    /// Answered when the file is closed.
    lent: oneshot::Sender<()>,
    /// Says that it is back; closed when it stays away.
    back: mpsc::Receiver<()>,
}

/// The file is with somebody else. Dropped, it stays there: every call fails from then on.
#[derive(Debug)]
pub struct Loan(mpsc::Sender<()>);

/// Between two attempts to open what the borrower may still hold.
const PAUSE: Duration = Duration::from_millis(50);

/// So many of them: a borrower that was told to end has done so within ten seconds, or is stuck.
const ATTEMPTS: u32 = 200;

impl Store {
    /// Closes the file when the calls before this one are done.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn lend(&self) -> Result<Loan, StoreError> {
        let (lent, is_lent) = oneshot::channel();
        let (loan, back) = mpsc::channel(1);
        self.order(Lend { lent, back }).await?;
        self.hear(is_lent).await?;
        Ok(Loan(loan))
    }
}

impl Loan {
    /// Has the store open its file again, as soon as nobody else holds it.
    pub async fn take_back(self) {
        // A store that is gone needs it no more.
        let _gone = self.0.send(()).await;
    }
}

impl Lend {
    /// Closes the file in `dir` and waits; the file when it is back. On the store's thread.
    pub(super) fn carry_out(mut self, disk: Disk, dir: &Path) -> Option<Disk> {
        let guard = disk.guard.clone();
        drop(disk);
        // Nobody waiting any more: nobody has it either, so it is opened again below.
        let unwanted = self.lent.send(()).is_err();
        if !unwanted && self.back.blocking_recv().is_none() {
            return None;
        }
        match open_again(dir) {
            Ok(mut disk) => {
                disk.guard = guard;
                Some(disk)
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the database is not to be had again, serving on without it"
                );
                None
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the store's thread has no runtime")]
fn open_again(dir: &Path) -> Result<Disk, OpenError> {
    for _ in 0..ATTEMPTS {
        match Disk::open(dir) {
            Err(OpenError::InUse { .. }) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    Disk::open(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::cert::journal::Entry;
    use crate::cert::journal::EntryKind;
    use crate::cert::journal::Level;

    fn entry(text: &str) -> Entry {
        let at = Timestamp::from_unix(1);
        Entry::about_house(at, EntryKind::Started, Level::Info, text.to_owned())
    }

    #[expect(clippy::disallowed_methods, reason = "a test has no set of tasks")]
    #[tokio::test]
    async fn a_lent_store_can_be_opened_elsewhere_and_calls_wait_for_its_return() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.append(vec![entry("before")]).await.unwrap();
        assert!(matches!(Store::open(dir.path()), Err(OpenError::InUse { .. })));
        let loan = store.lend().await.unwrap();
        let other = Store::open(dir.path()).unwrap();
        other.append(vec![entry("elsewhere")]).await.unwrap();
        let waiting = store.clone();
        let call = tokio::spawn(async move { waiting.append(vec![entry("after")]).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!call.is_finished(), "the file is not here");
        loan.take_back().await;
        // The borrower takes its time.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(other);
        call.await.unwrap().unwrap();
        let told = store.journal(0, 10).await.unwrap();
        let texts: Vec<_> = told.iter().map(|entry| entry.message.as_str()).collect();
        assert_eq!(texts, ["before", "elsewhere", "after"]);
    }

    #[tokio::test]
    async fn what_stays_away_ends_every_call() {
        let dir = tempfile::tempdir().unwrap();
        // A call may come at any moment of the thread's end.
        for _ in 0..50 {
            let store = Store::open(dir.path()).unwrap();
            drop(store.lend().await.unwrap());
            let call = tokio::time::timeout(Duration::from_secs(20), store.count());
            assert!(matches!(call.await, Ok(Err(StoreError::Closed))));
        }
        Store::open(dir.path()).unwrap();
    }
}
