//! A slow look at every record while the house is at work, again and again: of the store, and of
//! the second copy.
//!
//! The steps are short and far between, so that no write waits for them. What is damaged in the
//! store is told and left as it is: it goes on being served from the second copy. What is damaged
//! in the second copy, or not in it, is told and written again from the store; where the file
//! itself cannot be read, it is made anew.

use std::sync::Arc;
use std::time::Duration;

use super::catalog::Catalog;
use super::disk::Disk;
use super::error::StoreError;
use super::filling;
use super::handle::Store;
use super::inspect::Place;
use crate::base::bounds;
use crate::cert::challenge::BoxFuture;
use crate::cert::lifecycle::Phase;
use crate::cert::spec::CertificateId;

/// Publishes what the store has for a certificate once more; whether there is something.
pub type Mend = Arc<dyn Fn(CertificateId) -> BoxFuture<'static, bool> + Send + Sync>;

/// Looks at all records of both, rests, and begins again, without end.
pub async fn run(store: Store, catalog: Arc<Catalog>, mend: Mend) {
    loop {
        tokio::time::sleep(bounds::STORE_SCRUB_REST).await;
        once(&store, bounds::STORE_SCRUB_PAUSE).await;
        if let Err(error) = copy_once(&store, &catalog, &mend, bounds::STORE_SCRUB_PAUSE).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the second copy cannot be looked through, trying again later"
            );
        }
    }
}

/// Looks at all records of the store once, with `pause` between two steps.
pub async fn once(store: &Store, pause: Duration) {
    let mut place = Place::Start;
    loop {
        match store.scrub(place).await {
            Ok(Some(next)) => place = next,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the store cannot be looked through, trying again later"
                );
                return;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Looks at all certificates of the second copy once, and at whether it has those of the store,
/// with `pause` between two steps. One that is being made is left alone.
///
/// # Errors
/// Those of reading the store, and of making the copy anew.
pub async fn copy_once(
    store: &Store,
    catalog: &Arc<Catalog>,
    mend: &Mend,
    pause: Duration,
) -> Result<(), StoreError> {
    if catalog.filled().is_some() {
        return Ok(());
    }
    let mut found = Found::default();
    let mut after = None;
    loop {
        let copy = Arc::clone(catalog);
        let looked = tokio::task::spawn_blocking(move || copy.look(after)).await;
        match looked.map_err(|_| StoreError::Closed)? {
            Ok((last, damaged)) => {
                for (id, error) in damaged {
                    found.note(catalog, id, &error.to_string(), mend).await;
                }
                let Some(last) = last else { break };
                after = Some(last);
            }
            Err(error) => return anew(store, catalog, &error).await,
        }
        tokio::time::sleep(pause).await;
    }
    let mut after = None;
    loop {
        let copy = Arc::clone(catalog);
        let (last, lacking) = store.ask(move |disk| disk.lacking(&copy, after)).await?;
        for id in lacking {
            found.note(catalog, id, &format!("{id} is not in it"), mend).await;
        }
        let Some(last) = last else { break };
        after = Some(last);
        tokio::time::sleep(pause).await;
    }
    if found.count == 0 {
        // Told until a whole look has found nothing.
        catalog.tell_damage(None);
    }
    Ok(())
}

/// Has the whole copy made anew, and goes on when it is.
async fn anew(store: &Store, catalog: &Arc<Catalog>, error: &StoreError) -> Result<(), StoreError> {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "the second copy cannot be read, making it anew"
    );
    catalog.tell_damage(Some(format!("it could not be read and was made anew: {error}").into()));
    let copy = Arc::clone(catalog);
    store.ask(move |disk| disk.begin_anew(&copy)).await?;
    filling::fill(store, catalog).await
}

/// What a look has found so far.
#[derive(Default)]
struct Found {
    count: u64,
    first: String,
}

impl Found {
    async fn note(&mut self, catalog: &Catalog, id: CertificateId, what: &str, mend: &Mend) {
        let mended = mend(id).await;
        tracing::error!(cert = %id, what, mended, "the second copy is damaged");
        if self.count == 0 {
            what.clone_into(&mut self.first);
        }
        self.count = self.count.saturating_add(1);
        catalog
            .tell_damage(Some(format!("{} damaged, the first: {}", self.count, self.first).into()));
    }
}

impl Disk {
    /// Looks at some certificates behind `after`: the last of them, and those that are installed and
    /// not in the copy. A retired one may have been taken out of it.
    fn lacking(
        &self,
        catalog: &Catalog,
        after: Option<CertificateId>,
    ) -> Result<(Option<CertificateId>, Vec<CertificateId>), StoreError> {
        let ids = self.page_of_ids(after, bounds::STORE_STEP)?;
        let mut lacking = Vec::new();
        for id in &ids {
            // What cannot be read is told by the look at the store.
            let Ok(Some(record)) = self.certificate(*id) else { continue };
            let shown =
                record.installed.is_some() && !matches!(record.phase, Phase::Retiring { .. });
            if shown && !catalog.shows(*id)? {
                lacking.push(*id);
            }
        }
        Ok((ids.last().copied(), lacking))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::ports::Catalog as _;
    use crate::cert::record::Certificate;
    use crate::store::properties::served;

    #[tokio::test]
    async fn a_copy_that_cannot_be_read_is_made_anew_at_work_and_counts_again() {
        let dir = tempfile::tempdir().unwrap();
        let (state, copies) = (dir.path().join("store"), dir.path().join("served"));
        let store = Store::open(&state).unwrap();
        let one = served("a.example");
        let record = Certificate::wanted(one.spec.clone());
        let record = Certificate { installed: Some(one.installed.clone()), ..record };
        store.add_with_key(record, one.key.clone(), vec![]).await.unwrap();
        let catalog = store.catalog(&copies).await.unwrap();
        let file = copies.join("catalog.redb");
        let former = std::fs::read(&file).unwrap();
        // One that waits to be written when it happens, and belongs to no record.
        let two = served("b.example");
        catalog.stage(two.id, Some(Arc::clone(&two)), 0);
        let error = StoreError::Damaged { reason: "a page is none".to_owned() };
        anew(&store, &catalog, &error).await.unwrap();
        assert!(catalog.damage().unwrap().contains("a page is none"));
        assert_eq!((catalog.filled(), catalog.count().unwrap()), (None, 1));
        for served in [&one, &two] {
            let found = catalog.candidates(&served.spec.names()[0]).unwrap();
            assert_eq!(found, [Arc::clone(served)]);
        }
        catalog.flush().unwrap();
        assert_eq!(catalog.count().unwrap(), 2);
        assert_ne!(std::fs::read(&file).unwrap(), former);
        let mend: Mend = Arc::new(|_| Box::pin(async { false }));
        copy_once(&store, &catalog, &mend, Duration::ZERO).await.unwrap();
        assert_eq!(catalog.damage(), None);
        drop((catalog, mend));
        // The next start goes on with it.
        let again = store.open_catalog(&copies).await.unwrap();
        assert_eq!((again.filled(), again.count().unwrap()), (None, 2));
    }
}
