//! Looks again and again at what the vault signed, and raises the alarm when that is far more than
//! there were handshakes.
//!
//! What is too much is the business of `vault::ledger`; here it gets a name, a line in the log and an
//! entry in the journal. A vault that does not answer is no news here: the supervisor tells that.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio_util::sync::CancellationToken;

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
    store: Option<Store>,
    ledger: Mutex<Ledger>,
}

impl Lookout {
    /// Looks every [`bounds::SIGN_LOOK`] until `stop`.
    pub(super) fn begin(
        clock: &SharedClock,
        vault: &Vault,
        store: Option<&Store>,
        tasks: &TaskSet,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let lookout = Arc::new(Self {
            clock: Arc::clone(clock),
            vault: vault.clone(),
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
        for alarm in alarms {
            let owner = self.owner(alarm.key).await;
            self.raise(&alarm, owner.as_ref()).await;
        }
    }

    async fn raise(&self, alarm: &Alarm, record: Option<&Certificate>) {
        let name = record.and_then(first_name);
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
            certificate: record.map(Certificate::id),
            message: in_words(alarm, name.as_deref()),
            name,
        };
        if let Err(error) = store.append(vec![entry]).await {
            tracing::warn!(%error, "the journal takes no entry, going on");
        }
    }

    /// The alarms that stand, in words.
    pub(super) async fn alarms(&self, now: Timestamp) -> Vec<String> {
        let alarms = self.ledger().alarms(now);
        let mut told = Vec::with_capacity(alarms.len());
        for alarm in alarms {
            let owner = self.owner(alarm.key).await;
            told.push(in_words(&alarm, owner.as_ref().and_then(first_name).as_deref()));
        }
        told
    }

    /// What the key called `key` did.
    pub(super) fn of(&self, key: &KeyId, now: Timestamp) -> Option<SigningView> {
        let ledger = self.ledger();
        let account = ledger.account(tally::short(key), now)?;
        Some(view(tally::short(key), account, ledger.since(), None))
    }

    /// What the busiest keys do.
    pub(super) async fn busiest(&self, now: Timestamp) -> Vec<SigningView> {
        let (busiest, since) = {
            let ledger = self.ledger();
            (ledger.busiest(BUSIEST, now), ledger.since())
        };
        let mut views = Vec::with_capacity(busiest.len());
        for (key, account) in busiest {
            let owner = self.owner(key).await;
            views.push(view(key, account, since, owner.as_ref().and_then(first_name)));
        }
        views
    }

    /// A certificate that the key is for.
    async fn owner(&self, key: u64) -> Option<Certificate> {
        let found = self.store.as_ref()?.user_of(key.to_le_bytes()).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, "whose key it is cannot be read");
            None
        })
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
