//! Sites for which a certificate of a second CA stands by: when it is ordered, that it is not shown, and
//! when it is.

use super::*;
use crate::cert::care::Reason;
use crate::scheduler::SwitchError;

fn other() -> IssuerName {
    IssuerName::Acme("https://other.example/dir".to_owned())
}

fn with_standby() -> Config {
    let mut site = site(&["a.example"], acme());
    site.standby = Some(other());
    let mut config = config(vec![site]);
    config.cas = vec![crate::config::Acme {
        name: "other".to_owned(),
        directory: "https://other.example/dir".to_owned(),
        ..config.acme.clone()
    }];
    config
}

fn each(house: &House, first: Act, second: Act) {
    *house.ca.behaviour.lock().unwrap() = Arc::new(move |job| match job.spec.role {
        Role::Primary if job.spec.issuer == other() => second.clone(),
        Role::Primary => first.clone(),
        _ => Act::Issue,
    });
}

fn ill() -> Act {
    Act::Fail(Failure::new(FailureKind::CaFault, "503"))
}

fn serial(record: &Certificate) -> String {
    record.installed.as_ref().unwrap().serial.clone()
}

impl House {
    fn of(&self, issuer: &IssuerName) -> Option<Arc<Certificate>> {
        let mut all = self.handle.driven().into_iter();
        all.find(|one| one.spec.role == Role::Primary && one.spec.issuer == *issuer)
    }

    /// Waits until the certificate of this CA is as wanted.
    async fn of_which(
        &self,
        issuer: &IssuerName,
        wanted: impl Fn(&Certificate) -> bool,
    ) -> Arc<Certificate> {
        for _ in 0..4_000 {
            if let Some(record) = self.of(issuer).filter(|record| wanted(record)) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it never came to that: {:?}", self.of(issuer));
    }

    /// Both, as soon as each is installed and has nothing to do.
    async fn both(&self) -> [Arc<Certificate>; 2] {
        let ready = |one: &Certificate| one.phase.word() == "holding" && one.care.standby.is_some();
        [self.of_which(&acme(), ready).await, self.of_which(&other(), ready).await]
    }

    /// The serial numbers that clients of the name can be shown at all; bridges are none.
    fn on_show(&self) -> Vec<String> {
        let found = self.catalog.candidates(&Identifier::parse("a.example").unwrap()).unwrap();
        let own = found.iter().filter(|served| served.spec.role == Role::Primary);
        own.map(|served| served.installed.serial.clone()).collect()
    }

    /// Waits until clients are shown exactly this.
    async fn shows(&self, serial: &str) {
        for _ in 0..4_000 {
            if self.on_show() == [serial] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?} is shown, and not {serial}", self.on_show());
    }

    async fn switch(&self, back: bool) -> Result<bool, SwitchError> {
        let ids: Vec<_> = self.handle.driven().iter().map(|one| one.id()).collect();
        self.handle.switch(&ids, back, "somebody").await.map(|done| done.changed)
    }
}

#[tokio::test]
async fn the_second_is_ordered_after_the_first_under_its_own_key_and_is_not_shown() {
    let house = House::new(with_standby(), Act::Issue).await;
    let [first, second] = house.both().await;
    let asked: Vec<_> =
        house.askings().into_iter().map(|job| (job.spec.issuer, job.key.id())).collect();
    let key = |record: &Certificate| record.installed.as_ref().unwrap().key;
    assert_eq!(asked, [(acme(), key(&first)), (other(), key(&second))]);
    assert_ne!(key(&first), key(&second));
    house.shows(&serial(&first)).await;
    // It is renewed in its own time, and is not shown then either.
    house.handle.renew(second.id()).await.unwrap();
    let renewed = house.of_which(&other(), |one| serial(one) != serial(&second)).await;
    house.look().await;
    assert_eq!(house.on_show(), [serial(&first)]);
    assert!(renewed.stands_back());
    let house = house.restart(Act::Issue).await;
    assert_eq!(house.on_show(), [serial(&first)]);
    // Nor where the second copy has to be made anew.
    house.handle.renew(first.id()).await.unwrap();
    let first = house.of_which(&acme(), |one| serial(one) != serial(&first)).await;
    house.shows(&serial(&first)).await;
}

#[tokio::test]
async fn nothing_stands_by_while_a_name_cannot_be_proven_and_it_is_shown_while_the_first_ca_is_ill()
{
    let house = House::new(config(vec![]), Act::Issue).await;
    let wrong = Failure::new(FailureKind::ChallengeFailed, "404");
    each(&house, Act::Fail(wrong), Act::Issue);
    house.config.send_replace(Arc::new(with_standby()));
    house.of_which(&acme(), |one| one.phase.word() == "waiting").await;
    house.look().await;
    assert!(house.of(&other()).is_none());
    each(&house, ill(), Act::Issue);
    house.pass(Duration::from_secs(120)).await;
    let second = house.of_which(&other(), |one| one.installed.is_some()).await;
    house.shows(&serial(&second)).await;
    // As soon as the preferred one has issued one, that is shown.
    each(&house, Act::Issue, Act::Issue);
    let first = house.of(&acme()).unwrap();
    house.handle.renew(first.id()).await.unwrap();
    let first = house.of_which(&acme(), |one| one.installed.is_some()).await;
    house.shows(&serial(&first)).await;
    assert_eq!(house.told(EntryKind::Switched).await, 2);
}

#[tokio::test]
async fn a_switch_is_told_once_and_stays_over_restarts_and_is_refused_where_nothing_could_be_shown()
{
    let house = House::new(config(vec![]), Act::Issue).await;
    assert!(matches!(house.switch(false).await, Err(SwitchError::Alone)));
    each(&house, Act::Issue, ill());
    house.config.send_replace(Arc::new(with_standby()));
    house.of_which(&other(), |one| one.phase.word() == "waiting").await;
    let refused = house.switch(false).await.unwrap_err().to_string();
    assert!(
        refused.contains("other.example is not issued yet") && refused.contains("503"),
        "{refused}"
    );
    let id = house.of(&other()).unwrap().id();
    assert!(refused.ends_with(&format!("; see keyward why {id}")), "{refused}");
    each(&house, Act::Issue, Act::Issue);
    house.pass(DAY).await;
    let [first, second] = house.both().await;
    assert!(house.switch(false).await.unwrap());
    assert_eq!(house.on_show(), [serial(&second)], "when it returns");
    assert!(!house.switch(false).await.unwrap());
    assert_eq!(house.told(EntryKind::Switched).await, 1);
    let house = house.restart(Act::Issue).await;
    assert_eq!(house.on_show(), [serial(&second)]);
    let mut moved = with_standby();
    moved.sites[0].line = 99;
    house.config.send_replace(Arc::new(moved));
    house.look().await;
    assert_eq!(house.on_show(), [serial(&second)]);
    // The former first one is kept fresh.
    house.handle.renew(first.id()).await.unwrap();
    let fresh = house.of_which(&acme(), |one| serial(one) != serial(&first)).await;
    house.look().await;
    assert_eq!(house.on_show(), [serial(&second)]);
    assert!(house.switch(true).await.unwrap());
    assert_eq!(house.on_show(), [serial(&fresh)]);
    // Without the line there is one again, and the other goes.
    house.config.send_replace(Arc::new(one_site()));
    let gone = house.of_which(&other(), |one| one.phase.word() == "retiring").await;
    assert_eq!(house.on_show(), [serial(&fresh)]);
    assert!(gone.installed.is_some(), "kept, for a site that comes back");
    let alone = house.of_which(&acme(), |one| one.care.standby.is_none()).await;
    assert_eq!(house.on_show(), [serial(&alone)]);
}

#[tokio::test]
async fn the_line_of_a_switched_site_goes_and_the_preferred_one_is_shown() {
    let house = House::new(with_standby(), Act::Issue).await;
    let [first, second] = house.both().await;
    house.switch(false).await.unwrap();
    house.shows(&serial(&second)).await;
    house.config.send_replace(Arc::new(one_site()));
    house.shows(&serial(&first)).await;
    let house = house.restart(Act::Issue).await;
    house.shows(&serial(&first)).await;
}

#[tokio::test]
async fn one_that_its_ca_revoked_gives_way_in_the_transaction_that_notes_it() {
    let house = House::new(with_standby(), Act::Issue).await;
    let [first, second] = house.both().await;
    let recheck_at = house.now().plus(Duration::from_secs(3600));
    *house.ca.advice.lock().unwrap() = Some(RenewalAdvice { window: None, recheck_at });
    house.handle.renew(first.id()).await.unwrap();
    let first = house.of_which(&acme(), |one| serial(one) != serial(&first)).await;
    // No successor can be had of its CA.
    each(&house, ill(), Act::Issue);
    house.ca.revoked.lock().unwrap().insert(serial(&first), 1);
    let before = house.askings().len();
    house.pass(DAY * 2).await;
    house.shows(&serial(&second)).await;
    let journal = house.store.journal(0, 10_000).await.unwrap();
    let place = |kind| journal.iter().position(|entry| entry.kind == kind).unwrap();
    assert_eq!(place(EntryKind::Revoked) + 1, place(EntryKind::Switched));
    let ordering = journal.iter().rposition(|entry| entry.kind == EntryKind::Ordering).unwrap();
    assert!(place(EntryKind::Switched) < ordering, "before another one is ordered");
    assert!(house.askings().len() > before, "which it is");
    assert!(matches!(house.switch(true).await, Err(SwitchError::Revoked { .. })));
    assert_eq!(house.on_show(), [serial(&second)]);
}

#[tokio::test]
async fn one_that_its_owner_wants_revoked_gives_way_at_once_and_the_ca_is_told() {
    let house = House::new(with_standby(), Act::Issue).await;
    let [first, second] = house.both().await;
    each(&house, ill(), Act::Issue);
    house.handle.revoke(first.id(), Reason::KeyCompromise, "somebody").await.unwrap();
    assert_eq!(house.on_show(), [serial(&second)], "when it returns");
    let told = house.of_which(&acme(), |one| one.care.is_revoked(&serial(one))).await;
    assert_eq!(serial(&told), serial(&first), "no successor is needed for that");
    assert_eq!(*house.ca.revoked.lock().unwrap(), [(serial(&first), 1)].into());
}

#[tokio::test]
async fn a_site_whose_first_ca_is_gone_for_a_year_is_never_without_a_valid_certificate() {
    let house = House::new(with_standby(), Act::Issue).await;
    let [first, _] = house.both().await;
    each(&house, ill(), Act::Issue);
    let host = Identifier::parse("a.example").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for day in 0..365 {
        house.clock.advance(DAY);
        house.handle.wake();
        // As long as it takes the scheduler to have looked: what is shown is valid.
        let mut valid = false;
        for _ in 0..2_000 {
            let now = house.now();
            let found = house.catalog.candidates(&host).unwrap();
            let good = found.iter().find(|served| served.installed.validity.contains(now));
            if let Some(served) = good {
                seen.insert(served.installed.serial.clone());
                valid = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(valid, "day {day}: nothing valid is shown");
        // What is due is ordered before the next day.
        for _ in 0..2_000 {
            let due = |one: &Certificate| matches!(one.phase.word(), "due" | "ordering");
            if !house.handle.driven().iter().any(|one| due(one)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(seen.len() > 4 && seen.contains(&serial(&first)), "{seen:?}");
    let told = house.told(EntryKind::Switched).await;
    assert_eq!(told, 1, "before the first one ran out, and once");
}
