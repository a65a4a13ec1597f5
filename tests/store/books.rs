//! The books on a real file: whatever is issued, fails, is cancelled, granted, revoked or expires, in
//! whatever order and wherever the process is killed, they balance.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use keyward::base::Timestamp;
use keyward::cert::allowance::Class;
use keyward::cert::care::Care;
use keyward::cert::client::ClientName;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::identifier::Identifier;
use keyward::cert::issue::Claim;
use keyward::cert::issue::Issue;
use keyward::cert::journal::EntryKind;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyHandle;
use keyward::cert::lifecycle::FIRST;
use keyward::cert::lifecycle::Phase;
use keyward::cert::pack::PackId;
use keyward::cert::pack::What;
use keyward::cert::record::Certificate;
use keyward::cert::record::Installed;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Lot;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::store::Grant;
use keyward::store::Store;
use keyward::store::StoreError;

use crate::holding;
use crate::key;
use crate::replay;

pub(crate) const START: Timestamp = Timestamp::from_unix(1_800_000_000);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn client(name: &str) -> ClientName {
    ClientName::parse(name).unwrap()
}

/// A certificate that `whose` asks for at `now`.
pub(crate) fn wanted(number: u64, whose: (&ClientName, Class), now: Timestamp) -> Certificate {
    let names: &[&str] = match whose.1 {
        Class::Single => &["a.example"],
        Class::Wildcard => &["*.a.example"],
        Class::Multi => &["a.example", "b.example"],
    };
    let names: Vec<_> = names.iter().map(|name| Identifier::parse(name).unwrap()).collect();
    assert_eq!(Class::of(&names), whose.1);
    let (role, issuer) = (Role::Issued(Lot(number.to_be_bytes())), IssuerName::Internal);
    let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, role);
    let issue = Issue {
        client: whose.0.clone(),
        class: whose.1,
        exportable: false,
        csr: None,
        request: [0; 32],
        since: now,
        give_up: now.plus(DAY),
        by: whose.0.to_string(),
    };
    let care = Care { issue: Some(issue), ..Care::default() };
    Certificate { care, ..Certificate::wanted(spec) }
}

fn grant(whose: (&ClientName, Class), count: u64, until: Option<Timestamp>) -> Grant {
    let (note, by) = ("paid".to_owned(), "root".to_owned());
    Grant { client: whose.0.clone(), class: whose.1, count, until, note, by }
}

/// The same as it is once `installed` is.
pub(crate) fn arrived(record: &Certificate, installed: &Installed, now: Timestamp) -> Certificate {
    let installed = Installed { at: now, ..installed.clone() };
    let phase = Phase::Retiring { until: now.plus(DAY) };
    Certificate { installed: Some(installed), phase, ..record.clone() }
}

pub(crate) fn halted(record: &Certificate, now: Timestamp) -> Certificate {
    let failure = Failure::new(FailureKind::Rejected, "no");
    Certificate { phase: Phase::Halted { failure, since: now }, ..record.clone() }
}

/// One of two clients, and a class.
fn whose(client: usize, class: usize) -> (ClientName, Class) {
    let name = ["one", "two"].into_iter().nth(client).unwrap();
    (self::client(name), Class::ALL.into_iter().nth(class).unwrap())
}

fn class_of(number: u64) -> Class {
    Class::ALL.into_iter().nth(usize::try_from(number % 3).unwrap()).unwrap()
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    Order { client: usize, class: usize, many: u8 },
    Install(usize),
    Fail(usize),
    Again(usize),
    Remove(usize),
    Grant { client: usize, class: usize, count: u64, days: Option<u64> },
    Revoke(usize),
    Clock { days: u64, back: bool },
    Expire,
    Free([u64; 3]),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let place = 0..12_usize;
    prop_oneof![
        8 => (0..2_usize, 0..3_usize, 1..4_u8)
            .prop_map(|(client, class, many)| Act::Order { client, class, many }),
        4 => place.clone().prop_map(Act::Install),
        4 => place.clone().prop_map(Act::Fail),
        3 => place.clone().prop_map(Act::Again),
        3 => place.clone().prop_map(Act::Remove),
        5 => (0..2_usize, 0..3_usize, 1..4_u64, proptest::option::of(0..6_u64)).prop_map(
            |(client, class, count, days)| Act::Grant { client, class, count, days }
        ),
        2 => place.prop_map(Act::Revoke),
        3 => (1..5_u64, any::<bool>()).prop_map(|(days, back)| Act::Clock { days, back }),
        3 => Just(Act::Expire),
        2 => [0..4_u64, 0..3, 0..3].prop_map(Act::Free),
        1 => Just(Act::Restart),
    ]
}

/// A store, a clock, and what was asked for.
struct World<'a> {
    dir: &'a Path,
    store: Option<Store>,
    now: Timestamp,
    free: [u64; 3],
    orders: u64,
    installed: (Installed, KeyHandle),
    /// Packs that were seen expired.
    expired: BTreeSet<PackId>,
}

impl World<'_> {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// A record whose claim stands so.
    async fn pick(&self, number: usize, claim: Option<Claim>) -> Option<Certificate> {
        let mut records = self.store().certificates().await.unwrap();
        records.retain(|record| claim.is_none() || record.claim() == claim);
        records.get(number % records.len().max(1)).cloned()
    }

    fn free_of(&self, class: Class) -> u64 {
        let of = Class::ALL.into_iter().zip(self.free).find(|(of, _)| *of == class);
        of.unwrap().1
    }

    async fn order(&mut self, client: usize, class: usize, many: u8) {
        let whose = whose(client, class);
        let before = replay::check(self.store()).await;
        let packs = self.store().packs(None, None, usize::MAX).await.unwrap();
        let mut records = Vec::new();
        for _ in 0..many {
            self.orders += 1;
            records.push(wanted(self.orders, (&whose.0, whose.1), self.now));
        }
        let ledger = self.store().ledger(None, 0, usize::MAX).await.unwrap();
        let done = match records.as_slice() {
            [one] => self.store().add(one.clone(), vec![]).await,
            _ => self.store().add_all(records.clone(), vec![], vec![]).await,
        };
        let may = before.may(&whose, &packs, self.free_of(whose.1), self.now);
        match done {
            Ok(()) => assert!(may, "{whose:?} got what it has not"),
            Err(StoreError::Overdrawn(refusal)) => {
                // Of many all are refused where there is not enough for each.
                assert!(!may || many > 1, "{whose:?} is refused what it has");
                assert_eq!((refusal.client, refusal.class), whose);
                let after = self.store().ledger(None, 0, usize::MAX).await.unwrap();
                assert_eq!(after, ledger, "a refusal leaves no trace");
                for record in records {
                    assert_eq!(self.store().certificate(record.id()).await.unwrap(), None);
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn carry_out(&mut self, act: Act) {
        let now = self.now;
        match act {
            Act::Order { client, class, many } => self.order(client, class, many).await,
            Act::Install(number) => {
                if let Some(record) = self.pick(number, Some(Claim::Reserved)).await {
                    let (installed, key) = self.installed.clone();
                    let record = arrived(&record, &installed, now);
                    self.store().update_with_key(record, key, vec![]).await.unwrap();
                }
            }
            Act::Fail(number) => {
                if let Some(record) = self.pick(number, Some(Claim::Reserved)).await {
                    let failed = halted(&record, now);
                    if number % 2 == 0 {
                        self.store().update(failed, vec![]).await.unwrap();
                    } else {
                        self.store().update_all(vec![failed], vec![]).await.unwrap();
                    }
                }
            }
            Act::Again(number) => {
                if let Some(mut record) = self.pick(number, Some(Claim::Refunded)).await {
                    record.phase = FIRST;
                    record.care.issue.as_mut().unwrap().since = now;
                    match self.store().update(record, vec![]).await {
                        Ok(_) | Err(StoreError::Overdrawn(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Act::Remove(number) => {
                if let Some(record) = self.pick(number, None).await {
                    self.store().remove(record.id(), vec![]).await.unwrap();
                }
            }
            Act::Grant { client, class, count, days } => {
                let (client, class) = whose(client, class);
                let until = days.map(|days| now.plus(DAY * u32::try_from(days).unwrap()));
                let whose = (&client, class);
                self.store().grant_pack(grant(whose, count, until), now).await.unwrap();
            }
            Act::Revoke(number) => {
                let packs = self.store().packs(None, None, usize::MAX).await.unwrap();
                if let Some(pack) = packs.get(number % packs.len().max(1)) {
                    self.store().revoke_pack(pack.id, "root".to_owned(), now).await.unwrap();
                }
            }
            Act::Clock { days, back } => {
                let step = DAY * u32::try_from(days).unwrap();
                self.now = if back { now.minus(step) } else { now.plus(step) };
            }
            Act::Expire => {
                let next = self.store().expire_packs(now).await.unwrap();
                assert!(next.is_none_or(|next| next > now));
                for pack in self.store().packs(None, None, usize::MAX).await.unwrap() {
                    assert!(!pack.expires(now), "{pack:?} at {now}");
                }
            }
            Act::Free(free) => {
                self.free = free;
                let [single, wildcard, multi] = free;
                let free =
                    [(Class::Single, single), (Class::Wildcard, wildcard), (Class::Multi, multi)];
                self.store().set_free(free, now).await.unwrap();
            }
            Act::Restart => {
                drop(self.store.take());
                self.store = Some(Store::open(self.dir).unwrap());
            }
        }
    }

    /// What must hold whatever happened.
    async fn check(&mut self) {
        let replay = replay::check(self.store()).await;
        for whose in replay.balances.keys() {
            let target = self.free_of(whose.1);
            let (granted, used) = replay.free(whose).unwrap();
            assert_eq!(
                granted,
                target.max(used),
                "{whose:?}: what is free is not as the file says"
            );
        }
        for pack in self.store().packs(None, None, usize::MAX).await.unwrap() {
            if replay::has_expired(&pack) {
                self.expired.insert(pack.id);
            }
            let resurrected = self.expired.contains(&pack.id) && !replay::has_expired(&pack);
            assert!(!resurrected, "{pack:?} at {}", self.now);
        }
    }
}

async fn happens(acts: Vec<Act>) {
    let dir = tempfile::tempdir().unwrap();
    let one = key(1);
    let installed = holding("a.example", &one).installed.unwrap();
    let mut world = World {
        dir: dir.path(),
        store: Some(Store::open(dir.path()).unwrap()),
        now: START,
        free: [0; 3],
        orders: 0,
        installed: (installed, one),
        expired: BTreeSet::new(),
    };
    world.carry_out(Act::Free([3, 1, 0])).await;
    for act in acts {
        world.carry_out(act).await;
        world.check().await;
    }
    // As a start looks at all of it.
    world.carry_out(Act::Restart).await;
    world.check().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn invariant_13_the_books_balance_whatever_happens(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(happens(acts));
    }
}

#[tokio::test]
async fn packs_are_used_up_before_what_is_free_and_what_is_over_first_before_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let panel = client("panel");
    let whose = (&panel, Class::Single);
    store
        .set_free([(Class::Single, 1), (Class::Wildcard, 0), (Class::Multi, 0)], START)
        .await
        .unwrap();
    let untouched = store.balances(panel.clone()).await.unwrap();
    assert_eq!(untouched[0].1.available, 1, "before it ever asked");
    let lasting = store.grant_pack(grant(whose, 1, None), START).await.unwrap();
    let later = store.grant_pack(grant(whose, 1, Some(START.plus(9 * DAY))), START).await.unwrap();
    let sooner = store.grant_pack(grant(whose, 1, Some(START.plus(5 * DAY))), START).await.unwrap();
    for number in 0..4 {
        store.add(wanted(number, whose, START), vec![]).await.unwrap();
    }
    let ledger = store.ledger(Some(panel.clone()), 0, 99).await.unwrap();
    let taken = ledger.iter().filter(|entry| entry.what == What::Reserved);
    let taken: Vec<_> = taken.map(|entry| entry.pack).collect();
    assert_eq!(taken, [Some(sooner.id), Some(later.id), Some(lasting.id), None]);
    let refused = store.add(wanted(4, whose, START), vec![]).await.unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("single: 0 of 4 left, 4 being ordered"), "{told}");
    assert!(told.contains("keyward pack grant panel --class single"), "{told}");
    // A page of each, and where the next one begins.
    let first = store.ledger(Some(panel.clone()), 0, 3).await.unwrap();
    let rest = store.ledger(Some(panel.clone()), first[2].seq, 99).await.unwrap();
    assert_eq!([first, rest].concat(), ledger);
    let packs = store.packs(Some(panel.clone()), Some(lasting.id), 9).await.unwrap();
    assert_eq!(packs.iter().map(|pack| pack.id).collect::<Vec<_>>(), [later.id, sooner.id]);
    let all = store.issued(panel.clone(), None, 9).await.unwrap();
    let behind = store.issued(panel.clone(), Some(all[1].id()), 9).await.unwrap();
    assert_eq!(behind, all[2..]);
    assert_eq!(store.claims().await.unwrap(), [("reserved".to_owned(), 4)].into());
    assert!(store.imported().await.unwrap().is_empty());
    // Little is left: said once.
    let journal = store.journal(0, 99).await.unwrap();
    let low = journal.iter().filter(|entry| entry.kind == EntryKind::AllowanceLow);
    assert_eq!(low.count(), 1, "{journal:?}");
    replay::check(&store).await;
}

#[tokio::test]
async fn what_comes_back_to_a_pack_that_is_over_is_over_at_once_and_no_clock_brings_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let panel = client("panel");
    let whose = (&panel, Class::Multi);
    let (soon, then) = (START.plus(DAY), START.plus(2 * DAY));
    store.grant_pack(grant(whose, 3, Some(soon)), START).await.unwrap();
    for number in 0..2 {
        store.add(wanted(number, whose, START), vec![]).await.unwrap();
    }
    // The clock runs ahead and is put right again.
    assert_eq!(store.expire_packs(then).await.unwrap(), None);
    let balance = store.balances(panel.clone()).await.unwrap()[2].1;
    assert_eq!((balance.granted, balance.available, balance.reserved), (2, 0, 2));
    let refused = store.add(wanted(9, whose, START), vec![]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Overdrawn(_)), "{refused}");
    // What was reserved before is issued all the same, and what fails is gone.
    let records = store.issued(panel.clone(), None, 9).await.unwrap();
    let one = key(1);
    let installed = holding("a.example", &one).installed.unwrap();
    store.update_with_key(arrived(&records[0], &installed, START), one, vec![]).await.unwrap();
    store.update(halted(&records[1], START), vec![]).await.unwrap();
    let balance = store.balances(panel.clone()).await.unwrap()[2].1;
    assert_eq!((balance.granted, balance.available, balance.consumed), (1, 0, 1));
    let claims = [("consumed".to_owned(), 1), ("refunded".to_owned(), 1)];
    assert_eq!(store.claims().await.unwrap(), claims.into());
    let journal = store.journal(0, 99).await.unwrap();
    assert!(journal.iter().any(|entry| entry.kind == EntryKind::PackExpired), "{journal:?}");
    replay::check(&store).await;
}

#[tokio::test]
async fn a_pack_whose_time_has_come_gives_nothing_before_anybody_noted_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let panel = client("panel");
    let whose = (&panel, Class::Single);
    store.grant_pack(grant(whose, 1, Some(START.plus(DAY))), START).await.unwrap();
    let late = START.plus(DAY);
    let refused = store.add(wanted(0, whose, late), vec![]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Overdrawn(_)), "{refused}");
    // Refused means that nothing was written, not even that.
    assert_eq!(store.packs(None, None, 9).await.unwrap()[0].over, None);
    store.grant_pack(grant(whose, 1, None), late).await.unwrap();
    store.add(wanted(0, whose, late), vec![]).await.unwrap();
    assert!(replay::has_expired(&store.packs(None, None, 9).await.unwrap()[0]));
    replay::check(&store).await;
}

/// What the newest fixture has of the books.
pub(crate) async fn a_little(store: &Store) {
    let panel = client("panel");
    let free = [(Class::Single, 2), (Class::Wildcard, 0), (Class::Multi, 0)];
    store.set_free(free, START).await.unwrap();
    store.grant_pack(grant((&panel, Class::Multi), 100, None), START).await.unwrap();
    store.add(wanted(1, (&panel, Class::Multi), START), vec![]).await.unwrap();
}

/// Whether that is there, or nothing; and that more can be.
pub(crate) async fn holds_a_little(store: &Store, filled: bool) {
    let panel = client("panel");
    let [(_, single), _, (_, multi)] = store.balances(panel.clone()).await.unwrap();
    let expected = if filled { [2, 100, 1] } else { [0, 0, 0] };
    assert_eq!([single.available, multi.granted, multi.reserved], expected);
    store.grant_pack(grant((&panel, Class::Multi), 1, None), START).await.unwrap();
    let record = wanted(2, (&panel, Class::Multi), START);
    store.add(record.clone(), vec![]).await.unwrap();
    replay::check(store).await;
    store.remove(record.id(), vec![]).await.unwrap();
    replay::check(store).await;
}

/// Has things happen to the books until it is killed; says which of them are durable.
pub(crate) async fn keep(dir: &Path) {
    let store = Store::open(dir).unwrap();
    let free = [(Class::Single, 5), (Class::Wildcard, 2), (Class::Multi, 0)];
    store.set_free(free, START).await.unwrap();
    let one = key(1);
    let installed = holding("a.example", &one).installed.unwrap();
    let panel = client("panel");
    let done = store.ledger(None, 0, usize::MAX).await.unwrap().last().map_or(0, |entry| entry.seq);
    for number in done.. {
        let class = class_of(number);
        let record = wanted(number, (&panel, class), START);
        match store.add(record.clone(), vec![]).await {
            Ok(()) => {}
            // Of an earlier life of this process.
            Err(StoreError::Exists { .. }) => continue,
            Err(StoreError::Overdrawn(_)) => {
                store.grant_pack(grant((&panel, class), 3, None), START).await.unwrap();
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let record = store.update(record, vec![]).await.unwrap();
        if number % 4 == 3 {
            store.update(halted(&record, START), vec![]).await.unwrap();
        } else {
            let arrived = arrived(&record, &installed, START);
            store.update_with_key(arrived, one.clone(), vec![]).await.unwrap();
        }
        println!("child: {number}");
    }
}

#[tokio::test]
async fn the_books_balance_after_kill_9_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut durable = 0;
    for round in 0..12_u64 {
        let mut keeper = crate::child("books", dir.path());
        let mut said = crate::lines(&mut keeper);
        for _ in 0..=(round % 4) {
            durable = said.next().unwrap().parse().unwrap();
        }
        // Somewhere within the next one.
        tokio::time::sleep(Duration::from_millis(round)).await;
        drop(keeper);
        let store = Store::open(dir.path()).unwrap();
        let replay = replay::check(&store).await;
        let issued = replay.balances.values().map(|balance| balance.consumed).sum::<u64>();
        let records = store.certificates().await.unwrap();
        let kept = records.iter().filter(|record| record.claim() == Some(Claim::Consumed));
        assert_eq!(u64::try_from(kept.count()).unwrap(), issued);
        let panel = client("panel");
        let last = wanted(durable, (&panel, class_of(durable)), START);
        assert!(store.certificate(last.id()).await.unwrap().is_some(), "{durable} was said");
    }
}
