//! Keys that are kept, and keys that somebody wants replaced.

use super::*;
use crate::cert::key::KeyId;
use crate::scheduler::RenewError;
use crate::scheduler::Turn;

fn pinned() -> Config {
    let mut site = site(&["a.example"], acme());
    site.reuse_key = true;
    config(vec![site])
}

fn key_of(record: &Certificate) -> KeyId {
    record.installed.as_ref().unwrap().key
}

impl House {
    /// Renews, and gives the certificate that was installed then.
    async fn renewed(&self) -> Arc<Certificate> {
        let before = self.settled("holding").await.installed.clone().unwrap().at;
        // The fake CA takes serial numbers from keys.
        self.clock.advance(Duration::from_secs(1));
        self.handle.renew(self.primary().unwrap().id()).await.unwrap();
        let other = |record: &Certificate| {
            record.installed.as_ref().is_some_and(|installed| installed.at != before)
                && record.phase.word() == "holding"
        };
        self.until(other).await
    }
}

#[tokio::test]
async fn a_renewal_makes_a_new_key_unless_the_site_keeps_it() {
    let house = House::new(one_site(), Act::Issue).await;
    let first = key_of(&*house.settled("holding").await);
    let second = key_of(&*house.renewed().await);
    assert_ne!(first, second);
    house.config.send_replace(Arc::new(pinned()));
    assert_eq!(key_of(&*house.renewed().await), second);
    let house = house.restart(Act::Issue).await;
    let kept = house.renewed().await;
    assert_eq!(key_of(&kept), second);
    assert!(house.store.key(second).await.unwrap().is_some());
    assert_eq!(house.store.key(first).await.unwrap(), None, "nothing needs the first one");
    let asked = house.ca.asked.lock().unwrap().clone();
    let last = asked.last().unwrap();
    assert!(last.key_was_stored && !last.job.resumed, "{last:?}");
    house.config.send_replace(Arc::new(one_site()));
    assert_ne!(key_of(&*house.renewed().await), second);
}

#[tokio::test]
async fn a_wanted_key_comes_with_the_next_renewal_whatever_happens_before() {
    let house = House::new(pinned(), Act::Issue).await;
    let record = house.settled("holding").await;
    let (id, first) = (record.id(), key_of(&record));
    let turns = house.handle.rotate_keys(&[id], false, "somebody").await.unwrap();
    assert_eq!(turns, [Turn::NextRenewal]);
    let untouched = house.primary().unwrap();
    assert_eq!((untouched.phase.word(), key_of(&untouched)), ("holding", first));
    let house = house.restart(Act::Issue).await;
    assert!(house.store.is_worn(first).await.unwrap());
    let second = key_of(&*house.renewed().await);
    assert_ne!(second, first);
    assert_eq!(house.store.key(first).await.unwrap(), None);
    assert!(!house.store.is_worn(first).await.unwrap(), "the note went with the key");
    assert_eq!(key_of(&*house.renewed().await), second, "one new key was wanted");
}

#[tokio::test]
async fn a_key_that_was_made_for_a_failed_attempt_is_replaced_as_well() {
    let failure = Failure::new(FailureKind::Unreachable, "no route");
    let house = House::new(one_site(), Act::Fail(failure)).await;
    let record = house.settled("waiting").await;
    let made = record.phase.in_flight().unwrap().clone();
    assert!(made.order.is_some());
    house.behave(Act::Issue);
    let turns = house.handle.rotate_keys(&[record.id()], true, "somebody").await.unwrap();
    assert_eq!(turns, [Turn::Now]);
    let record = house.settled("holding").await;
    assert_ne!(key_of(&record), made.key);
    assert_eq!(house.store.key(made.key).await.unwrap(), None);
    let asked = house.ca.asked.lock().unwrap().clone();
    let mut of_primary = asked.iter().filter(|asked| asked.job.spec.role == Role::Primary);
    assert_eq!(of_primary.next_back().unwrap().job.order, None, "its order went with it");
}

#[tokio::test]
async fn an_attempt_that_is_at_work_is_told_and_its_key_is_replaced_next() {
    let house = House::new(pinned(), Act::Issue).await;
    let record = house.settled("holding").await;
    let (id, first) = (record.id(), key_of(&record));
    house.behave_primary(Act::Hang);
    house.handle.renew(id).await.unwrap();
    house.until(|record| record.phase.in_flight().is_some_and(|f| f.order.is_some())).await;
    let turns = house.handle.rotate_keys(&[id], true, "somebody").await.unwrap();
    assert_eq!(turns, [Turn::AtWork]);
    // The attempt dies with the house: the next one must not go on with the worn key.
    let house = house.restart(Act::Issue).await;
    let record = house.until(|r| r.phase.word() == "holding" && key_of(r) != first).await;
    assert_ne!(key_of(&record), first);
}

#[tokio::test]
async fn what_cannot_have_a_new_key_is_refused_and_then_nothing_is_noted() {
    let house = House::new(pinned(), Act::Issue).await;
    let record = house.settled("holding").await;
    let nobody = crate::cert::spec::CertificateId([9; 8]);
    let refused = house.handle.rotate_keys(&[record.id(), nobody], false, "somebody").await;
    assert!(matches!(refused, Err(RenewError::NotFound(id)) if id == nobody));
    assert!(!house.store.is_worn(key_of(&record)).await.unwrap());
    house.config.send_replace(Arc::new(config(vec![])));
    let record = house.settled("retiring").await;
    let refused = house.handle.rotate_keys(&[record.id()], false, "somebody").await;
    assert!(matches!(refused, Err(RenewError::Retiring(_))));
}
