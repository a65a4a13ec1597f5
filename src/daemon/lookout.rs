//! Looks again and again at what the vault signed, and raises the alarm when that is far more than
//! there were handshakes.
//!
//! What is too much is the business of `vault::ledger`; here it gets a name, a line in the log and an
//! entry in the journal. A vault that does not answer is no news here: the supervisor tells that.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio_util::sync::CancellationToken;

use super::wire::Orders;
use crate::admin::wire::signing::SigningView;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::tasks::SharedClock;
use crate::base::tasks::TaskSet;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::key::KeyId;
use crate::cert::record::Certificate;
use crate::store::Store;
use crate::vault::Vault;
use crate::vault::ledger::Account;
use crate::vault::ledger::Alarm;
use crate::vault::ledger::Ledger;
use crate::vault::tally;

/// How many of the busiest keys status names.
const BUSIEST: usize = 3;

/// What is known of each key's work.
pub(super) struct Lookout {
    clock: SharedClock,
    vault: Vault,
    orders: Option<Orders>,
    store: Option<Store>,
    ledger: Mutex<Ledger>,
}

impl Lookout {
    /// Looks every [`bounds::SIGN_LOOK`] until `stop`.
    pub(super) fn begin(
        clock: &SharedClock,
        vault: &Vault,
        (orders, store): (Option<&Orders>, Option<&Store>),
        tasks: &TaskSet,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let lookout = Arc::new(Self {
            clock: Arc::clone(clock),
            vault: vault.clone(),
            orders: orders.cloned(),
            store: store.cloned(),
            ledger: Mutex::default(),
        });
        let (looking, stop) = (Arc::clone(&lookout), stop.clone());
        tasks.service("lookout", async move {
            while stop.run_until_cancelled(tokio::time::sleep(bounds::SIGN_LOOK)).await.is_some() {
                looking.look().await;
            }
        });
        lookout
    }

    async fn look(&self) {
        let vault = self.vault.clone();
        let Ok(Ok(Some(look))) = tokio::task::spawn_blocking(move || vault.look()).await else {
            return;
        };
        let now = self.clock.now();
        let alarms = self.ledger().enter(&look, now);
        let owners = self.owners(alarms.iter().map(|alarm| alarm.key));
        for alarm in alarms {
            self.raise(&alarm, owners.get(&alarm.key)).await;
        }
    }

    async fn raise(&self, alarm: &Alarm, record: Option<&Arc<Certificate>>) {
        let name = record.and_then(|record| first_name(record));
        tracing::error!(
            key = short(alarm.key),
            signatures = alarm.signatures,
            handshakes = alarm.handshakes,
            "a key signs far more than its handshakes, so somebody may be using the vault"
        );
        let Some(store) = &self.store else { return };
        let entry = Entry {
            seq: 0,
            at: alarm.at,
            kind: EntryKind::KeyAlarm,
            level: Level::Error,
            certificate: record.map(|record| record.id()),
            message: in_words(alarm, name.as_deref()),
            name,
        };
        if let Err(error) = store.append(vec![entry]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
    }

    /// The alarms that stand, in words.
    pub(super) fn alarms(&self, now: Timestamp) -> Vec<String> {
        let alarms = self.ledger().alarms(now);
        let owners = self.owners(alarms.iter().map(|alarm| alarm.key));
        let name = |key| owners.get(key).and_then(|record| first_name(record));
        alarms.iter().map(|alarm| in_words(alarm, name(&alarm.key).as_deref())).collect()
    }

    /// What the key called `key` did.
    pub(super) fn of(&self, key: &KeyId, now: Timestamp) -> Option<SigningView> {
        let ledger = self.ledger();
        let account = ledger.account(tally::short(key), now)?;
        Some(view(tally::short(key), account, ledger.since(), None))
    }

    /// What the busiest keys do.
    pub(super) fn busiest(&self, now: Timestamp) -> Vec<SigningView> {
        let (busiest, since) = {
            let ledger = self.ledger();
            (ledger.busiest(BUSIEST, now), ledger.since())
        };
        let owners = self.owners(busiest.iter().map(|(key, _)| *key));
        let name = |key| owners.get(key).and_then(|record| first_name(record));
        busiest.iter().map(|(key, account)| view(*key, *account, since, name(key))).collect()
    }

    /// The certificates that the keys are for. Goes through all of them, so only if need be.
    fn owners(&self, keys: impl Iterator<Item = u64>) -> HashMap<u64, Arc<Certificate>> {
        let keys: HashSet<u64> = keys.collect();
        let Some(orders) = self.orders.as_ref().filter(|_| !keys.is_empty()) else {
            return HashMap::new();
        };
        let owned = |record: Arc<Certificate>| {
            let key = tally::short(&record.installed.as_ref()?.key);
            keys.contains(&key).then_some((key, record))
        };
        orders.scheduler.certificates().into_iter().filter_map(owned).collect()
    }

    /// Whole at every moment, so a panic elsewhere spoils nothing.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first twelve digits of the key's name, as everywhere.
fn short(key: u64) -> String {
    key.to_le_bytes().iter().take(6).map(|octet| format!("{octet:02x}")).collect()
}

fn first_name(record: &Certificate) -> Option<String> {
    record.spec.names().first().map(ToString::to_string)
}

fn in_words(alarm: &Alarm, name: Option<&str>) -> String {
    let of = name.map(|name| format!(" of {name}")).unwrap_or_default();
    let Alarm { signatures, handshakes, at, .. } = alarm;
    format!(
        "key {}{of} has signed {signatures} times for {handshakes} handshakes, seen {at}: somebody \
         may be using the vault over a stolen channel; restart keyward, renew the certificate with \
         a new key, and look for an intruder",
        short(alarm.key),
    )
}

fn view(key: u64, account: Account, since: Timestamp, name: Option<String>) -> SigningView {
    let Account { signatures, handshakes, per_minute } = account;
    SigningView { key: short(key), name, signatures, per_minute, handshakes, since: since.into() }
}
