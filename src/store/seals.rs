//! Which sealed keys come in: only those that the present master key seals.
//!
//! What is on its way here while the master key is replaced may still be sealed under the former
//! one. It is sealed anew in the transaction that stores it, or not stored: so one look at
//! everything that is stored, begun after [`Store::guard`], finds all that is left to be done.

use std::sync::Arc;

use redb::ReadableTable as _;
use redb::WriteTransaction;

use super::codec;
use super::error::StoreError;
use super::handle::Store;
use super::inspect::key_handle;
use super::tables::KEYS;
use crate::cert::failure::Failure;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::SealedKey;
use crate::cert::ports::Seals;
use crate::cert::ports::Shelf;

/// Who says what the present master key seals; nobody before the first call of [`Store::guard`].
#[derive(Clone, Default)]
pub(super) struct Guard(Option<Arc<dyn Seals>>);

impl Store {
    /// From now on takes only what `seals` knows as sealed under the present master key, or seals
    /// anew on the way in.
    ///
    /// # Errors
    /// [`StoreError::Closed`].
    pub async fn guard(&self, seals: Arc<dyn Seals>) -> Result<(), StoreError> {
        self.ask(move |disk| {
            disk.guard = Guard(Some(seals));
            Ok(())
        })
        .await
    }
}

impl Guard {
    /// Stores a key. Where it is stored already and what comes is of a former master key, that is
    /// only the older envelope of the same: it stays as it is.
    pub(super) fn put_key(
        &self,
        txn: &WriteTransaction,
        key: &KeyHandle,
    ) -> Result<(), StoreError> {
        let mut table = txn.open_table(KEYS)?;
        let Some(seals) = self.0.as_ref().filter(|seals| seals.is_former(&key.sealed.0)) else {
            table.insert(&key.id.0, codec::encode(key).as_slice())?;
            return Ok(());
        };
        let there = table.get(&key.id.0)?.map(|held| key_handle(key.id.0, held.value()));
        if let Some(there) = there.transpose()?
            && (there.usage, there.algorithm) == (key.usage, key.algorithm)
            && !seals.is_former(&there.sealed.0)
        {
            return Ok(());
        }
        let anew = seals.anew(&key.sealed.0).map_err(|error| refused_key(key.id, error))?;
        let sealed = anew.map_or_else(|| key.sealed.clone(), |anew| SealedKey(anew.into()));
        let anew = KeyHandle { sealed, ..key.clone() };
        table.insert(&key.id.0, codec::encode(&anew).as_slice())?;
        Ok(())
    }

    /// What is to be put on a shelf in the place of `value`; `None` for that itself.
    pub(super) fn on_shelf(
        &self,
        shelf: Shelf,
        value: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(seals) = &self.0 else { return Ok(None) };
        let word = super::custody::table_of(shelf).1;
        seals.anew_on(shelf, value).map_err(|reason| StoreError::FormerSeal {
            what: format!("what comes for {word}"),
            reason,
        })
    }
}

fn refused_key(id: KeyId, reason: Failure) -> StoreError {
    StoreError::FormerSeal { what: format!("the key {id}"), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::failure::FailureKind;
    use crate::cert::ports::Book as _;
    use crate::cert::record::Certificate;
    use crate::cert::served::Served;
    use crate::store::properties::served;

    /// A seal is an octet that says of which master key, and the rest.
    #[derive(Debug)]
    struct Epochs {
        present: u8,
        opens: u8,
    }

    impl Seals for Epochs {
        fn is_former(&self, sealed: &[u8]) -> bool {
            sealed[0] < self.present
        }

        fn anew(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
            if !self.is_former(sealed) {
                return Ok(None);
            }
            if sealed[0] < self.opens {
                return Err(Failure::new(FailureKind::Vault, "does not open"));
            }
            Ok(Some([&[self.present], &sealed[1..]].concat()))
        }

        fn anew_on(&self, _shelf: Shelf, value: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
            self.anew(value)
        }
    }

    fn under(epoch: u8, key: &KeyHandle) -> KeyHandle {
        KeyHandle { sealed: SealedKey(vec![epoch, 7].into()), ..key.clone() }
    }

    #[tokio::test]
    async fn what_a_former_master_key_sealed_is_sealed_anew_or_refused_and_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let one = served("one.example");
        let (record, key) = (Certificate::wanted(one.spec.clone()), one.key.clone());
        let epoch = async || store.key(key.id).await.unwrap().map(|key| key.sealed.0[0]);
        // Two master keys: what the former one sealed comes in as of the present one.
        store.guard(Arc::new(Epochs { present: 2, opens: 1 })).await.unwrap();
        let mut installed = record.clone();
        installed.installed = Some(one.installed.clone());
        store.add_with_key(installed.clone(), under(1, &key), vec![]).await.unwrap();
        assert_eq!(epoch().await, Some(2));
        store.put(Shelf::Accounts, "ca", vec![1, 9]).await.unwrap();
        assert_eq!(store.get(Shelf::Accounts, "ca").await.unwrap(), Some(vec![2, 9]));
        // One that is there keeps its seal, whatever somebody still holds of it.
        let again = store.update_with_key(installed, under(1, &key), vec![]).await.unwrap();
        assert_eq!(epoch().await, Some(2));
        // The former one is gone, and so is every use of what it sealed.
        store.guard(Arc::new(Epochs { present: 3, opens: 3 })).await.unwrap();
        let refused = store.put(Shelf::Accounts, "ca", vec![2, 9]).await.unwrap_err();
        assert!(refused.detail.contains("former master key"), "{refused}");
        assert_eq!(store.get(Shelf::Accounts, "ca").await.unwrap(), Some(vec![2, 9]));
        let other = served("two.example");
        let mut second = Certificate::wanted(other.spec.clone());
        second.installed = Some(other.installed.clone());
        let refused = store.add_with_key(second.clone(), under(2, &other.key), vec![]).await;
        assert!(matches!(refused, Err(StoreError::FormerSeal { .. })), "{refused:?}");
        assert_eq!(store.certificate(second.id()).await.unwrap(), None);
        store.add_with_key(second, under(3, &other.key), vec![]).await.unwrap();
        // What never opened is mended by whoever brings it again.
        store.update_with_key(again, under(3, &key), vec![]).await.unwrap();
        assert_eq!(epoch().await, Some(3));
    }

    #[tokio::test]
    async fn a_guarded_copy_is_shown_no_former_seal() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let catalog = store.catalog(&dir.path().join("served")).await.unwrap();
        let one = served("one.example");
        let sealed = |epoch| Arc::new(Served { key: under(epoch, &one.key), ..(*one).clone() });
        assert!(catalog.stage_guarded(&sealed(1), 1));
        catalog.guard(Some(Arc::new(Epochs { present: 2, opens: 1 })));
        assert!(catalog.stage_guarded(&sealed(2), 2));
        assert!(!catalog.stage_guarded(&sealed(1), 3));
        assert_eq!(catalog.get(one.id).unwrap().unwrap().key.sealed.0[0], 2);
    }
}
