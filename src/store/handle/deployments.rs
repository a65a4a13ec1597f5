//! Deployments, each under its target and its certificate.
//!
//! The table is not there before the first of them is, so it needs no version of its own. Deliberately
//! absent: what becomes of them.

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::TableDefinition;
use redb::TableError;

use super::super::codec;
use super::super::disk::Disk;
use super::super::error::StoreError;
use super::Store;
use crate::base::bounds::deployment::MOST;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::TargetName;
use crate::cert::journal::Entry;
use crate::cert::spec::CertificateId;

/// Target and `CertificateId` to `Deployment`.
const DEPLOYMENTS: TableDefinition<'_, (&str, &[u8; 8]), &[u8]> =
    TableDefinition::new("deployments");

impl Store {
    /// Every deployment.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        self.ask(|disk| disk.deployments()).await
    }

    /// Keeps deployments, in the place of themselves where they are there, and forgets those that are
    /// `gone`, in one transaction with what the journal is told.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn keep_deployments(
        &self,
        kept: Vec<Deployment>,
        gone: Vec<(TargetName, CertificateId)>,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.keep_deployments(&kept, &gone, entries)).await
    }
}

impl Disk {
    fn deployments(&self) -> Result<Vec<Deployment>, StoreError> {
        let table = match self.db()?.begin_read()?.open_table(DEPLOYMENTS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for row in table.iter()?.take(MOST) {
            let (key, value) = row?;
            let (target, id) = key.value();
            let name = || format!("{target} {}", CertificateId(*id));
            all.push(codec::decode("deployments", name, value.value())?);
        }
        Ok(all)
    }

    fn keep_deployments(
        &mut self,
        kept: &[Deployment],
        gone: &[(TargetName, CertificateId)],
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.write(
            |txn| {
                let mut table = txn.open_table(DEPLOYMENTS)?;
                for (target, id) in gone {
                    table.remove((target.as_str(), &id.0))?;
                }
                for one in kept {
                    let key = (one.target.as_str(), &one.certificate.0);
                    table.insert(key, codec::encode(one).as_slice())?;
                }
                Ok(())
            },
            None,
            None,
            None,
            entries,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::cert::client::ClientName;
    use crate::cert::deployment::Event;
    use crate::cert::deployment::Leaf;
    use crate::cert::deployment::Made;
    use crate::cert::deployment::Verdict;
    use crate::cert::deployment::Watch;
    use crate::cert::journal::EntryKind;
    use crate::cert::journal::Level;

    fn one(target: &str, id: u8) -> Deployment {
        let target = TargetName::parse(target).unwrap();
        let (called, now) = ("mail.example".to_owned(), Timestamp::from_unix(1_800_000_000));
        let owner = Some(ClientName::parse("ann").unwrap());
        let key = (CertificateId([id; 8]), target);
        let one = Deployment::new(key, called, owner, Made::Asked, now);
        let watch = Watch(std::time::Duration::from_secs(60));
        let one = one.after(Event::Wanted(Leaf([id; 32])), watch, now, 0);
        one.after(Event::Carried(Verdict::Failed("no".to_owned())), watch, now, 0)
    }

    #[tokio::test]
    async fn deployments_are_there_as_they_were_kept_and_not_beyond_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("store");
        let store = Store::open(&place).unwrap();
        assert_eq!(store.deployments().await.unwrap(), []);
        let (a, b) = (one("a", 1), one("b", 1));
        let at = Timestamp::from_unix(1_800_000_000);
        let told = Entry::about_house(at, EntryKind::DeploymentWanted, Level::Info, "x".into());
        store.keep_deployments(vec![b.clone(), a.clone()], vec![], vec![told]).await.unwrap();
        drop(store);
        let store = Store::open(&place).unwrap();
        assert_eq!(store.deployments().await.unwrap(), [a.clone(), b.clone()]);
        assert_eq!(store.journal(0, 9).await.unwrap()[0].kind, EntryKind::DeploymentWanted);
        let gone = vec![(a.target.clone(), a.certificate)];
        store.keep_deployments(vec![], gone, vec![]).await.unwrap();
        assert_eq!(store.deployments().await.unwrap(), [b]);
    }
}
