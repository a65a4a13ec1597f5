//! Sites with more than one CA: when another is asked, and that the first is asked first again.

use super::*;

fn other() -> IssuerName {
    IssuerName::Acme("https://other.example/dir".to_owned())
}

/// A site that asks two CAs.
fn two_cas() -> Config {
    let mut site = site(&["a.example"], acme());
    site.further = vec![other()];
    site.preferred_chain = Some("Root of the first".to_owned());
    let mut config = config(vec![site]);
    let second = crate::config::Acme {
        name: "other".to_owned(),
        directory: "https://other.example/dir".to_owned(),
        profile: Some("of-the-other".to_owned()),
        ..config.acme.clone()
    };
    config.cas = vec![second];
    config
}

/// How each of the two acts on the site's own certificate; the bridge is always made.
fn each(house: &House, first: Act, second: Act) {
    *house.ca.behaviour.lock().unwrap() = Arc::new(move |job| match job.spec.role {
        Role::Primary | Role::Onboarded if job.spec.issuer == other() => second.clone(),
        Role::Primary | Role::Onboarded => first.clone(),
        Role::Bridge | Role::Imported | Role::Issued(_) => Act::Issue,
    });
}

fn failing(kind: FailureKind) -> Act {
    Act::Fail(Failure::new(kind, "as it was told to"))
}

impl House {
    /// What was asked for the site's own certificate, in order.
    pub(super) fn askings(&self) -> Vec<crate::cert::ports::Job> {
        let asked = self.ca.asked.lock().unwrap();
        let jobs = asked.iter().map(|asked| asked.job.clone());
        jobs.filter(|job| job.spec.role == Role::Primary).collect()
    }

    /// Lets ladders pass, a rung at a time, until the primary record is as wanted.
    async fn climb(&self, wanted: impl Fn(&Certificate) -> bool) -> Arc<Certificate> {
        for _ in 0..40 {
            for _ in 0..200 {
                match self.primary() {
                    Some(record) if wanted(&record) => return record,
                    Some(record) if record.phase.wake_at(self.now()) > Some(self.now()) => break,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            let wake = self.primary().and_then(|record| record.phase.wake_at(self.now()));
            let wait = wake.map_or(Duration::from_secs(60), |at| at.since(self.now()));
            self.pass(wait + Duration::from_secs(1)).await;
        }
        panic!("it never came to that: {:?}", self.primary());
    }
}

#[tokio::test]
async fn a_ca_that_cannot_be_reached_gives_way_and_is_asked_first_again_at_the_renewal() {
    let house = House::new(config(vec![]), Act::Issue).await;
    each(&house, failing(FailureKind::Unreachable), Act::Issue);
    house.config.send_replace(Arc::new(two_cas()));
    let record = house.climb(|record| record.installed.is_some()).await;
    let asked: Vec<_> = house.askings().iter().map(|job| job.spec.issuer.clone()).collect();
    assert_eq!(asked, [acme(), acme(), acme(), other()]);
    assert_eq!(record.spec.issuer, acme(), "it is the same certificate");
    assert_eq!(record.issued_by(), &other());
    assert_eq!(record.issuer(), &acme(), "who is asked for the next one");
    assert_eq!(record.care.choice.left.len(), 1);
    let last = house.askings().pop().unwrap();
    assert_eq!(last.spec.profile.as_deref(), Some("of-the-other"));
    // A root is a word of the first CA.
    let chains: Vec<_> = house.askings().into_iter().map(|job| job.preferred_chain).collect();
    assert_eq!(chains.first().unwrap().as_deref(), Some("Root of the first"));
    assert_eq!(last.preferred_chain, None);
    assert!(!last.resumed, "no order of the other's is looked for");
    assert_eq!(house.told(EntryKind::IssuerLeft).await, 1);
    // Nothing is asked before its own renewal.
    let before = house.askings().len();
    house.pass(DAY * 30).await;
    assert_eq!(house.askings().len(), before);
    each(&house, Act::Issue, Act::Issue);
    house.pass(DAY * 35).await;
    let renewed = house.climb(|record| record.issued_by() == &acme()).await;
    assert_eq!(renewed.care.choice, crate::cert::choice::Choice::default());
    assert_eq!(house.askings().len(), before + 1);
    let first = house.askings().pop().unwrap();
    assert_eq!(first.replaces, None, "the first knows nothing of what the second issued");
    house.handle.renew(renewed.id()).await.unwrap();
    house.climb(|now| now.installed != renewed.installed && now.phase.word() == "holding").await;
    let again = house.askings().pop().unwrap();
    assert!(again.replaces.is_some());
}

#[tokio::test]
async fn what_is_wrong_with_the_site_itself_is_never_taken_to_another_ca() {
    for kind in [FailureKind::Dns, FailureKind::Connection, FailureKind::ChallengeFailed] {
        let house = House::new(two_cas(), failing(kind)).await;
        for _ in 0..12 {
            house.settled("waiting").await;
            house.pass(DAY * 2).await;
        }
        let jobs = house.askings();
        assert!(jobs.len() >= 6, "{}", jobs.len());
        assert!(jobs.iter().all(|job| job.spec.issuer == acme()), "{kind:?}");
    }
}

#[tokio::test]
async fn after_a_restart_the_second_ca_goes_on_with_its_own_order_and_key() {
    let house = House::new(config(vec![]), Act::Issue).await;
    each(&house, failing(FailureKind::Account), Act::Hang);
    house.config.send_replace(Arc::new(two_cas()));
    let at_other = |record: &Certificate| {
        record.issuer() == &other() && record.phase.in_flight().is_some_and(|f| f.order.is_some())
    };
    let begun = house.climb(at_other).await;
    let in_flight = begun.phase.in_flight().unwrap().clone();
    let first_key = house.askings()[0].key.id();
    assert_ne!(in_flight.key, first_key, "a key is shown to one CA");
    let house = house.restart(Act::Issue).await;
    let record = house.climb(|record| record.installed.is_some()).await;
    assert_eq!(record.issued_by(), &other());
    let jobs = house.askings();
    assert_eq!(jobs.len(), 1, "the first is not asked again");
    assert_eq!(jobs[0].spec.issuer, other());
    assert_eq!((jobs[0].order.clone(), jobs[0].key.id()), (in_flight.order, in_flight.key));
}

#[tokio::test]
async fn when_none_answers_each_is_asked_at_the_pace_of_its_own() {
    let unreachable = failing(FailureKind::Unreachable);
    let house = House::new(two_cas(), unreachable).await;
    let begun = house.now();
    let round = |record: &Certificate| record.care.choice.left.len() == 2;
    house.climb(round).await;
    while house.now().since(begun) < DAY * 3 {
        house.climb(|record| record.phase.word() == "waiting").await;
        let wake = house.primary().and_then(|record| record.phase.wake_at(house.now()));
        house.pass(wake.unwrap().since(house.now()) + Duration::from_secs(1)).await;
    }
    let jobs = house.askings();
    let count = |issuer: IssuerName| jobs.iter().filter(|job| job.spec.issuer == issuer).count();
    let (first, second) = (count(acme()), count(other()));
    assert!(first >= 4 && second >= 4, "{first}, {second}");
    // As often as the ladder would have one that is alone.
    assert!(first <= 9 && second <= 9, "{first}, {second}");
    each(&house, unreachable_of_first(), Act::Issue);
    house.climb(|record| record.installed.is_some()).await;
}

fn unreachable_of_first() -> Act {
    failing(FailureKind::Unreachable)
}

#[tokio::test]
async fn a_ca_that_is_taken_out_of_the_list_is_not_asked_any_more() {
    let house = House::new(config(vec![]), Act::Issue).await;
    each(&house, failing(FailureKind::Unreachable), failing(FailureKind::Unreachable));
    house.config.send_replace(Arc::new(two_cas()));
    // Until that one has failed as well, and nobody is at work before the clock goes on.
    let failed = |record: &Certificate| {
        record.issuer() == &other()
            && record.care.choice.trouble.is_some()
            && record.phase.word() == "waiting"
    };
    house.climb(failed).await;
    let mut one = two_cas();
    one.sites[0].further.clear();
    each(&house, Act::Issue, Act::Issue);
    house.config.send_replace(Arc::new(one));
    let record = house.climb(|record| record.installed.is_some()).await;
    assert_eq!((record.issuer(), record.issued_by()), (&acme(), &acme()));
    assert!(record.care.choice.left.is_empty());
}

#[tokio::test]
async fn what_the_second_ca_issued_is_revoked_there() {
    let house = House::new(config(vec![]), Act::Issue).await;
    each(&house, failing(FailureKind::Rejected), Act::Issue);
    house.config.send_replace(Arc::new(two_cas()));
    let record = house.climb(|record| record.installed.is_some()).await;
    each(&house, Act::Issue, Act::Issue);
    let reason = crate::cert::care::Reason::Superseded;
    house.handle.revoke(record.id(), reason, "somebody").await.unwrap();
    let noted = house.primary().unwrap();
    assert_eq!(noted.revoked_by(), &other());
    house.climb(|record| record.care.revoked.is_some()).await;
    let told = house.store.journal(0, 1000).await.unwrap();
    let revoked = told.iter().find(|entry| entry.kind == EntryKind::Revoked).unwrap();
    assert!(revoked.message.starts_with("other.example revoked"), "{}", revoked.message);
}
