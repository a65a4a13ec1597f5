//! What others ask of the books: balances, packs and pages of the ledger, and the changes that an operator,
//! the configuration and the clock bring about.
//!
//! Deliberately absent: reserving and giving back, which nobody asks for.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::ReadTransaction;
use redb::ReadableDatabase as _;
use redb::ReadableTable as _;

use super::books;
use super::books::Books;
use super::books::number;
use super::books::untouched;
use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use super::inspect;
use super::tables::ALLOWANCES;
use super::tables::CERTIFICATES;
use super::tables::EXPIRIES;
use super::tables::FREE;
use super::tables::ISSUED;
use super::tables::LEDGER;
use super::tables::LEDGER_OF;
use super::tables::PACKS;
use super::tables::PACKS_OF;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::cert::allowance::Balance;
use crate::cert::allowance::Balances;
use crate::cert::allowance::Class;
use crate::cert::client::ClientName;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::pack::LedgerEntry;
use crate::cert::pack::Pack;
use crate::cert::pack::PackId;
use crate::cert::record::Certificate;
use crate::cert::spec::CertificateId;

/// A pack that is to be granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// To whom.
    pub client: ClientName,
    /// Of what.
    pub class: Class,
    /// How many; more than none.
    pub count: u64,
    /// From when on nothing may be had for it any more.
    pub until: Option<Timestamp>,
    /// Why, in words.
    pub note: String,
    /// By whom, in words.
    pub by: String,
}

impl Disk {
    fn balances(&self, client: &ClientName) -> Result<Balances, StoreError> {
        balances(&self.db()?.begin_read()?, client.as_str())
    }

    fn clients(
        &self,
        after: Option<&ClientName>,
        limit: usize,
    ) -> Result<Vec<(ClientName, Balances)>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let table = txn.open_table(ALLOWANCES)?;
        let mut found: Vec<(ClientName, Balances)> = Vec::new();
        let mut last = after.map(|client| client.as_str().to_owned());
        while found.len() < limit {
            let from = last.as_deref().map(|client| (client, u8::MAX));
            let from = from.map_or(Bound::Unbounded, Bound::Excluded);
            let mut rows = table.range::<(&str, u8)>((from, Bound::Unbounded))?;
            let Some(row) = rows.next() else { break };
            let client = row?.0.value().0.to_owned();
            let unreadable = |_| StoreError::Unreadable {
                table: "allowances",
                key: client.clone(),
                reason: "it is no name of a client",
            };
            let name = ClientName::parse(&client).map_err(unreadable)?;
            found.push((name, balances(&txn, &client)?));
            last = Some(client);
        }
        Ok(found)
    }

    fn packs(
        &self,
        client: Option<&ClientName>,
        after: Option<PackId>,
        limit: usize,
    ) -> Result<Vec<Pack>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let packs = txn.open_table(PACKS)?;
        let first = after.map_or(0, |id| id.0.saturating_add(1));
        let mut found = Vec::new();
        match client {
            None => {
                for row in packs.range(first..)?.take(limit) {
                    let (id, value) = row?;
                    found.push(books::pack(id.value(), value.value())?);
                }
            }
            Some(client) => {
                let (of, name) = (txn.open_table(PACKS_OF)?, client.as_str());
                for row in of.range((name, first)..=(name, u64::MAX))?.take(limit) {
                    let id = row?.0.value().1;
                    let value = packs.get(id)?.ok_or(StoreError::NoPack { id: PackId(id) })?;
                    found.push(books::pack(id, value.value())?);
                }
            }
        }
        Ok(found)
    }

    fn ledger(
        &self,
        client: Option<&ClientName>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let ledger = txn.open_table(LEDGER)?;
        let first = after.saturating_add(1);
        let mut found = Vec::new();
        match client {
            None => {
                for row in ledger.range(first..)?.take(limit) {
                    let (seq, value) = row?;
                    found.push(books::entry(seq.value(), value.value())?);
                }
            }
            Some(client) => {
                let (of, name) = (txn.open_table(LEDGER_OF)?, client.as_str());
                for row in of.range((name, first)..=(name, u64::MAX))?.take(limit) {
                    let seq = row?.0.value().1;
                    let missing = StoreError::Unreadable {
                        table: "ledger",
                        key: seq.to_string(),
                        reason: "it is not there",
                    };
                    let value = ledger.get(seq)?.ok_or(missing)?;
                    found.push(books::entry(seq, value.value())?);
                }
            }
        }
        Ok(found)
    }

    fn issued(
        &self,
        client: &ClientName,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<Certificate>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let (of, records) = (txn.open_table(ISSUED)?, txn.open_table(CERTIFICATES)?);
        let (name, last) = (client.as_str(), [u8::MAX; 8]);
        let first = after.map_or([0; 8], |id| id.0);
        let from = if after.is_some() {
            Bound::Excluded((name, &first))
        } else {
            Bound::Included((name, &first))
        };
        let to = Bound::Included((name, &last));
        let mut found = Vec::new();
        for row in of.range::<(&str, &[u8; 8])>((from, to))?.take(limit) {
            let id = *row?.0.value().1;
            let missing = StoreError::NotFound { id: CertificateId(id) };
            let value = records.get(&id)?.ok_or(missing)?;
            found.push(inspect::certificate(id, value.value())?);
        }
        Ok(found)
    }

    fn grant_pack(&mut self, grant: Grant, now: Timestamp) -> Result<Pack, StoreError> {
        let id = {
            let packs = self.db()?.begin_read()?.open_table(PACKS)?;
            PackId(packs.last()?.map_or(0, |(id, _)| id.value()).saturating_add(1))
        };
        let Grant { client, class, count, until, note, by } = grant;
        let (granted_at, left, over) = (now, count, None);
        let pack = Pack { id, client, class, count, left, until, note, granted_at, by, over };
        let end = pack.until.map(|until| format!(", to be had until {until}")).unwrap_or_default();
        let Pack { client, by, .. } = &pack;
        let message =
            format!("{by} granted {client} pack {id}: {count} certificates of class {class}{end}");
        let told = Entry::about_house(now, EntryKind::PackGranted, Level::Info, message);
        self.keep_books(vec![told], |books| {
            books.grant(&pack)?;
            if pack.expires(now) { books.expire(&mut pack.clone(), now) } else { Ok(()) }
        })?;
        Ok(pack)
    }

    fn revoke_pack(
        &mut self,
        id: PackId,
        by: &str,
        now: Timestamp,
    ) -> Result<(Pack, u64), StoreError> {
        let (mut ended, mut taken) = (None, 0);
        let known = {
            let packs = self.db()?.begin_read()?.open_table(PACKS)?;
            let value = packs.get(id.0)?.ok_or(StoreError::NoPack { id })?;
            books::pack(id.0, value.value())?
        };
        if known.over.is_some() {
            return Ok((known, 0));
        }
        let Pack { client, class, left, .. } = &known;
        let message = format!(
            "{by} revoked pack {id} of {client}: {left} certificates of class {class} less"
        );
        let told = Entry::about_house(now, EntryKind::PackRevoked, Level::Warning, message);
        self.keep_books(vec![told], |books| {
            let mut pack = books.pack(id)?;
            taken = pack.left;
            books.revoke(&mut pack, by, now)?;
            ended = Some(pack);
            Ok(())
        })?;
        Ok((ended.unwrap_or(known), taken))
    }

    fn expire_packs(&mut self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let (mut due, mut next) = (Vec::new(), None);
        {
            let table = self.db()?.begin_read()?.open_table(EXPIRIES)?;
            for row in table.iter()? {
                let (until, id) = row?.0.value();
                let until = Timestamp::from_unix(until);
                if until > now || due.len() == bounds::allowance::EXPIRED_AT_ONCE {
                    next = Some(until);
                    break;
                }
                due.push(PackId(id));
            }
        }
        if !due.is_empty() {
            self.keep_books(Vec::new(), |books| {
                for id in due {
                    let mut pack = books.pack(id)?;
                    books.expire(&mut pack, now)?;
                }
                Ok(())
            })?;
        }
        Ok(next)
    }

    fn set_free(&mut self, free: [(Class, u64); 3], now: Timestamp) -> Result<(), StoreError> {
        let mut known = Vec::new();
        {
            let txn = self.db()?.begin_read()?;
            let table = txn.open_table(FREE)?;
            let mut same = true;
            for (class, target) in free {
                same &= table.get(number(class))?.map_or(0, |was| was.value()) == target;
            }
            if same {
                return Ok(());
            }
            for row in txn.open_table(ALLOWANCES)?.iter()? {
                let (key, _) = row?;
                let (client, class) = key.value();
                if let Ok(name) = ClientName::parse(client)
                    && let Some(class) = Class::ALL.into_iter().find(|of| number(*of) == class)
                {
                    known.push((name, class));
                }
            }
        }
        let change = |txn: &redb::WriteTransaction| {
            {
                let mut table = txn.open_table(FREE)?;
                for (class, target) in free {
                    table.insert(number(class), target)?;
                }
            }
            let mut books = Books::open(txn);
            for (client, class) in &known {
                books.aim((client, *class), now)?;
            }
            Ok(books.news)
        };
        self.write_telling(change, None, None, None, Vec::new())
    }

    fn keep_books(
        &mut self,
        entries: Vec<Entry>,
        change: impl FnOnce(&mut Books<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let change = |txn: &redb::WriteTransaction| {
            let mut books = Books::open(txn);
            change(&mut books)?;
            Ok(books.news)
        };
        self.write_telling(change, None, None, None, entries)
    }
}

fn balances(txn: &ReadTransaction, client: &str) -> Result<Balances, StoreError> {
    let (accounts, free) = (txn.open_table(ALLOWANCES)?, txn.open_table(FREE)?);
    let mut found = Class::ALL.map(|class| (class, Balance::default()));
    for (class, balance) in &mut found {
        let whose = (client, number(*class));
        *balance = match accounts.get(whose)? {
            Some(value) => books::account(whose, value.value())?.balance,
            None => untouched(free.get(whose.1)?.map_or(0, |target| target.value())),
        };
    }
    Ok(found)
}

impl Store {
    /// What a client may have of each class, and what became of what it had. One that never asked for
    /// anything has what is free.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn balances(&self, client: ClientName) -> Result<Balances, StoreError> {
        self.ask(move |disk| disk.balances(&client)).await
    }

    /// At most `limit` clients behind `after` that ever had something granted, with their balances.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn clients(
        &self,
        after: Option<ClientName>,
        limit: usize,
    ) -> Result<Vec<(ClientName, Balances)>, StoreError> {
        self.ask(move |disk| disk.clients(after.as_ref(), limit)).await
    }

    /// At most `limit` packs behind `after`, of one client or of all, in the order of their numbers.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn packs(
        &self,
        client: Option<ClientName>,
        after: Option<PackId>,
        limit: usize,
    ) -> Result<Vec<Pack>, StoreError> {
        self.ask(move |disk| disk.packs(client.as_ref(), after, limit)).await
    }

    /// At most `limit` entries of the ledger with numbers above `after`, of one client or of all, oldest
    /// first.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn ledger(
        &self,
        client: Option<ClientName>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        self.ask(move |disk| disk.ledger(client.as_ref(), after, limit)).await
    }

    /// At most `limit` certificates behind `after` that were asked for by a client, in the order of
    /// their names.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn issued(
        &self,
        client: ClientName,
        after: Option<CertificateId>,
        limit: usize,
    ) -> Result<Vec<Certificate>, StoreError> {
        self.ask(move |disk| disk.issued(&client, after, limit)).await
    }

    /// How many certificates that clients asked for have which claim, by the claim's word.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn claims(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.ask(|disk| disk.imported(true)).await
    }

    /// Deletes a certificate, and every key that it referred to and no other record does, as long as its
    /// revision is `revision`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::NotFound`], and those of writing.
    pub async fn remove_as(
        &self,
        id: CertificateId,
        revision: u64,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.remove(id, Some(revision), entries)).await
    }

    /// Grants a pack, which has its number on return. The journal tells of it.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn grant_pack(&self, grant: Grant, now: Timestamp) -> Result<Pack, StoreError> {
        self.ask(move |disk| disk.grant_pack(grant, now)).await
    }

    /// Takes back what is left of a pack, and says how much that was: none of one that was over before.
    /// What is reserved of it is issued all the same, or taken back when it is given back.
    ///
    /// # Errors
    /// [`StoreError::NoPack`], and those of writing.
    pub async fn revoke_pack(
        &self,
        id: PackId,
        by: String,
        now: Timestamp,
    ) -> Result<(Pack, u64), StoreError> {
        self.ask(move |disk| disk.revoke_pack(id, &by, now)).await
    }

    /// Notes which packs are over at `now`, some at a time, and says when it is to be asked again. A
    /// pack that a clock that ran ahead ended stays at its end.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn expire_packs(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.ask(move |disk| disk.expire_packs(now)).await
    }

    /// Has each client have so many of each class for nothing: those that are known get or lose the
    /// difference, but nothing that they used.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn set_free(
        &self,
        free: [(Class, u64); 3],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.set_free(free, now)).await
    }
}
