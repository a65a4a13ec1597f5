//! Certificates that are revoked, by their owners or by their CA.

use super::*;
use crate::cert::care::Reason;
use crate::cert::journal::Entry;
use crate::scheduler::RevokeError;

/// A site that keeps its key.
fn pinned() -> Config {
    let mut site = site(&["a.example"], acme());
    site.reuse_key = true;
    config(vec![site])
}

impl House {
    /// What is installed once it is another than `former`.
    async fn other_than(&self, former: &Certificate) -> Arc<Certificate> {
        let serial = former.installed.as_ref().unwrap().serial.clone();
        let other = move |record: &Certificate| {
            let installed = record.installed.as_ref();
            record.phase.word() == "holding" && installed.is_some_and(|one| one.serial != serial)
        };
        self.until(other).await
    }
}

#[tokio::test]
async fn what_the_ca_revoked_by_itself_is_replaced_under_another_key() {
    let house = House::new(pinned(), Act::Issue).await;
    let first = house.settled("holding").await;
    // The CA names a moment at which it wants to be asked.
    let recheck_at = house.clock.now().plus(Duration::from_secs(3600));
    *house.ca.advice.lock().unwrap() = Some(RenewalAdvice { window: None, recheck_at });
    house.handle.rotate_keys(&[first.id()], true, "somebody").await.unwrap();
    let second = house.other_than(&first).await;
    house.pass(Duration::from_secs(7200)).await;
    assert_eq!(house.primary().unwrap().installed, second.installed, "it is not revoked yet");
    let serial = second.installed.as_ref().unwrap().serial.clone();
    house.ca.revoked.lock().unwrap().insert(serial.clone(), 1);
    // Looked at once a day, however often the CA wants to be asked.
    house.pass(Duration::from_secs(7200)).await;
    assert_eq!(house.primary().unwrap().installed, second.installed);
    house.pass(DAY).await;
    let third = house.other_than(&second).await;
    let key = |record: &Certificate| record.installed.as_ref().unwrap().key;
    assert_ne!(key(&third), key(&second));
    assert!(third.care.is_revoked(&serial));
    let told = house.store.journal(0, 100).await.unwrap();
    assert_eq!(told.iter().filter(|entry| entry.kind == EntryKind::Revoked).count(), 1);
}

#[tokio::test]
async fn a_wanted_revocation_is_told_once_and_only_after_the_replacement_is_installed() {
    let house = House::new(pinned(), Act::Issue).await;
    let first = house.settled("holding").await;
    let serial = first.installed.as_ref().unwrap().serial.clone();
    let failing = Failure::new(FailureKind::CaFault, "503");
    *house.ca.behaviour.lock().unwrap() = Arc::new(move |_| Act::Fail(failing.clone()));
    house.handle.revoke(first.id(), Reason::KeyCompromise, "somebody").await.unwrap();
    house.settled("waiting").await;
    assert!(house.ca.revoked.lock().unwrap().is_empty(), "it is still served");
    let again = house.handle.revoke(first.id(), Reason::Superseded, "somebody").await;
    assert!(matches!(again, Err(RevokeError::AtWork { serial: found }) if found == serial));
    // It is not forgotten over a restart.
    let house = house.restart(Act::Issue).await;
    house.pass(DAY).await;
    let second = house.other_than(&first).await;
    let done = house.until(|record| record.care.revoking.is_none()).await;
    assert_eq!(*house.ca.revoked.lock().unwrap(), [(serial.clone(), 1)].into());
    assert!(done.care.is_revoked(&serial));
    let key = |record: &Certificate| record.installed.as_ref().unwrap().key;
    assert_ne!(key(&second), key(&first), "whatever the site says");
}

#[tokio::test]
async fn an_attempt_that_keeps_the_key_and_was_at_work_before_does_not_install_it() {
    let house = House::new(pinned(), Act::Issue).await;
    let first = house.settled("holding").await;
    let gate = Arc::new(tokio::sync::Notify::new());
    house.behave_primary(Act::Hold(Arc::clone(&gate)));
    house.handle.renew(first.id()).await.unwrap();
    let working = house.until(|r| r.phase.in_flight().is_some_and(|f| f.order.is_some())).await;
    let key = |record: &Certificate| record.installed.as_ref().unwrap().key;
    assert_eq!(working.phase.in_flight().unwrap().key, key(&first), "the site keeps its key");
    house.handle.revoke(first.id(), Reason::KeyCompromise, "somebody").await.unwrap();
    house.behave(Act::Issue);
    gate.notify_one();
    house.settled("waiting").await;
    house.pass(DAY).await;
    let second = house.other_than(&first).await;
    assert_ne!(key(&second), key(&first));
    house.until(|record| record.care.revoking.is_none()).await;
    let told = house.store.journal(0, 100).await.unwrap();
    let of_site = |entry: &&Entry| entry.certificate == Some(first.id());
    let installed = told.iter().filter(of_site).filter(|e| e.kind == EntryKind::Installed);
    assert_eq!(installed.count(), 2, "never once under the key that is to be revoked");
}
