//! Orders for new keys, handed on to the scheduler.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use super::transfer::who;
use crate::admin::HouseError;
use crate::admin::Peer;
use crate::admin::Selector;
use crate::admin::find;
use crate::admin::view;
use crate::admin::wire::rotate::RotateKeys;
use crate::admin::wire::rotate::RotatedKey;
use crate::admin::wire::rotate::RotatedKeys;
use crate::cert::lifecycle::Phase;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Role;
use crate::scheduler::RenewError;
use crate::scheduler::Turn;

impl Residence {
    /// Has the next renewals make new keys, and renews at once if that is asked for.
    pub(super) async fn replace_keys(
        &self,
        order: RotateKeys,
        peer: Peer,
    ) -> Result<RotatedKeys, HouseError> {
        let records = self.records()?;
        let all = || records.iter().map(Arc::as_ref);
        let ids: Vec<CertificateId> = if order.all {
            all().filter(|record| is_renewed_here(record)).map(Certificate::id).collect()
        } else {
            let mut chosen = BTreeSet::new();
            for name in &order.certificates {
                chosen.insert(find(all(), &Selector::parse(name)?)?.id());
            }
            chosen.into_iter().collect()
        };
        let scheduler = &self.orders()?.scheduler;
        let turns = scheduler.rotate_keys(&ids, order.now, &who(peer)).await;
        let turns = turns.map_err(|error| match error {
            RenewError::Store(error) => unavailable(&error),
            other => refused(other.to_string()),
        })?;
        let now = self.clock.now();
        let told = ids.iter().zip(turns).filter_map(|(id, turn)| {
            let certificate = view::certificate(&*scheduler.certificate(*id)?, now);
            let when = match turn {
                Turn::NextRenewal => "next-renewal",
                Turn::Now => "now",
                Turn::AtWork => "at-work",
            };
            Some(RotatedKey { certificate, when: when.to_owned() })
        });
        Ok(RotatedKeys { certificates: told.collect() })
    }
}

/// What was imported gets its new key where it comes from, and what retires gets none.
fn is_renewed_here(record: &Certificate) -> bool {
    record.spec.role != Role::Imported && !matches!(record.phase, Phase::Retiring { .. })
}
