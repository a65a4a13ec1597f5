//! The steps in the middle of an attempt, on behalf of the issuer: each is stored, and no order is opened
//! without a permit.
//!
//! What an order asks for, and of whom, is settled before.

use std::sync::Mutex;
use std::sync::PoisonError;

use super::budget::Novelty;
use super::budget::Permit;
use super::job::Workshop;
use super::transition;
use crate::base::crash;
use crate::cert::challenge::BoxFuture;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::ports::Progress;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Specification;

/// The steps of one attempt.
pub(super) struct Steps<'a> {
    shop: &'a Workshop,
    id: CertificateId,
    spec: &'a Specification,
    /// What an order is that names no predecessor.
    otherwise: Novelty,
    /// What the next order is.
    novelty: Mutex<Novelty>,
    /// Taken for an order that is not opened yet (invariant 9).
    permit: Mutex<Option<Permit>>,
}

impl<'a> Steps<'a> {
    /// Those of an attempt at the certificate `id` as `spec` asks for it. Its orders name what they
    /// replace where `replaces`, and are `otherwise` to the CA where they do not.
    pub(super) const fn new(
        shop: &'a Workshop,
        (id, spec): (CertificateId, &'a Specification),
        replaces: bool,
        otherwise: Novelty,
    ) -> Self {
        let novelty = Mutex::new(if replaces { Novelty::Replacement } else { otherwise });
        Self { shop, id, spec, otherwise, novelty, permit: Mutex::new(None) }
    }

    /// Takes leave for the next order.
    ///
    /// # Errors
    /// When the CA would refuse it.
    pub(super) fn take_permit(&self) -> Result<(), Failure> {
        let (now, novelty) = (self.shop.now(), self.novelty());
        let taken = self.shop.with_budget(|b| b.permit(self.spec, novelty, now))?;
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        Ok(())
    }

    /// Gives leave back that was not made use of.
    pub(super) fn give_back(&self) {
        if let Some(permit) = self.held() {
            self.shop.with_budget(|budget| budget.give_back(permit));
        }
    }

    fn held(&self) -> Option<Permit> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn novelty(&self) -> Novelty {
        *self.novelty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Steps<'_> {
    fn order_opened<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            // The order exists: the permit is used up whatever happens to our record.
            drop(self.held());
            let (now, novelty) = (self.shop.now(), self.novelty());
            let stored = self.shop.records.change(self.id, None, |record| {
                let change = transition::order_opened(record, url, novelty, now);
                change.record.phase.in_flight().is_some().then_some(change)
            });
            let stored = stored.await.map_err(|error| {
                self.shop.records.note(&error);
                error.failure()
            })?;
            if stored.is_none() {
                let detail = "the certificate is not wanted any more";
                return Err(Failure::new(FailureKind::Lapsed, detail));
            }
            crash::point("order-stored");
            Ok(())
        })
    }

    fn counted(&self) -> BoxFuture<'_, Result<(), Failure>> {
        self.give_back();
        *self.novelty.lock().unwrap_or_else(PoisonError::into_inner) = self.otherwise;
        Box::pin(async { self.take_permit() })
    }

    fn order_lost(&self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let now = self.shop.now();
            let stored = self
                .shop
                .records
                .change(self.id, None, |record| Some(transition::order_lost(record, now)));
            stored.await.map_err(|error| {
                self.shop.records.note(&error);
                error.failure()
            })?;
            // What follows is a new order.
            self.take_permit()
        })
    }

    fn challenge_failed<'a>(
        &'a self,
        failures: &'a [Failure],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let now = self.shop.now();
            self.shop.with_budget(|budget| {
                for failure in failures {
                    budget.failed(self.spec, failure, now);
                }
            });
            let stored = self.shop.records.change(self.id, None, |record| {
                Some(transition::challenge_failed(record, failures, now))
            });
            stored.await.map_err(|error| {
                self.shop.records.note(&error);
                error.failure()
            })?;
            // What follows is a new order.
            self.take_permit()
        })
    }
}
