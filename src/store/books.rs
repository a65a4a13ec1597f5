//! The books: what each client may have of each class, the packs, and the ledger that tells how both
//! came about. Each change is an entry of the ledger and the balance after it, in one transaction.
//!
//! Deliberately absent: when something is reserved, consumed or given back, which follows from the
//! records of certificates.

use redb::ReadableTable as _;
use redb::WriteTransaction;
use serde::Deserialize;
use serde::Serialize;

use super::codec;
use super::error::StoreError;
use super::tables::ALLOWANCES;
use super::tables::EXPIRIES;
use super::tables::FREE;
use super::tables::LEDGER;
use super::tables::LEDGER_OF;
use super::tables::OPEN_PACKS;
use super::tables::PACKS;
use super::tables::PACKS_OF;
use crate::base::Timestamp;
use crate::cert::allowance::Balance;
use crate::cert::allowance::Class;
use crate::cert::allowance::Overdrawn;
use crate::cert::client::ClientName;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::pack::Free;
use crate::cert::pack::LedgerEntry;
use crate::cert::pack::Over;
use crate::cert::pack::Pack;
use crate::cert::pack::PackId;
use crate::cert::pack::What;
use crate::cert::spec::CertificateId;

/// What is kept of a client and a class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(super) struct Account {
    /// All of it.
    pub(super) balance: Balance,
    /// What of it is for nothing.
    pub(super) free: Free,
    /// Whether somebody was told that little is left.
    low_told: bool,
}

/// What an entry tells beside whose it is.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) at: Timestamp,
    pub(super) certificate: Option<CertificateId>,
    pub(super) by: &'a str,
    pub(super) note: &'a str,
}

/// The books, open for changes, and what the journal is to tell of them.
pub(super) struct Books<'t> {
    txn: &'t WriteTransaction,
    /// What the journal is to tell.
    pub(super) news: Vec<Entry>,
}

/// Whose, and of which class.
pub(super) type Whose<'a> = (&'a ClientName, Class);

/// Makes the tables.
pub(super) fn make_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    txn.open_table(ALLOWANCES)?;
    txn.open_table(EXPIRIES)?;
    txn.open_table(FREE)?;
    txn.open_table(LEDGER)?;
    txn.open_table(LEDGER_OF)?;
    txn.open_table(OPEN_PACKS)?;
    txn.open_table(PACKS)?;
    txn.open_table(PACKS_OF)?;
    super::claims::make_tables(txn)
}

/// The number by which a class is kept.
pub(super) const fn number(class: Class) -> u8 {
    match class {
        Class::Single => 0,
        Class::Wildcard => 1,
        Class::Multi => 2,
    }
}

/// The account that lies under a client and a class.
pub(super) fn account(whose: (&str, u8), bytes: &[u8]) -> Result<Account, StoreError> {
    codec::decode("allowances", || format!("{} {}", whose.0, whose.1), bytes)
}

/// The pack that lies under `id`.
pub(super) fn pack(id: u64, bytes: &[u8]) -> Result<Pack, StoreError> {
    codec::decode("packs", || id.to_string(), bytes)
}

/// The entry of the ledger number `seq`.
pub(super) fn entry(seq: u64, bytes: &[u8]) -> Result<LedgerEntry, StoreError> {
    codec::decode("ledger", || seq.to_string(), bytes)
}

impl<'t> Books<'t> {
    pub(super) const fn open(txn: &'t WriteTransaction) -> Self {
        Self { txn, news: Vec::new() }
    }

    /// Takes one of what the client has: of the pack that is over first, and what is free last.
    ///
    /// # Errors
    /// [`StoreError::Overdrawn`], and those of writing.
    pub(super) fn reserve(
        &mut self,
        whose: Whose<'_>,
        told: Told<'_>,
    ) -> Result<Option<PackId>, StoreError> {
        let mut account = self.account(whose, told.at)?;
        let source = loop {
            let Some(mut pack) = self.first_open(whose)? else { break None };
            if pack.expires(told.at) {
                self.expire(&mut pack, told.at)?;
                account = self.account(whose, told.at)?;
                continue;
            }
            pack.left = pack.left.saturating_sub(1);
            self.put_pack(&pack)?;
            break Some(pack.id);
        };
        if source.is_none() {
            let Some(left) = account.free.left.checked_sub(1) else {
                return Err(self.overdrawn(whose)?);
            };
            account.free.left = left;
        }
        self.book(whose, account, (What::Reserved, 1), source, told)?;
        Ok(source)
    }

    /// What was reserved is used up.
    pub(super) fn consume(
        &mut self,
        whose: Whose<'_>,
        source: Option<PackId>,
        told: Told<'_>,
    ) -> Result<(), StoreError> {
        let account = self.account(whose, told.at)?;
        self.book(whose, account, (What::Consumed, 1), source, told)
    }

    /// What was reserved goes back to where it came from, and expires at once where that has.
    pub(super) fn refund(
        &mut self,
        whose: Whose<'_>,
        source: Option<PackId>,
        told: Told<'_>,
    ) -> Result<(), StoreError> {
        let mut account = self.account(whose, told.at)?;
        let Some(id) = source else {
            account.free.left = account.free.left.saturating_add(1);
            self.book(whose, account, (What::Refunded, 1), None, told)?;
            // The configuration may give less by now than it had given then.
            return self.aim(whose, told.at);
        };
        self.book(whose, account, (What::Refunded, 1), source, told)?;
        let mut pack = self.pack(id)?;
        match pack.over.as_ref().map(Over::what) {
            Some(what) => {
                let account = self.account(whose, told.at)?;
                let note = "came back to a pack that is over";
                let told = Told { note, by: "keyward", ..told };
                self.book(whose, account, (what, 1), source, told)
            }
            None => {
                pack.left = pack.left.saturating_add(1);
                self.put_pack(&pack)?;
                if pack.expires(told.at) { self.expire(&mut pack, told.at) } else { Ok(()) }
            }
        }
    }

    /// Enters a pack.
    pub(super) fn grant(&mut self, pack: &Pack) -> Result<(), StoreError> {
        let whose = (&pack.client, pack.class);
        let mut account = self.account(whose, pack.granted_at)?;
        account.low_told = false;
        self.put_pack(pack)?;
        self.txn.open_table(PACKS_OF)?.insert((pack.client.as_str(), pack.id.0), ())?;
        if let Some(until) = pack.until {
            self.txn.open_table(EXPIRIES)?.insert((until.as_unix(), pack.id.0), ())?;
        }
        let (at, by, note) = (pack.granted_at, pack.by.as_str(), pack.note.as_str());
        let told = Told { at, certificate: None, by, note };
        self.book(whose, account, (What::Granted, pack.count), Some(pack.id), told)
    }

    /// Takes back what is left of a pack.
    pub(super) fn revoke(
        &mut self,
        pack: &mut Pack,
        by: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.end(pack, Over::Revoked { at, by: by.to_owned() }, (by, at))
    }

    /// Notes that a pack's time has come. It stays so, whatever the clock says later.
    pub(super) fn expire(&mut self, pack: &mut Pack, at: Timestamp) -> Result<(), StoreError> {
        let left = pack.left;
        self.end(pack, Over::Expired { at }, ("keyward", at))?;
        if left > 0 {
            let Pack { id, client, class, count, .. } = &*pack;
            let message = format!(
                "pack {id} of {client} expired with {left} of {count} certificates of class {class} left"
            );
            self.tell(at, EntryKind::PackExpired, Level::Warning, message);
        }
        Ok(())
    }

    fn end(
        &mut self,
        pack: &mut Pack,
        over: Over,
        (by, at): (&str, Timestamp),
    ) -> Result<(), StoreError> {
        let (left, what) = (std::mem::take(&mut pack.left), over.what());
        pack.over = Some(over);
        self.put_pack(pack)?;
        if let Some(until) = pack.until {
            self.txn.open_table(EXPIRIES)?.remove((until.as_unix(), pack.id.0))?;
        }
        if left == 0 {
            return Ok(());
        }
        let whose = (&pack.client, pack.class);
        let account = self.account(whose, at)?;
        let told = Told { at, certificate: None, by, note: &pack.note };
        self.book(whose, account, (what, left), Some(pack.id), told)
    }

    /// Has what a client has for nothing be what the configuration says.
    pub(super) fn aim(&mut self, whose: Whose<'_>, at: Timestamp) -> Result<(), StoreError> {
        let mut account = self.account(whose, at)?;
        let (free, change) = account.free.aim(self.target(whose.1)?);
        let Some(change) = change else { return Ok(()) };
        account.free = free;
        if change.0 == What::Granted {
            account.low_told = false;
        }
        let told = Told { at, certificate: None, by: "keyward", note: "[allowance] of the file" };
        self.book(whose, account, change, None, told)
    }

    /// What is kept; at its first use with what is free.
    fn account(&mut self, whose: Whose<'_>, at: Timestamp) -> Result<Account, StoreError> {
        if let Some(account) = self.known(whose)? {
            return Ok(account);
        }
        let target = self.target(whose.1)?;
        let account =
            Account { free: Free { granted: target, left: target }, ..Account::default() };
        if target == 0 {
            return Ok(account);
        }
        let told = Told { at, certificate: None, by: "keyward", note: "[allowance] of the file" };
        self.book(whose, account, (What::Granted, target), None, told)?;
        Ok(self.known(whose)?.unwrap_or(account))
    }

    fn known(&self, (client, class): Whose<'_>) -> Result<Option<Account>, StoreError> {
        let whose = (client.as_str(), number(class));
        let table = self.txn.open_table(ALLOWANCES)?;
        let found = table.get(whose)?;
        found.map(|value| account(whose, value.value())).transpose()
    }

    /// What each client has of a class for nothing.
    fn target(&self, class: Class) -> Result<u64, StoreError> {
        let table = self.txn.open_table(FREE)?;
        Ok(table.get(number(class))?.map_or(0, |target| target.value()))
    }

    /// One entry of the ledger, and the balance after it.
    fn book(
        &mut self,
        (client, class): Whose<'_>,
        mut account: Account,
        (what, amount): (What, u64),
        source: Option<PackId>,
        told: Told<'_>,
    ) -> Result<(), StoreError> {
        let unsound = || StoreError::Unreadable {
            table: "allowances",
            key: format!("{client} {class}"),
            reason: "more is to be taken than there is",
        };
        account.balance = account.balance.after(what, amount).ok_or_else(unsound)?;
        if what == What::Reserved && account.balance.is_low() && !account.low_told {
            account.low_told = true;
            self.low(client, class, account.balance, told.at);
        }
        let mut ledger = self.txn.open_table(LEDGER)?;
        let seq = ledger.last()?.map_or(0, |(seq, _)| seq.value()).saturating_add(1);
        let entry = LedgerEntry {
            seq,
            at: told.at,
            client: client.clone(),
            class,
            what,
            amount,
            pack: source,
            certificate: told.certificate,
            by: told.by.to_owned(),
            note: told.note.to_owned(),
            balance: account.balance,
        };
        ledger.insert(seq, codec::encode(&entry).as_slice())?;
        self.txn.open_table(LEDGER_OF)?.insert((client.as_str(), seq), ())?;
        let mut accounts = self.txn.open_table(ALLOWANCES)?;
        let bytes = codec::encode(&account);
        accounts.insert((client.as_str(), number(class)), bytes.as_slice())?;
        Ok(())
    }

    /// The pack that is used up first.
    fn first_open(&self, (client, class): Whose<'_>) -> Result<Option<Pack>, StoreError> {
        let (client, class) = (client.as_str(), number(class));
        let range = (client, class, 0, 0)..=(client, class, u64::MAX, u64::MAX);
        let first = {
            let table = self.txn.open_table(OPEN_PACKS)?;
            let mut open = table.range(range)?;
            match open.next() {
                Some(row) => Some(row?.0.value().3),
                None => None,
            }
        };
        first.map(|id| self.pack(PackId(id))).transpose()
    }

    /// One pack.
    pub(super) fn pack(&self, id: PackId) -> Result<Pack, StoreError> {
        let table = self.txn.open_table(PACKS)?;
        let found = table.get(id.0)?.ok_or(StoreError::NoPack { id })?;
        pack(id.0, found.value())
    }

    fn put_pack(&self, pack: &Pack) -> Result<(), StoreError> {
        self.txn.open_table(PACKS)?.insert(pack.id.0, codec::encode(pack).as_slice())?;
        let (until, id) = pack.turn();
        let place = (pack.client.as_str(), number(pack.class), until, id.0);
        let mut open = self.txn.open_table(OPEN_PACKS)?;
        if pack.left > 0 && pack.over.is_none() {
            open.insert(place, ())?;
        } else {
            open.remove(place)?;
        }
        Ok(())
    }

    fn overdrawn(&self, (client, class): Whose<'_>) -> Result<StoreError, StoreError> {
        let mut balances = Class::ALL.map(|class| (class, Balance::default()));
        for (of, balance) in &mut balances {
            *balance = match self.known((client, *of))? {
                Some(account) => account.balance,
                None => untouched(self.target(*of)?),
            };
        }
        Ok(StoreError::Overdrawn(Box::new(Overdrawn { client: client.clone(), class, balances })))
    }

    fn low(&mut self, client: &ClientName, class: Class, balance: Balance, at: Timestamp) {
        let Balance { granted, available, .. } = balance;
        let message = format!(
            "{client} has {available} of {granted} certificates of class {class} left; more with \
             `keyward pack grant {client} --class {class} --count N`"
        );
        self.tell(at, EntryKind::AllowanceLow, Level::Warning, message);
    }

    fn tell(&mut self, at: Timestamp, kind: EntryKind, level: Level, message: String) {
        self.news.push(Entry::about_house(at, kind, level, message));
    }
}

/// What somebody has who never asked for anything.
pub(super) const fn untouched(target: u64) -> Balance {
    Balance { granted: target, available: target, reserved: 0, consumed: 0 }
}
