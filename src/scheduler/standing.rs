//! Two certificates for the same names change as one: what is found about one of them, and which of them
//! is shown, in a single transaction; and what is shown follows.

use std::sync::Arc;

use super::handle::SchedulerHandle;
use super::job::Workshop;
use super::standby;
use super::transition::Change;
use crate::base::Timestamp;
use crate::base::crash;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::served::Served;
use crate::cert::spec::CertificateId;
use crate::store::StoreError;

/// How often a change of two is computed anew because somebody else was faster.
const TRIES: usize = 8;

/// Two certificates, the one of the preferred CA first.
pub type Pair = [Arc<Certificate>; 2];

/// Why the other one of two is not shown.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The site keeps only one.
    #[error("no second certificate stands by: name a CA in `standby` of its site, and reload")]
    Alone,
    /// It is not there yet.
    #[error("the one of {issuer} is not issued yet{because}; see keyward why {id}")]
    NotIssued {
        /// Which.
        id: CertificateId,
        /// Who issues it.
        issuer: String,
        /// What went wrong last, behind a colon and a space; empty if nothing did.
        because: String,
    },
    /// It is over.
    #[error("the one of {issuer} ran out at {at}")]
    Expired {
        /// Who issued it.
        issuer: String,
        /// When.
        at: Timestamp,
    },
    /// It counts no more.
    #[error("the one of {issuer}, serial {serial}, is revoked, or is to be")]
    Revoked {
        /// Who issued it.
        issuer: String,
        /// Its serial number.
        serial: String,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a switch.
#[derive(Debug)]
pub struct Switched {
    /// The certificates of the site, two for each kind of key, the one of the preferred CA first.
    pub pairs: Vec<Pair>,
    /// Whether another one is shown than before.
    pub changed: bool,
}

impl SchedulerHandle {
    /// Has the certificate of the preferred CA shown for a site or the one that stands by, for each kind
    /// of key: all of them, or none. `ids` are the certificates of the site. Whatever is shown is durable
    /// and seen by the next handshake when this returns. `who` wants it, in words for the journal.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing was changed then.
    pub async fn switch(
        &self,
        ids: &[CertificateId],
        to_first: bool,
        who: &str,
    ) -> Result<Switched, SwitchError> {
        let shop = &self.shop;
        for _ in 0..TRIES {
            let now = shop.now();
            let pairs = shop.pairs(ids);
            if pairs.is_empty() {
                return Err(SwitchError::Alone);
            }
            let turned = |pair: &&Pair| pair[0].stands_back() == to_first;
            let to_turn: Vec<&Pair> = pairs.iter().filter(turned).collect();
            for pair in &to_turn {
                may_be_shown(if to_first { &pair[0] } else { &pair[1] }, now)?;
            }
            if to_turn.is_empty() {
                return Ok(Switched { pairs, changed: false });
            }
            let change = |pair: &Pair| standby::switched(&pair[0], &pair[1], to_first, who, now);
            let changes: Vec<Change> = to_turn.into_iter().flat_map(change).collect();
            match shop.store_all(changes).await {
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.wake();
                    return Ok(Switched { pairs: shop.pairs(ids), changed: true });
                }
            }
        }
        let id = ids.first().copied().unwrap_or(CertificateId([0; 8]));
        Err(StoreError::Conflict { id, expected: 0, found: 0 }.into())
    }
}

/// Whether clients can be shown it.
fn may_be_shown(record: &Certificate, now: Timestamp) -> Result<(), SwitchError> {
    let Some(installed) = &record.installed else {
        let issuer = record.issuer().to_string();
        let failure = record.phase.failure();
        let because = failure.map_or_else(String::new, |failure| format!(": {failure}"));
        return Err(SwitchError::NotIssued { id: record.id(), issuer, because });
    };
    let issuer = record.issued_by().to_string();
    if !installed.validity.contains(now) {
        return Err(SwitchError::Expired { issuer, at: installed.validity.not_after });
    }
    if !record.is_good(now) {
        return Err(SwitchError::Revoked { issuer, serial: installed.serial.clone() });
    }
    Ok(())
}

impl Workshop {
    /// The pairs among the certificates `ids`.
    fn pairs(&self, ids: &[CertificateId]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for first in ids.iter().filter_map(|id| self.records.get(*id)) {
            let Some(second) = self.other(&first) else { continue };
            if first.care.standby.as_ref().is_some_and(|one| one.first) {
                pairs.push([first, second]);
            }
        }
        pairs
    }

    /// The other one of two.
    fn other(&self, record: &Certificate) -> Option<Arc<Certificate>> {
        let standby = record.care.standby.as_ref()?;
        let wanted = |one: &Certificate| !matches!(one.phase, Phase::Retiring { .. });
        let other = self.records.get(standby.beside).filter(|other| wanted(other))?;
        let mutual = other.care.standby.as_ref()?;
        let agree = mutual.beside == record.id() && mutual.back != standby.back;
        (agree && wanted(record)).then_some(other)
    }

    /// As `Records::change`, and where the other one of two is better for clients after that, it is shown
    /// from the same transaction on.
    pub(super) async fn change_two<F>(
        &self,
        id: CertificateId,
        mut change: F,
    ) -> Result<Option<Arc<Certificate>>, StoreError>
    where
        F: FnMut(&Certificate) -> Option<Change> + Send,
    {
        for _ in 0..TRIES {
            let found = self.records.get(id);
            let two = found.and_then(|record| Some((self.other(&record)?, record)));
            let Some((other, record)) = two else {
                return self.records.change(id, None, change).await;
            };
            let Some(changed) = change(&record) else { return Ok(None) };
            let is_first = record.care.standby.as_ref().is_some_and(|one| one.first);
            let (first, second) = if is_first {
                (&changed.record, other.as_ref())
            } else {
                (other.as_ref(), &changed.record)
            };
            let changes = match standby::turn(first, second, self.now()) {
                None => vec![changed],
                Some([mut one, two]) => {
                    let switched = std::mem::take(&mut one.entries);
                    one.entries = changed.entries.into_iter().chain(switched).collect();
                    vec![one, two]
                }
            };
            match self.store_all(changes).await {
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(self.records.get(id)),
            }
        }
        Err(StoreError::Conflict { id, expected: 0, found: 0 })
    }

    /// Stores changes in one transaction, and shows what follows. After a conflict the records are those
    /// of the store.
    pub(super) async fn store_all(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let ids: Vec<_> = changes.iter().map(|change| change.record.id()).collect();
        crash::point("switch-decided");
        let stored = self.records.change_all(changes).await;
        if let Err(error) = stored {
            if let StoreError::Conflict { .. } = error {
                for id in ids {
                    self.records.refresh(id).await?;
                }
            }
            return Err(error);
        }
        crash::point("switch-stored");
        self.follow(&ids).await?;
        crash::point("switch-shown");
        Ok(())
    }

    /// Shows of these certificates what is to be shown, and then no more what is not, so that there is
    /// something at every moment.
    pub(super) async fn follow(&self, ids: &[CertificateId]) -> Result<(), StoreError> {
        let (mut to_show, mut to_hide) = (Vec::new(), Vec::new());
        for id in ids {
            let back = self.records.get(*id).is_none_or(|record| record.stands_back());
            if back { to_hide.push(*id) } else { to_show.push(*id) }
        }
        for id in to_show.into_iter().chain(to_hide) {
            self.show(id).await?;
        }
        Ok(())
    }

    /// Publishes what is to be shown of a certificate, if it is not published, and takes away what is not
    /// to be.
    pub(super) async fn show(&self, id: CertificateId) -> Result<(), StoreError> {
        let _turn = self.showing.lock().await;
        let Some(record) = self.records.get(id) else { return Ok(()) };
        let shows = self.publisher.shows(id);
        if record.stands_back() {
            if shows {
                self.publisher.withdraw(&record.spec, record.revision);
            }
            return Ok(());
        }
        let Some(installed) = record.installed.clone().filter(|_| !shows) else { return Ok(()) };
        let Some(key) = self.records.store().key(installed.key).await? else { return Ok(()) };
        let spec = record.spec.clone();
        self.publisher.put(Served { id, spec, installed, key }, record.revision).await?;
        Ok(())
    }
}
