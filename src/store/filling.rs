//! Fills a second copy that is made anew, from the store, while both are in use.
//!
//! What the sites of the configuration have comes first, since there is little of it; then what was
//! imported. Nothing is read ahead of what is written.

use std::sync::Arc;

use super::catalog::Catalog;
use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use crate::base::bounds;
use crate::base::crash;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;

/// Where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stand {
    /// Behind this certificate of those that are driven.
    Driven(Option<CertificateId>),
    /// Behind this certificate of all, of which those that are driven are there.
    All(Option<CertificateId>),
}

/// Fills `catalog` and gives it its name; nothing if it is whole. A disk that has no place for it
/// is waited for; few certificates are served from memory instead.
///
/// # Errors
/// Those of reading the store, and a new file that turns out to be damaged. It can be tried again,
/// and begins anew then.
pub async fn fill(store: &Store, catalog: &Arc<Catalog>) -> Result<(), StoreError> {
    if catalog.filled().is_none() {
        return Ok(());
    }
    let few = store.ask(|disk| disk.count()).await? <= bounds::CATALOG_IN_MEMORY;
    match pour(store, catalog, Catalog::empty, !few).await {
        Err(error) if few && error.is_disk() => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the second copy cannot be written, serving from one in memory"
            );
            pour(store, catalog, Catalog::empty_in_memory, false).await
        }
        poured => poured,
    }
}

async fn pour(
    store: &Store,
    catalog: &Arc<Catalog>,
    empty: fn(&Catalog) -> Result<(), StoreError>,
    patient: bool,
) -> Result<(), StoreError> {
    write(catalog, patient, empty).await?;
    crash::point("copy-emptied");
    let mut stand = Some(Stand::Driven(None));
    while let Some(at) = stand {
        let (portion, next) = store.ask(move |disk| disk.portion(at)).await?;
        let portion: Arc<[Served]> = portion.into();
        if !portion.is_empty() {
            write(catalog, patient, move |copy| copy.fill(&portion)).await?;
        }
        stand = next;
    }
    crash::point("copy-filled");
    let lineage = write(catalog, patient, Catalog::finish).await?;
    crash::point("copy-named");
    if let Some(lineage) = lineage {
        store.ask(move |disk| disk.begin_lineage(lineage)).await?;
    }
    tracing::info!("the second copy is whole");
    Ok(())
}

/// Has the copy written to; with patience, until the disk takes it.
async fn write<T: Send + 'static>(
    catalog: &Arc<Catalog>,
    patient: bool,
    work: impl Fn(&Catalog) -> Result<T, StoreError> + Clone + Send + 'static,
) -> Result<T, StoreError> {
    loop {
        let (copy, work) = (Arc::clone(catalog), work.clone());
        let written = tokio::task::spawn_blocking(move || work(&copy)).await;
        match written.map_err(|_| StoreError::Closed)? {
            Err(error @ (StoreError::Full(_) | StoreError::Io(_))) if patient => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the second copy cannot be written, trying again later"
                );
                tokio::time::sleep(bounds::SLEEP_STRETCH).await;
            }
            written => return written,
        }
    }
}

impl Disk {
    /// What is installed for some certificates behind `stand`, and where to go on. One that cannot
    /// be read is told and passed over.
    fn portion(&self, stand: Stand) -> Result<(Vec<Served>, Option<Stand>), StoreError> {
        let limit = bounds::CATALOG_PORTION;
        let (ids, next) = match stand {
            Stand::Driven(after) => {
                let ids = self.page_of_driven(after, limit)?;
                let next = ids.last().map_or(Stand::All(None), |last| Stand::Driven(Some(*last)));
                (ids, Some(next))
            }
            Stand::All(after) => {
                let ids = self.page_of_ids(after, limit)?;
                let next = ids.last().map(|last| Stand::All(Some(*last)));
                (ids, next)
            }
        };
        let mut portion = Vec::with_capacity(ids.len());
        for id in ids {
            match self.served(id) {
                Ok(Some(served)) => {
                    let there = matches!(stand, Stand::All(_)) && served.spec.role.is_driven();
                    portion.extend((!there).then_some(served));
                }
                Ok(None) => {}
                Err(error) if error.is_disk() => return Err(error),
                Err(error) => tracing::error!(%error, "a certificate cannot be read"),
            }
        }
        Ok((portion, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::lifecycle::Phase;
    use crate::cert::record::Certificate;
    use crate::cert::spec::Role;
    use crate::cert::spec::Specification;
    use crate::store::properties::served;

    #[tokio::test]
    async fn what_sites_have_is_filled_in_first_and_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let (mut records, mut keys) = (Vec::new(), Vec::new());
        for number in 0..24 {
            let Served { spec, installed, key, .. } =
                (*served(&format!("n{number}.example"))).clone();
            let role = if number % 3 == 0 { Role::Primary } else { Role::Imported };
            let (names, issuer) = (spec.names().to_vec(), spec.issuer.clone());
            let spec = Specification::new(names, issuer, spec.key, None, role);
            let phase = Phase::Due { attempt: 0, in_flight: None };
            let installed = Some(installed);
            records.push(Certificate { installed, phase, ..Certificate::wanted(spec) });
            keys.push(key);
        }
        // One of each kind that has nothing yet.
        for (role, name) in [(Role::Primary, "p.example"), (Role::Imported, "i.example")] {
            let spec = served(name).spec.clone();
            let (names, issuer) = (spec.names().to_vec(), spec.issuer.clone());
            let spec = Specification::new(names, issuer, spec.key, None, role);
            records.push(Certificate::wanted(spec));
        }
        store.add_all(records.clone(), keys, vec![]).await.unwrap();
        let (mut filled, mut stand) = (Vec::new(), Some(Stand::Driven(None)));
        while let Some(at) = stand {
            let (portion, next) = store.ask(move |disk| disk.portion(at)).await.unwrap();
            filled.extend(portion);
            stand = next;
        }
        let roles: Vec<_> = filled.iter().map(|served| served.spec.role).collect();
        let expected = [vec![Role::Primary; 8], vec![Role::Imported; 16]].concat();
        assert_eq!(roles, expected);
        let mut ids: Vec<_> = filled.iter().map(|served| served.id).collect();
        ids.sort();
        let mut wanted: Vec<_> =
            records.iter().filter(|r| r.installed.is_some()).map(Certificate::id).collect();
        wanted.sort();
        assert_eq!(ids, wanted);
    }
}
