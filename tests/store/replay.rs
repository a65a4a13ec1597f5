//! The books as the ledger alone tells them, compared with everything else that is kept: what must hold
//! of them at any moment.

use std::collections::BTreeMap;

use keyward::base::Timestamp;
use keyward::cert::allowance::Balance;
use keyward::cert::allowance::Class;
use keyward::cert::client::ClientName;
use keyward::cert::issue::Claim;
use keyward::cert::pack::LedgerEntry;
use keyward::cert::pack::Over;
use keyward::cert::pack::Pack;
use keyward::cert::pack::PackId;
use keyward::cert::pack::What;
use keyward::cert::record::Certificate;
use keyward::store::Store;

/// Whose, and of which class.
type Whose = (ClientName, Class);

/// What the ledger tells of one source: granted and not taken back, and used.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    granted: u64,
    used: u64,
    /// Whether it ended, by its entries.
    over: bool,
}

impl Source {
    const fn left(self) -> u64 {
        self.granted - self.used
    }
}

/// Everything the ledger tells.
pub(crate) struct Replay {
    pub(crate) balances: BTreeMap<Whose, Balance>,
    sources: BTreeMap<(Whose, Option<PackId>), Source>,
}

/// Reads the whole of the books of `store`, and fails unless they agree with themselves and with the
/// records.
pub(crate) async fn check(store: &Store) -> Replay {
    let ledger = store.ledger(None, 0, usize::MAX).await.unwrap();
    let packs = store.packs(None, None, usize::MAX).await.unwrap();
    let records = store.certificates().await.unwrap();
    let replay = Replay::of(&ledger, &packs);
    for ((client, class), balance) in &replay.balances {
        let kept = store.balances(client.clone()).await.unwrap();
        let kept = kept.iter().find(|(of, _)| of == class).unwrap().1;
        assert_eq!(kept, *balance, "{client} {class}");
        let of = |wanted| {
            let claims = records.iter().filter(|record| {
                let issue = record.care.issue.as_ref();
                let whose = issue.map(|issue| (&issue.client, issue.class));
                whose == Some((client, *class)) && record.claim() == Some(wanted)
            });
            u64::try_from(claims.count()).unwrap()
        };
        assert_eq!(of(Claim::Reserved), balance.reserved, "{client} {class}: being ordered");
        assert!(of(Claim::Consumed) <= balance.consumed, "{client} {class}: issued");
        let mut own = store.ledger(Some(client.clone()), 0, usize::MAX).await.unwrap();
        own.retain(|entry| entry.class == *class);
        let mut all = ledger.clone();
        all.retain(|entry| (&entry.client, entry.class) == (client, *class));
        assert_eq!(own, all);
        let mut issued = store.issued(client.clone(), None, usize::MAX).await.unwrap();
        issued.retain(|record| record.care.issue.as_ref().unwrap().class == *class);
        let mut known = records.clone();
        known.retain(|record| {
            let issue = record.care.issue.as_ref();
            issue.is_some_and(|issue| (&issue.client, issue.class) == (client, *class))
        });
        assert_eq!(issued, known);
    }
    let known: Vec<_> = store.clients(None, usize::MAX).await.unwrap();
    let names: std::collections::BTreeSet<_> = replay.balances.keys().map(|(c, _)| c).collect();
    assert!(known.iter().map(|(client, _)| client).eq(names), "{known:?}");
    for pack in &packs {
        let whose = (pack.client.clone(), pack.class);
        let source = replay.sources.get(&(whose, Some(pack.id))).unwrap();
        let left = if pack.over.is_some() { 0 } else { pack.left };
        assert_eq!(source.left(), left, "{pack:?}");
    }
    entries_of_certificates(&ledger, &records);
    replay
}

/// No certificate without its entry, no entry without its certificate, none twice.
fn entries_of_certificates(ledger: &[LedgerEntry], records: &[Certificate]) {
    let mut told: BTreeMap<_, Vec<&LedgerEntry>> = BTreeMap::new();
    for entry in ledger {
        let about = matches!(entry.what, What::Reserved | What::Consumed | What::Refunded);
        assert!(!about || (entry.certificate.is_some() && entry.amount == 1), "{entry:?}");
        if let (true, Some(id)) = (about, entry.certificate) {
            told.entry(id).or_default().push(entry);
        }
    }
    for (id, entries) in &told {
        let mut stand = None;
        for entry in entries {
            match (stand, entry.what) {
                (None | Some(What::Refunded), What::Reserved)
                | (Some(What::Reserved), What::Consumed | What::Refunded) => {}
                (before, what) => panic!("{id}: {what} after {before:?}"),
            }
            let reserved = entries.iter().rfind(|e| e.seq < entry.seq && e.what == What::Reserved);
            if entry.what != What::Reserved {
                assert_eq!(reserved.unwrap().pack, entry.pack, "{id}: back to another pack");
            }
            stand = Some(entry.what);
        }
        let record = records.iter().find(|record| record.id() == *id);
        let expected = match record.and_then(Certificate::claim) {
            Some(Claim::Reserved) => What::Reserved,
            Some(Claim::Consumed) => What::Consumed,
            Some(Claim::Refunded) => What::Refunded,
            // It is gone: what was issued stays so.
            None if stand == Some(What::Consumed) => What::Consumed,
            None => What::Refunded,
        };
        assert_eq!(stand, Some(expected), "{id}");
    }
    for record in records.iter().filter(|record| record.claim().is_some()) {
        assert!(told.contains_key(&record.id()), "{} is in no entry", record.id());
    }
}

impl Replay {
    /// Goes through the ledger from its beginning.
    fn of(ledger: &[LedgerEntry], packs: &[Pack]) -> Self {
        let mut replay = Self { balances: BTreeMap::new(), sources: BTreeMap::new() };
        for (number, entry) in (1..).zip(ledger) {
            assert_eq!(entry.seq, number, "a gap in the ledger");
            replay.take(entry, packs);
        }
        replay
    }

    fn take(&mut self, entry: &LedgerEntry, packs: &[Pack]) {
        let whose = (entry.client.clone(), entry.class);
        if entry.what == What::Reserved {
            self.in_turn(entry, packs);
        }
        let source = self.sources.entry((whose.clone(), entry.pack)).or_default();
        match entry.what {
            What::Granted => source.granted += entry.amount,
            What::Reserved => source.used += 1,
            What::Refunded => source.used = source.used.checked_sub(1).unwrap(),
            What::Consumed => {}
            What::Expired | What::Revoked => {
                source.over = entry.pack.is_some();
                source.granted = source.granted.checked_sub(entry.amount).unwrap();
            }
        }
        assert!(source.used <= source.granted, "more was taken than there is: {entry:?}");
        let balance = self.balances.entry(whose).or_default();
        *balance = balance.after(entry.what, entry.amount).unwrap();
        assert!(balance.is_sound());
        assert_eq!(*balance, entry.balance, "{entry:?}");
    }

    /// Whether what was reserved came from where it had to.
    fn in_turn(&self, entry: &LedgerEntry, packs: &[Pack]) {
        let first = self.first(&(entry.client.clone(), entry.class), packs, entry.at);
        assert_eq!(entry.pack, first, "{entry:?}: taken out of turn");
    }

    /// The pack that is used up first, by the rule and not by the index of the store.
    fn first(&self, whose: &Whose, packs: &[Pack], at: Timestamp) -> Option<PackId> {
        let left = |pack: &&Pack| {
            let source = self.sources.get(&(whose.clone(), Some(pack.id)));
            source.is_some_and(|source| source.left() > 0 && !source.over)
                && pack.until.is_none_or(|until| until > at)
        };
        let of = packs.iter().filter(|pack| (&pack.client, pack.class) == (&whose.0, whose.1));
        let end = |pack: &&Pack| (pack.until.map_or(u64::MAX, Timestamp::as_unix), pack.id);
        of.filter(left).min_by_key(end).map(|pack| pack.id)
    }

    /// Whether `whose` may have one more at `at`; `free` is what one has that never asked.
    pub(crate) fn may(&self, whose: &Whose, packs: &[Pack], free: u64, at: Timestamp) -> bool {
        let own = self.sources.get(&(whose.clone(), None));
        let of_free = match self.balances.get(whose) {
            Some(_) => own.map_or(0, |source| source.left()),
            None => free,
        };
        of_free > 0 || self.first(whose, packs, at).is_some()
    }

    /// What of what is free was given, and used.
    pub(crate) fn free(&self, whose: &Whose) -> Option<(u64, u64)> {
        self.balances.get(whose)?;
        let source = self.sources.get(&(whose.clone(), None)).copied().unwrap_or_default();
        Some((source.granted, source.used))
    }
}

/// Whether a pack is over because its time had come.
pub(crate) const fn has_expired(pack: &Pack) -> bool {
    matches!(pack.over, Some(Over::Expired { .. }))
}
