//! News on their way: each in a row of its own for each channel, from the moment on at which it is found
//! in the journal until its channel has told it.
//!
//! Deliberately absent: what is news, and for whom.

use redb::ReadableDatabase as _;
use redb::ReadableTable as _;
use redb::TableError;
use redb::WriteTransaction;
use serde::Deserialize;
use serde::Serialize;

use super::codec;
use super::disk::Disk;
use super::error::StoreError;
use super::handle::Store;
use super::tables::CHANNELS;
use super::tables::META;
use super::tables::META_EXPIRY;
use super::tables::OUTBOX;
use crate::base::Timestamp;
use crate::base::bounds::news::OUTBOX as MOST;
use crate::cert::journal::Entry;
use crate::cert::journal::Level;

/// The row of [`CHANNELS`] that belongs to none.
const SORTED: &str = "";

/// What cannot wait lies in a lane of its own, behind the name of the channel and this.
const URGENT: &str = "!";

/// How a channel fares.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct ChannelState {
    /// Messages in a row that were not taken.
    pub failures: u32,
    /// Since when none was taken.
    pub failing_since: Option<Timestamp>,
    /// When the next message may go.
    pub next: Timestamp,
    /// When the last one was taken.
    pub told_at: Option<Timestamp>,
    /// Why the last one was not.
    pub reason: Option<String>,
    /// News that were told.
    pub told: u64,
    /// News that were given up.
    pub lost: u64,
}

/// What waits for a channel.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Waiting {
    /// How many news.
    pub count: u64,
    /// How the channel fares.
    pub state: ChannelState,
}

fn read(name: &str, bytes: &[u8]) -> Result<ChannelState, StoreError> {
    codec::decode("channels", || name.to_owned(), bytes)
}

fn state(txn: &WriteTransaction, name: &str) -> Result<ChannelState, StoreError> {
    let table = txn.open_table(CHANNELS)?;
    let row = table.get(name)?.map(|row| read(name, row.value())).transpose()?;
    Ok(row.unwrap_or_default())
}

fn put(txn: &WriteTransaction, name: &str, state: &ChannelState) -> Result<(), StoreError> {
    txn.open_table(CHANNELS)?.insert(name, codec::encode(state).as_slice())?;
    Ok(())
}

/// Where `entry` waits.
fn lane(channel: &str, entry: &Entry) -> String {
    if entry.level == Level::Error { format!("{channel}{URGENT}") } else { channel.to_owned() }
}

/// The channel that a lane is of.
fn owner(lane: &str) -> &str {
    lane.trim_end_matches(URGENT)
}

fn rows(name: &str) -> std::ops::RangeInclusive<(&str, u64)> {
    (name, 0)..=(name, u64::MAX)
}

impl Disk {
    /// A table that may not be there yet.
    fn there<T>(found: Result<T, TableError>) -> Result<Option<T>, StoreError> {
        match found {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn sorted(&self) -> Result<Option<u64>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let Some(table) = Self::there(txn.open_table(CHANNELS))? else { return Ok(None) };
        let row = table.get(SORTED)?;
        row.map(|row| codec::decode("channels", || SORTED.to_owned(), row.value())).transpose()
    }

    fn sort(&mut self, upto: u64, news: &[(String, Entry)]) -> Result<(), StoreError> {
        let change = |txn: &WriteTransaction| {
            {
                let mut outbox = txn.open_table(OUTBOX)?;
                for (lane, entry) in news {
                    let row = codec::encode(entry);
                    outbox.insert((lane.as_str(), entry.seq), row.as_slice())?;
                }
            }
            txn.open_table(CHANNELS)?.insert(SORTED, codec::encode(&upto).as_slice())?;
            let mut names: Vec<&str> = news.iter().map(|(name, _)| name.as_str()).collect();
            names.dedup();
            names.into_iter().try_for_each(|name| bound(txn, name))
        };
        self.write(change, None, None, None, Vec::new())
    }

    fn waiting_news(&self, name: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let txn = self.db()?.begin_read()?;
        let Some(table) = Self::there(txn.open_table(OUTBOX))? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for lane in [format!("{name}{URGENT}"), name.to_owned()] {
            for row in table.range(rows(&lane))?.take(limit) {
                let (key, value) = row?;
                let at = || format!("{lane} {}", key.value().1);
                found.push(codec::decode("outbox", at, value.value())?);
            }
            if !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    fn channel(&self, name: &str) -> Result<Waiting, StoreError> {
        let txn = self.db()?.begin_read()?;
        let count = match Self::there(txn.open_table(OUTBOX))? {
            Some(table) => {
                let urgent = format!("{name}{URGENT}");
                table.range(rows(name))?.count() + table.range(rows(&urgent))?.count()
            }
            None => 0,
        };
        let state = match Self::there(txn.open_table(CHANNELS))? {
            Some(table) => table.get(name)?.map(|row| read(name, row.value())).transpose()?,
            None => None,
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Waiting { count, state: state.unwrap_or_default() })
    }

    fn settle_news(
        &mut self,
        name: &str,
        done: &[u64],
        state: &ChannelState,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let change = |txn: &WriteTransaction| {
            let mut outbox = txn.open_table(OUTBOX)?;
            let urgent = format!("{name}{URGENT}");
            for seq in done {
                // A number is of one entry, which is in one lane.
                outbox.remove((name, *seq))?;
                outbox.remove((urgent.as_str(), *seq))?;
            }
            drop(outbox);
            put(txn, name, state)
        };
        self.write(change, None, None, None, entries)
    }

    fn forget_channels(&mut self, but: &[String]) -> Result<u64, StoreError> {
        let kept = |lane: &str| match owner(lane) {
            // Without channels nobody sorts: the next one begins with what happens then.
            SORTED => !but.is_empty(),
            name => but.iter().any(|kept| kept == name),
        };
        let txn = self.db()?.begin_read()?;
        let mut gone = Vec::new();
        if let Some(table) = Self::there(txn.open_table(CHANNELS))? {
            for row in table.iter()? {
                let (name, _) = row?;
                let name = name.value();
                if !kept(name) {
                    gone.push(name.to_owned());
                }
            }
        }
        // News may wait for one that never told any.
        if let Some(table) = Self::there(txn.open_table(OUTBOX))? {
            for row in table.iter()? {
                let (key, _) = row?;
                let name = key.value().0;
                if !kept(name) && gone.last().is_none_or(|last| last != name) {
                    gone.push(name.to_owned());
                }
            }
        }
        drop(txn);
        if gone.is_empty() {
            return Ok(0);
        }
        let mut dropped = 0;
        let change = |txn: &WriteTransaction| {
            let (mut outbox, mut channels) = (txn.open_table(OUTBOX)?, txn.open_table(CHANNELS)?);
            for name in &gone {
                outbox.retain_in(rows(name), |_, _| {
                    dropped += 1;
                    false
                })?;
                channels.remove(name.as_str())?;
            }
            Ok(())
        };
        self.write(change, None, None, None, Vec::new())?;
        Ok(dropped)
    }
}

/// Gives up the oldest news of a channel beyond what may wait.
fn bound(txn: &WriteTransaction, name: &str) -> Result<(), StoreError> {
    let mut outbox = txn.open_table(OUTBOX)?;
    let count = u64::try_from(outbox.range(rows(name))?.count()).unwrap_or(u64::MAX);
    let Some(surplus) = count.checked_sub(MOST).filter(|surplus| *surplus > 0) else {
        return Ok(());
    };
    let mut left = surplus;
    outbox.retain_in(rows(name), |_, _| {
        let keep = left == 0;
        left = left.saturating_sub(1);
        keep
    })?;
    drop(outbox);
    let mut state = state(txn, owner(name))?;
    state.lost = state.lost.saturating_add(surplus);
    put(txn, owner(name), &state)
}

impl Disk {
    fn looked_for_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        let table = self.db()?.begin_read()?.open_table(META)?;
        Ok(table.get(META_EXPIRY)?.map(|at| Timestamp::from_unix(at.value())))
    }

    fn look_for_expiry(&mut self, at: Timestamp, entries: Vec<Entry>) -> Result<(), StoreError> {
        let change = |txn: &WriteTransaction| {
            txn.open_table(META)?.insert(META_EXPIRY, at.as_unix())?;
            Ok(())
        };
        self.write(change, None, None, None, entries)
    }
}

impl Store {
    /// When it was last looked for certificates that run out.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn looked_for_expiry(&self) -> Result<Option<Timestamp>, StoreError> {
        self.ask(|disk| disk.looked_for_expiry()).await
    }

    /// Remembers that it was looked for them at `at`, together with what was found.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn look_for_expiry(
        &self,
        at: Timestamp,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        self.ask(move |disk| disk.look_for_expiry(at, entries)).await
    }

    /// The number of the last journal entry that was sorted; `None` before any was.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn sorted(&self) -> Result<Option<u64>, StoreError> {
        self.ask(|disk| disk.sorted()).await
    }

    /// Puts news into the outbox, each for the channel of that name, and remembers that the journal is
    /// sorted up to entry `upto`; of too many the oldest are given up.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn sort(&self, upto: u64, news: Vec<(String, Entry)>) -> Result<(), StoreError> {
        let laid = news.into_iter().map(|(channel, entry)| (lane(&channel, &entry), entry));
        let mut news: Vec<(String, Entry)> = laid.collect();
        news.sort_by(|one, two| (&one.0, one.1.seq).cmp(&(&two.0, two.1.seq)));
        self.ask(move |disk| disk.sort(upto, &news)).await
    }

    /// At most `limit` news that wait for the channel `name`, oldest first: what is urgent, or where
    /// nothing of that waits the rest.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn waiting_news(&self, name: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let name = name.to_owned();
        self.ask(move |disk| disk.waiting_news(&name, limit)).await
    }

    /// How the channel `name` fares.
    ///
    /// # Errors
    /// [`StoreError`] of reading.
    pub async fn channel(&self, name: &str) -> Result<Waiting, StoreError> {
        let name = name.to_owned();
        self.ask(move |disk| disk.channel(&name)).await
    }

    /// Takes news out of the outbox that were told, or given up, and remembers how the channel fares,
    /// together with journal entries.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn settle_news(
        &self,
        name: &str,
        done: Vec<u64>,
        state: ChannelState,
        entries: Vec<Entry>,
    ) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.ask(move |disk| disk.settle_news(&name, &done, &state, entries)).await
    }

    /// Forgets every channel `but` those, and returns how many news were still to be told by them.
    ///
    /// # Errors
    /// [`StoreError`] of writing.
    pub async fn forget_channels(&self, but: Vec<String>) -> Result<u64, StoreError> {
        self.ask(move |disk| disk.forget_channels(&but)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::journal::EntryKind;
    use crate::cert::journal::Level;

    fn news(name: &str, seq: u64) -> (String, Entry) {
        let at = Timestamp::from_unix(1000 + seq);
        let told = format!("number {seq}");
        let entry = Entry::about_house(at, EntryKind::Started, Level::Info, told);
        (name.to_owned(), Entry { seq, ..entry })
    }

    fn seqs(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.seq).collect()
    }

    #[tokio::test]
    async fn news_stay_until_they_are_told_and_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.sorted().await.unwrap(), None);
        assert_eq!(store.waiting_news("a", 9).await.unwrap(), []);
        assert_eq!(store.channel("a").await.unwrap(), Waiting::default());
        let all = vec![news("b", 3), news("a", 3), news("a", 2), news("ab", 1)];
        store.sort(3, all).await.unwrap();
        let state = ChannelState { told: 1, ..ChannelState::default() };
        store.settle_news("a", vec![2], state.clone(), Vec::new()).await.unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.sorted().await.unwrap(), Some(3));
        assert_eq!(seqs(&store.waiting_news("a", 9).await.unwrap()), [3]);
        assert_eq!(seqs(&store.waiting_news("ab", 9).await.unwrap()), [1]);
        assert_eq!(store.channel("a").await.unwrap(), Waiting { count: 1, state });
        // A channel that nobody has any more, and one that never told anything.
        assert_eq!(store.forget_channels(vec!["b".to_owned()]).await.unwrap(), 2);
        assert_eq!(store.waiting_news("a", 9).await.unwrap(), []);
        assert_eq!(store.channel("a").await.unwrap(), Waiting::default());
        assert_eq!(seqs(&store.waiting_news("b", 9).await.unwrap()), [3]);
        assert_eq!(store.sorted().await.unwrap(), Some(3));
        assert_eq!(store.forget_channels(Vec::new()).await.unwrap(), 1);
        assert_eq!(store.sorted().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_urgent_goes_before_what_is_older() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut urgent = news("a", 5);
        urgent.1.level = Level::Error;
        store.sort(6, vec![news("a", 3), urgent, news("a", 6)]).await.unwrap();
        assert_eq!(store.channel("a").await.unwrap().count, 3);
        assert_eq!(seqs(&store.waiting_news("a", 9).await.unwrap()), [5]);
        store.settle_news("a", vec![5], ChannelState::default(), Vec::new()).await.unwrap();
        assert_eq!(seqs(&store.waiting_news("a", 9).await.unwrap()), [3, 6]);
    }

    #[tokio::test]
    async fn of_too_many_the_oldest_are_given_up_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let many = (1..=MOST + 7).map(|seq| news("a", seq)).collect();
        store.sort(MOST + 7, many).await.unwrap();
        store.sort(MOST + 8, vec![news("b", MOST + 8)]).await.unwrap();
        let waiting = store.channel("a").await.unwrap();
        assert_eq!((waiting.count, waiting.state.lost), (MOST, 7));
        assert_eq!(seqs(&store.waiting_news("a", 2).await.unwrap()), [8, 9]);
        assert_eq!(store.channel("b").await.unwrap().count, 1);
    }
}
