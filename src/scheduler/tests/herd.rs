//! Thousands of imported certificates: none of them in memory, each woken once at its moment.

use std::collections::BTreeMap;

use super::*;
use crate::base::bounds;
use crate::cert::chain::Chain;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::key::KeyHandle;
use crate::cert::key::KeyId;
use crate::cert::key::KeyUsage;
use crate::cert::key::SealedKey;
use crate::cert::record::Installed;
use crate::cert::spec::CertificateId;
use crate::cert::spec::Specification;
use crate::cert::validity::Validity;

/// More than ten times what is woken at once, and some.
const MANY: u32 = 3000;

/// One key for all of them: what it says is nobody's business here.
fn key() -> KeyHandle {
    let spki: Arc<[u8]> = Arc::from([7; 91]);
    let (algorithm, usage) = (KeyAlgorithm::P256, KeyUsage::Tls);
    let sealed = SealedKey(Arc::from([1, 2, 3]));
    KeyHandle { id: KeyId::of_spki(&spki), algorithm, usage, spki, sealed }
}

/// The certificate of this number, whose moment comes after so many hours.
fn brought(number: u32, hours: u64, chain: &Chain) -> Certificate {
    let names = vec![Identifier::parse(&format!("n{number}.herd.example")).unwrap()];
    let issuer = IssuerName::Imported;
    let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Imported);
    let renew_at = START.plus(Duration::from_secs(hours * 3600));
    let not_after = START.plus(DAY * 90);
    let validity = Validity { not_before: START.minus(DAY), not_after };
    let window = RenewalWindow::new(renew_at, renew_at.plus(Duration::from_secs(60))).unwrap();
    let (chain, serial) = (chain.clone(), format!("{number:x}"));
    Certificate {
        installed: Some(Installed {
            chain,
            key: key().id,
            validity,
            serial,
            ari_id: None,
            at: START.minus(DAY),
        }),
        phase: Phase::Holding { renew_at, window, recheck_at: None },
        ..Certificate::wanted(spec)
    }
}

/// How often the owner of each was told.
async fn reminders(house: &House) -> BTreeMap<CertificateId, usize> {
    let mut told = BTreeMap::new();
    for entry in house.store.journal(0, bounds::JOURNAL_ENTRIES).await.unwrap() {
        if entry.kind == EntryKind::Halted {
            *told.entry(entry.certificate.unwrap()).or_default() += 1;
        }
    }
    told
}

impl House {
    /// Waits until so many are halted and the scheduler has come to rest.
    async fn halted(&self, wanted: u64) {
        self.handle.wake();
        for _ in 0..1000 {
            let phases = self.store.imported().await.unwrap();
            if phases.get("halted").copied().unwrap_or_default() == wanted {
                // Whoever is woken too early or twice has the time for it.
                return self.look().await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never came to {wanted}: {:?}", self.store.imported().await);
    }
}

#[tokio::test]
async fn none_of_thousands_is_in_memory_and_each_is_woken_once_at_its_moment() {
    // No bridge beside it.
    let first = config(vec![site(&["a.example"], IssuerName::Internal)]);
    let house = House::new(first, Act::Issue).await;
    let own = house.settled("holding").await;
    let chain = own.installed.as_ref().unwrap().chain.clone();
    // In three parts: after an hour, after two, and after ten.
    let hours = |number: u32| [1, 2, 10][usize::try_from(number % 3).unwrap()];
    let all: Vec<_> = (0..MANY).map(|number| brought(number, hours(number), &chain)).collect();
    let part = |hour: u64| {
        let of = (0..MANY).filter(move |number| hours(*number) == hour);
        of.map(|number| all[usize::try_from(number).unwrap()].id()).collect::<Vec<_>>()
    };
    house.store.add_all(all.clone(), vec![key()], Vec::new()).await.unwrap();
    let house = house.restart(Act::Issue).await;
    let third = u64::from(MANY / 3);
    let board = |house: &House| house.handle.driven().iter().map(|r| r.id()).collect::<Vec<_>>();
    house.halted(0).await;
    assert_eq!(board(&house), [own.id()], "what was brought is not on the board");

    house.clock.advance(Duration::from_secs(3600 - 1));
    house.halted(0).await;
    house.clock.advance(Duration::from_secs(1));
    house.halted(third).await;
    let told = reminders(&house).await;
    assert!(part(1).iter().all(|id| told.get(id) == Some(&1)), "each of the first part, once");
    assert_eq!(told.len(), part(1).len(), "and none of the others");

    // The clock goes back, and again to where it was: what was told is not told again.
    house.clock.set(START);
    house.halted(third).await;
    house.clock.set(START.plus(Duration::from_secs(3600)));
    house.halted(third).await;

    // Down while the second moment passes.
    house.clock.advance(Duration::from_secs(3600));
    let house = house.restart(Act::Issue).await;
    house.halted(2 * third).await;
    // Far beyond the third, in one leap.
    house.clock.advance(DAY);
    house.halted(3 * third).await;
    let house = house.restart(Act::Issue).await;
    house.halted(3 * third).await;
    let told = reminders(&house).await;
    assert_eq!(told.len(), usize::try_from(MANY).unwrap());
    assert!(told.values().all(|times| *times == 1), "nobody is told twice");
    assert_eq!(board(&house), [own.id()]);

    // One that is asked for is read, and is what the store has.
    let [.., last] = all.as_slice() else { panic!("there are some") };
    let read = house.handle.certificate(last.id()).await.unwrap().unwrap();
    assert_eq!((read.phase.word(), &read.spec), ("halted", &last.spec));
    let covering = house.handle.covering(&last.spec.names()[0]).await.unwrap();
    assert_eq!(covering, [read]);
    house.handle.forget(last.id(), "user 0").await.unwrap();
    assert_eq!(house.handle.covering(&last.spec.names()[0]).await.unwrap(), []);
}

#[tokio::test]
async fn the_scheduler_sleeps_until_the_next_moment_of_what_was_brought_and_no_longer() {
    let house = House::new(config(Vec::new()), Act::Issue).await;
    let chain: Chain = serde_json::from_str("[[48]]").unwrap();
    house.store.add_all(vec![brought(1, 1, &chain)], vec![key()], vec![]).await.unwrap();
    house.clock.set(START.plus(Duration::from_secs(3599)));
    house.look().await;
    // Nobody wakes it any more: it knows by itself that there is a second left.
    house.clock.advance(Duration::from_secs(1));
    for _ in 0..300 {
        if reminders(&house).await.len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it sleeps past the moment");
}

#[tokio::test]
async fn an_onboarded_name_is_ordered_and_renewed_and_held_by_nobody() {
    let text = "[acme]\naccept_terms = true\n[onboarding]\ntarget = 'edge.example.net'\n\
                origin = 'http://127.0.0.1:8080'\n";
    let parsed = crate::config::parse(text, Path::new("keyward.toml"), [("", ""); 0]).unwrap();
    let plan = parsed.config.onboarding.clone().unwrap();
    let house = House::new(parsed.config.clone(), Act::Issue).await;
    let name = Identifier::parse("www.shop.example").unwrap();
    let Identifier::Dns(dns) = &name else { panic!("{name}") };
    let onboard = || house.handle.onboard(&parsed.config, &plan, dns, None, ("user 0", true));
    let (id, fresh) = onboard().await.unwrap();
    assert!(fresh);
    assert_eq!(onboard().await.unwrap(), (id, false), "once is enough");
    let house = &house;
    let serial = async || {
        let record = house.handle.certificate(id).await.unwrap();
        Some(record?.installed.as_ref()?.serial.clone())
    };
    let until = async |former: Option<String>| {
        for _ in 0..2000 {
            let present = serial().await;
            if present.is_some() && present != former && house.best(&name) == present {
                return present;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not issued");
    };
    let first = until(None).await;
    assert_eq!(house.best(&name), first);
    // Its record is on no board that the plan walks through, before and after.
    assert!(house.handle.driven().is_empty());
    house.pass(DAY * 80).await;
    let second = until(first).await;
    assert_eq!(house.best(&name), second, "it is renewed when its moment comes");
    assert!(house.handle.driven().is_empty());
    let asked = house.ca.asked.lock().unwrap().len();
    assert_eq!(asked, 2);
    house.handle.offboard(dns, false, "user 0").await.unwrap();
    assert_eq!((house.best(&name), house.store.count_guests().await.unwrap()), (None, 0));
    assert!(house.store.certificates().await.unwrap().is_empty());
    assert!(house.handle.offboard(dns, false, "user 0").await.is_err());
}
