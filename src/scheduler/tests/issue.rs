//! Certificates that clients ask for: reserved before they are ordered, consumed once they are there, given
//! back where nothing comes of them, and shown to nobody here.

use super::*;
use crate::cert::allowance::Balance;
use crate::cert::allowance::Class;
use crate::cert::care::Accept;
use crate::cert::care::Reason;
use crate::cert::client::ClientName;
use crate::cert::issue::Claim;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyUsage;
use crate::cert::spec::CertificateId;
use crate::scheduler::IssueError;
use crate::scheduler::IssueOrder;
use crate::scheduler::WithdrawError;
use crate::scheduler::Withdrawn;
use crate::store::StoreError;

fn panel() -> ClientName {
    ClientName::parse("panel").unwrap()
}

fn order(names: &[&str], key: Option<&str>) -> IssueOrder {
    IssueOrder {
        client: panel(),
        names: names.iter().map(|name| Identifier::parse(name).unwrap()).collect(),
        key: KeyAlgorithm::P256,
        exportable: true,
        hosted: false,
        csr: None,
        idempotency: key.map(str::to_owned),
        who: "panel".to_owned(),
    }
}

/// Two certificates of each kind are free.
fn two_each() -> Config {
    let mut config = config(vec![]);
    config.allowance.free = Class::ALL.map(|class| (class, 2));
    config
}

impl House {
    async fn issuing(act: Act) -> Self {
        let house = Self::new(two_each(), Act::Issue).await;
        house.behave(act);
        house
    }

    async fn asks(&self, order: IssueOrder) -> Result<(CertificateId, bool), IssueError> {
        let config = Arc::clone(&self.config.borrow());
        self.handle.issue(&config, order).await.map(|one| (one.certificate, one.fresh))
    }

    /// The record once its phase is this.
    async fn once(&self, id: CertificateId, word: &str) -> Certificate {
        for _ in 0..4_000 {
            let record = self.store.certificate(id).await.unwrap();
            if let Some(record) = record.filter(|record| record.phase.word() == word) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not {word}: {:?}", self.store.certificate(id).await.unwrap());
    }

    async fn single(&self) -> [u64; 4] {
        let Balance { granted, available, reserved, consumed } =
            self.store.balances(panel()).await.unwrap()[0].1;
        [granted, available, reserved, consumed]
    }
}

#[tokio::test]
async fn one_call_orders_one_certificate_and_the_same_call_is_the_same_one() {
    let house = House::issuing(Act::Issue).await;
    assert_eq!(house.single().await, [2, 2, 0, 0], "before it ever asked");
    let (id, fresh) = house.asks(order(&["a.example"], Some("1"))).await.unwrap();
    assert!(fresh);
    let record = house.once(id, "holding").await;
    assert_eq!(house.single().await, [2, 1, 0, 1]);
    assert_eq!(record.claim(), Some(Claim::Consumed));
    let installed = record.installed.clone().unwrap();
    let key = house.store.key(installed.key).await.unwrap().unwrap();
    assert_eq!(key.usage, KeyUsage::ExportableTls);
    // For use elsewhere: the front door knows nothing of it.
    assert!(house.catalog.page(None, 9).unwrap().is_empty());
    assert!(!house.heard.lock().unwrap().contains(&record.spec.names()[0]));
    assert_eq!(house.asks(order(&["a.example"], Some("1"))).await.unwrap(), (id, false));
    let other = house.asks(order(&["b.example"], Some("1"))).await.unwrap_err();
    assert!(matches!(other, IssueError::Taken { certificate } if certificate == id), "{other}");
    let hosted = IssueOrder { hosted: true, ..order(&["a.example"], Some("1")) };
    assert!(matches!(house.asks(hosted).await, Err(IssueError::Taken { .. })));
    assert_eq!(house.single().await, [2, 1, 0, 1], "none of that was reserved");
    // Without such a key each call is one of its own, for the same names as well.
    let (second, fresh) = house.asks(order(&["a.example"], None)).await.unwrap();
    assert!(fresh && second != id);
    house.once(second, "holding").await;
    let refused = house.asks(order(&["a.example"], None)).await.unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("single: 0 of 2 left, 0 being ordered, 2 issued"), "{told}");
    assert!(told.contains("keyward pack grant panel --class single"), "{told}");
    assert_eq!(house.ca.asked.lock().unwrap().len(), 2, "no CA is asked for what is refused");
}

#[tokio::test]
async fn what_fails_for_good_is_given_back_and_reserved_again_when_it_is_asked_for_again() {
    let rejected = Failure::new(FailureKind::Rejected, "no such name");
    let house = House::issuing(Act::Fail(rejected)).await;
    let (id, _) = house.asks(order(&["a.example"], Some("1"))).await.unwrap();
    let record = house.once(id, "halted").await;
    assert_eq!(record.claim(), Some(Claim::Refunded));
    assert_eq!(house.single().await, [2, 2, 0, 0]);
    house.behave(Act::Issue);
    assert_eq!(house.asks(order(&["a.example"], Some("1"))).await.unwrap(), (id, true));
    house.once(id, "holding").await;
    assert_eq!(house.single().await, [2, 1, 0, 1]);
    // Where nothing is left, it is refused like any other.
    house.behave(Act::Fail(Failure::new(FailureKind::Rejected, "no")));
    let (failed, _) = house.asks(order(&["b.example"], Some("2"))).await.unwrap();
    house.once(failed, "halted").await;
    house.behave(Act::Issue);
    let (third, _) = house.asks(order(&["c.example"], None)).await.unwrap();
    house.once(third, "holding").await;
    let again = house.asks(order(&["b.example"], Some("2"))).await.unwrap_err();
    assert!(matches!(again, IssueError::Overdrawn(_)), "{again}");
    let by_hand = house.handle.renew(failed).await.unwrap_err();
    let by_hand =
        std::error::Error::source(&by_hand).is_none() && by_hand.to_string().contains("0 of 2");
    assert!(by_hand, "a renewal by hand would be issued for nothing");
    assert_eq!(house.once(failed, "halted").await.claim(), Some(Claim::Refunded));
    // What failed is forgotten after a week, and not before.
    house.pass(DAY * 6).await;
    house.once(failed, "halted").await;
    house.pass(DAY + Duration::from_secs(1)).await;
    for _ in 0..2_000 {
        if house.store.certificate(failed).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.store.certificate(failed).await.unwrap(), None);
    assert_eq!(house.single().await, [2, 0, 0, 2]);
}

#[tokio::test]
async fn an_order_that_comes_to_nothing_ends_in_its_time() {
    let house = House::issuing(Act::Fail(Failure::new(FailureKind::Unreachable, "no route"))).await;
    let (id, _) = house.asks(order(&["a.example"], None)).await.unwrap();
    house.once(id, "waiting").await;
    assert_eq!(house.single().await, [2, 1, 1, 0]);
    let mut hours = 0;
    while house.store.certificate(id).await.unwrap().unwrap().claim() == Some(Claim::Reserved) {
        assert!(hours < 30, "it goes on for ever");
        hours += 1;
        house.pass(Duration::from_secs(3600)).await;
    }
    let record = house.once(id, "halted").await;
    assert!(record.phase.failure().unwrap().detail.contains("no route"));
    assert_eq!(house.single().await, [2, 2, 0, 0]);
    assert!(house.told(EntryKind::Failed).await >= 2, "it was tried more than once");
    assert_eq!(house.told(EntryKind::Halted).await, 1);
}

#[tokio::test]
async fn what_nobody_came_to_in_its_time_ends_as_well() {
    let house = House::issuing(Act::Issue).await;
    // Nothing begins any more.
    house.handle.stand_still().await;
    let (id, _) = house.asks(order(&["a.example"], None)).await.unwrap();
    house.clock.advance(DAY + Duration::from_secs(1));
    house.handle.go_on();
    house.once(id, "halted").await;
    assert_eq!(house.single().await, [2, 2, 0, 0]);
    assert!(house.ca.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_order_is_cancelled_and_its_work_ends() {
    let house = House::issuing(Act::Hang).await;
    let (id, _) = house.asks(order(&["a.example"], Some("1"))).await.unwrap();
    house.once(id, "ordering").await;
    while house.ca.presented.lock().unwrap().0 == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let withdrawn = house.handle.withdraw(id, Reason::Unspecified, "panel").await.unwrap();
    assert_eq!(withdrawn, Withdrawn::Cancelled);
    assert_eq!(house.single().await, [2, 2, 0, 0]);
    assert_eq!(house.store.certificate(id).await.unwrap(), None);
    for _ in 0..2_000 {
        if house.ca.presented.lock().unwrap().0 == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.ca.presented.lock().unwrap().0, 0, "its challenge is withdrawn");
    let again = house.handle.withdraw(id, Reason::Unspecified, "panel").await.unwrap_err();
    assert!(matches!(again, WithdrawError::NotFound(_)), "{again}");
    // Asked for again, it is a new order.
    house.behave(Act::Issue);
    assert_eq!(house.asks(order(&["a.example"], Some("1"))).await.unwrap(), (id, true));
    house.once(id, "holding").await;
    assert_eq!(house.single().await, [2, 1, 0, 1]);
}

#[tokio::test]
async fn what_was_issued_is_revoked_once_and_nothing_follows_it() {
    let house = House::issuing(Act::Issue).await;
    let hosted = IssueOrder { hosted: true, ..order(&["a.example"], None) };
    let (id, _) = house.asks(hosted).await.unwrap();
    let record = house.once(id, "holding").await;
    let serial = record.installed.unwrap().serial;
    let withdrawn = house.handle.withdraw(id, Reason::KeyCompromise, "panel").await.unwrap();
    assert_eq!(withdrawn, Withdrawn::Revoking);
    for _ in 0..2_000 {
        if house.told(EntryKind::Revoked).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.ca.revoked.lock().unwrap().get(&serial), Some(&1));
    let record = house.once(id, "retiring").await;
    assert!(record.care.is_revoked(&serial));
    assert_eq!(house.single().await, [2, 1, 0, 1], "it stays consumed");
    assert_eq!(house.ca.asked.lock().unwrap().len(), 1, "no other one is ordered");
    let again = house.handle.withdraw(id, Reason::KeyCompromise, "panel").await.unwrap_err();
    assert!(matches!(again, WithdrawError::Revoked { .. }), "{again}");
    assert!(house.handle.host(id, Accept::default(), &acme(), "panel").await.is_err());
    house.pass(DAY * 100).await;
    for _ in 0..2_000 {
        if house.store.certificate(id).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.store.certificate(id).await.unwrap(), None);
    assert_eq!(house.single().await, [2, 1, 0, 1]);
}

#[tokio::test]
async fn what_is_hosted_is_replaced_before_it_is_revoked_and_else_nothing_follows() {
    let house = House::issuing(Act::Issue).await;
    let hosted = IssueOrder { hosted: true, ..order(&["a.example"], None) };
    let (kept, _) = house.asks(hosted).await.unwrap();
    let (left, _) = house.asks(order(&["b.example"], None)).await.unwrap();
    let former = house.once(kept, "holding").await.installed.unwrap();
    house.once(left, "holding").await;
    let refused = house.handle.renew(left).await.unwrap_err().to_string();
    assert!(refused.contains("keyward host"), "{refused}");
    house.behave(Act::Hang);
    house.handle.revoke(kept, Reason::KeyCompromise, "panel").await.unwrap();
    house.handle.revoke(left, Reason::KeyCompromise, "panel").await.unwrap();
    house.once(left, "retiring").await;
    house.once(kept, "ordering").await;
    let other = house.store.certificate(left).await.unwrap().unwrap().installed.unwrap().serial;
    for _ in 0..2_000 {
        if house.ca.revoked.lock().unwrap().contains_key(&other) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.ca.revoked.lock().unwrap().keys().collect::<Vec<_>>(), [&other]);
    house.behave(Act::Issue);
    let house = house.restart(Act::Issue).await;
    for _ in 0..4_000 {
        if house.told(EntryKind::Revoked).await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.told(EntryKind::Revoked).await, 2);
    let replaced = house.once(kept, "holding").await;
    assert!(replaced.care.is_revoked(&former.serial));
    assert_ne!(replaced.installed.unwrap().key, former.key, "a compromised key goes on");
    assert_eq!(house.single().await, [2, 0, 0, 2]);
}

#[tokio::test]
async fn what_is_hosted_is_renewed_for_nothing_and_what_is_not_runs_out() {
    let house = House::issuing(Act::Issue).await;
    let hosted = IssueOrder { hosted: true, ..order(&["a.example"], None) };
    let (kept, _) = house.asks(hosted).await.unwrap();
    let (left, _) = house.asks(order(&["b.example"], None)).await.unwrap();
    let first = house.once(kept, "holding").await;
    let end = house.once(left, "holding").await.installed.unwrap().validity.not_after;
    house.pass(DAY * 75).await;
    let record = house.once(left, "retiring").await;
    assert!(record.installed.is_some(), "it is there as long as it lasts");
    for _ in 0..2_000 {
        let now = house.store.certificate(kept).await.unwrap().unwrap();
        if now.phase.word() == "holding" && now.installed != first.installed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_ne!(house.once(kept, "holding").await.installed, first.installed);
    assert_eq!(house.single().await, [2, 0, 0, 2], "a renewal consumes nothing");
    // Its owner may still change its mind.
    let hosted = house.handle.host(left, Accept::default(), &acme(), "panel").await.unwrap();
    assert_ne!(hosted.phase.word(), "retiring");
    house.once(left, "holding").await;
    house.handle.unhost(left, "panel").await.unwrap();
    house.clock.set(end.plus(DAY));
    house.look().await;
    house.once(left, "retiring").await;
    house.pass(DAY * 8).await;
    for _ in 0..2_000 {
        if house.store.certificate(left).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.store.certificate(left).await.unwrap(), None);
    assert_eq!(house.single().await, [2, 0, 0, 2]);
}

#[tokio::test]
async fn an_order_that_a_restart_cuts_off_goes_on_with_its_key_and_is_counted_once() {
    let house = House::issuing(Act::Hang).await;
    let (id, _) = house.asks(order(&["a.example"], None)).await.unwrap();
    house.once(id, "ordering").await;
    while house.ca.asked.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let key = house.ca.asked.lock().unwrap()[0].job.key.id();
    let house = house.restart(Act::Issue).await;
    let record = house.once(id, "holding").await;
    assert_eq!(record.installed.unwrap().key, key);
    assert_eq!(house.single().await, [2, 1, 0, 1]);
    let ledger = house.store.ledger(Some(panel()), 0, 99).await.unwrap();
    let words: Vec<_> = ledger.iter().map(|entry| entry.what.word()).collect();
    assert_eq!(words, ["granted", "reserved", "consumed"]);
}

#[tokio::test]
async fn what_can_only_fail_is_refused_before_anything_is_reserved() {
    let house = House::issuing(Act::Issue).await;
    for (names, part) in [
        (&[][..], "1 to 100 names"),
        (&["*.a.example"], "no [[dns]] account"),
        (&["printer.local"], "issuer = \"internal\""),
    ] {
        let told = house.asks(order(names, None)).await.unwrap_err().to_string();
        assert!(told.contains(part), "{names:?}: {told}");
    }
    let mut unread = two_each();
    unread.acme.accept_terms = false;
    let refused = house.handle.issue(&unread, order(&["a.example"], None)).await.unwrap_err();
    assert!(matches!(refused, IssueError::Terms(_)), "{refused}");
    assert!(house.store.certificates().await.unwrap().is_empty());
    // The CA of this machine signs whatever it is asked.
    let mut own = two_each();
    own.allowance.issuers = vec![IssuerName::Internal];
    house.config.send_replace(Arc::new(own));
    let (id, _) = house.asks(order(&["*.printer.local"], None)).await.unwrap();
    let record = house.once(id, "holding").await;
    assert_eq!(record.issued_by(), &IssuerName::Internal);
}

#[tokio::test]
async fn a_changed_file_counts_for_clients_at_once() {
    let house = House::issuing(Act::Issue).await;
    let (id, _) = house.asks(order(&["a.example"], None)).await.unwrap();
    house.once(id, "holding").await;
    let mut more = two_each();
    more.allowance.free = [(Class::Single, 5), (Class::Wildcard, 0), (Class::Multi, 0)];
    house.config.send_replace(Arc::new(more));
    for _ in 0..2_000 {
        if house.single().await == [5, 4, 0, 1] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.single().await, [5, 4, 0, 1]);
    let conflict = house.store.remove_as(id, 0, vec![]).await.unwrap_err();
    assert!(matches!(conflict, StoreError::Conflict { .. }), "it was changed since: {conflict}");
}

#[tokio::test]
async fn a_client_that_asks_for_many_does_not_keep_another_waiting_for_all_of_them() {
    let house = House::issuing(Act::Issue).await;
    let mut config = two_each();
    config.allowance.free = Class::ALL.map(|class| (class, 100));
    house.config.send_replace(Arc::new(config));
    house.handle.stand_still().await;
    for _ in 0..40 {
        house.asks(order(&["a.example"], None)).await.unwrap();
    }
    let other = ClientName::parse("zoe").unwrap();
    let (id, _) =
        house.asks(IssueOrder { client: other, ..order(&["b.example"], None) }).await.unwrap();
    house.handle.go_on();
    house.once(id, "holding").await;
    let asked = house.ca.asked.lock().unwrap();
    let place = asked.iter().position(|asked| asked.job.spec.id() == id).unwrap();
    assert!(place < 2 * crate::base::bounds::ORDERS_AT_ONCE, "it came as number {place}");
}
