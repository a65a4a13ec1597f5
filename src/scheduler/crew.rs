//! Who is at work on which certificate: at most one for each (invariant 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::plan::Busy;
use super::plan::Work;
use crate::cert::spec::CertificateId;

/// What is at work, and how to end it.
#[derive(Debug, Default)]
pub(super) struct Crew {
    working: Mutex<BTreeMap<CertificateId, (Work, CancellationToken)>>,
}

impl Crew {
    pub(super) fn busy(&self) -> Busy {
        self.working().iter().map(|(id, (work, _))| (*id, *work)).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.working().is_empty()
    }

    /// Enters work on `id`; `None` when something is at work on it already (invariant 2).
    pub(super) fn enter(
        self: &Arc<Self>,
        id: CertificateId,
        work: Work,
        wake: &Arc<Notify>,
    ) -> Option<(Shift, CancellationToken)> {
        let mut working = self.working();
        if working.contains_key(&id) {
            return None;
        }
        let token = CancellationToken::new();
        working.insert(id, (work, token.clone()));
        Some((Shift { crew: Arc::clone(self), id, wake: Arc::clone(wake) }, token))
    }

    pub(super) fn dismiss(&self, id: CertificateId) {
        if let Some((_, token)) = self.working().get(&id) {
            token.cancel();
        }
    }

    pub(super) fn dismiss_all(&self) {
        self.working().values().for_each(|(_, token)| token.cancel());
    }

    fn working(&self) -> MutexGuard<'_, BTreeMap<CertificateId, (Work, CancellationToken)>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One piece of work. Its end is noticed however it comes, by return, drop or panic.
pub(super) struct Shift {
    crew: Arc<Crew>,
    id: CertificateId,
    wake: Arc<Notify>,
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.crew.working().remove(&self.id);
        self.wake.notify_one();
    }
}
