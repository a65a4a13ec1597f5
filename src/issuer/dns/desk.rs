//! Sets the records of an order, waits until the world can see them, and has them removed.
//!
//! What is set is written down first, and a janitor removes whatever stands in the ledger and is
//! held by no order: what an order let go of, and what a crash left behind.

use std::collections::HashMap;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::lookup;
use super::lookup::Shown;
use super::world::World;
use crate::base::bounds;
use crate::base::crash;
use crate::base::tasks::SharedClock;
use crate::cert::challenge::PresentError;
use crate::cert::identifier::Identifier;
use crate::cert::ports::Book;
use crate::cert::zone::ZoneChange;
use crate::cert::zone::ZoneKeeper;
use crate::cert::zone::ZoneRecord;
use crate::config::Config;
use crate::config::dns::proof_name;

/// What the desk works with.
#[derive(Debug)]
pub struct DnsOptions {
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// Who changes zones; `None` when no such process was started.
    pub zones: Option<Arc<dyn ZoneKeeper>>,
    /// Where outstanding records are kept.
    pub book: Arc<dyn Book>,
    /// What time it is.
    pub clock: SharedClock,
}

/// Proofs by DNS. Clones share everything.
#[derive(Clone, Debug)]
pub struct DnsDesk(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    options: DnsOptions,
    ledger: Ledger,
    /// Records that orders need, and how many do.
    held: Mutex<HashMap<ZoneRecord, usize>>,
    /// A provider's zone is changed by one at a time: many read it, change it, and write it back.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Something was let go of.
    released: Notify,
}

/// A record that was set for an order. Dropping it has it removed, on every path.
#[derive(Debug)]
pub(in crate::issuer) struct Planted {
    desk: Arc<Desk>,
    record: ZoneRecord,
}

impl Drop for Planted {
    fn drop(&mut self) {
        self.desk.let_go(&self.record);
    }
}

impl DnsDesk {
    /// A desk. Nothing is read or asked before it is first used.
    pub fn new(options: DnsOptions) -> Self {
        let ledger = Ledger::new(Arc::clone(&options.book));
        Self(Arc::new(Desk {
            options,
            ledger,
            held: Mutex::default(),
            turns: Mutex::default(),
            released: Notify::new(),
        }))
    }

    /// Whether there is any account.
    pub(in crate::issuer) fn has_accounts(&self) -> bool {
        !self.0.options.config.borrow().dns.is_empty()
    }

    /// Whether a zone of an account has the place where `name` is proven.
    pub(in crate::issuer) fn has_zone_of(&self, name: &Identifier) -> bool {
        let config = self.0.options.config.borrow();
        config.dns_of(&proof_name(&name.to_string())).is_some()
    }

    /// The DNS as it is now.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub fn world(&self) -> Result<World, String> {
        let config = Arc::clone(&self.0.options.config.borrow());
        World::new(&config.acme.name_servers, &config.dns)
    }

    /// Whether names lead to balancers, whose addresses are not this machine's.
    pub(in crate::issuer) fn is_behind_others(&self) -> bool {
        !self.0.options.config.borrow().listen.proxy_from.is_empty()
    }

    /// Sets the record for `name`.
    pub(in crate::issuer) async fn plant(
        &self,
        name: &Identifier,
        token: &str,
        thumbprint: &str,
    ) -> Result<Planted, PresentError> {
        let host = name.to_string();
        let start = proof_name(&host);
        let (account, zone, record) = self.0.place(&start).await?;
        let key_authorization = format!("{token}.{thumbprint}");
        let digest = ring::digest::digest(&ring::digest::SHA256, key_authorization.as_bytes());
        let record = ZoneRecord {
            account,
            zone,
            record,
            value: URL_SAFE_NO_PAD.encode(digest),
            name: host.strip_prefix("*.").unwrap_or(&host).to_owned(),
            token: token.to_owned(),
            key_authorization,
        };
        let failed = |reason: String| PresentError::Zone { record: record.record.clone(), reason };
        // From here on the janitor keeps away from it, and it is removed whatever happens.
        let planted = self.0.hold(&record);
        let turn = self.0.turn(&record.account);
        let mine = turn.lock().await;
        let noted = self.0.ledger.note(&record, self.0.options.clock.now()).await;
        noted.map_err(|failure| failed(failure.to_string()))?;
        crash::point_of("dns", "record-noted");
        self.0.change(ZoneChange::Set, &record).await.map_err(failed)?;
        tracing::debug!(record = record.record, account = record.account, "a record was set");
        crash::point_of("dns", "record-set");
        drop(mine);
        Ok(planted)
    }

    /// Waits until the servers of each zone show its record, for as long as its account says; then
    /// goes on with a warning, because the CA may see what cannot be seen from here.
    pub(in crate::issuer) async fn settle(&self, planted: &[Planted]) {
        let start = Instant::now();
        for Planted { record, .. } in planted {
            let limit = {
                let config = self.0.options.config.borrow();
                let found = config.dns.iter().find(|account| account.name == record.account);
                found.map(|account| (account.propagation, account.servers.clone()))
            };
            let Some((limit, servers)) = limit.filter(|(limit, _)| !limit.is_zero()) else {
                continue;
            };
            if let Err(reason) = self.0.wait_for(record, servers, start + limit).await {
                tracing::warn!(
                    record = record.record,
                    reason,
                    "a proof cannot be seen from here, letting the CA look"
                );
            }
        }
    }

    /// Removes what nobody needs, until `stop`.
    pub async fn tidy(self, stop: CancellationToken) {
        let mut tries = HashMap::new();
        loop {
            let pause = self.0.sweep(&mut tries).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.released.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// How often a removal failed, and when it is tried again.
type Tries = HashMap<ZoneRecord, (u32, Instant)>;

impl Desk {
    fn held(&self) -> MutexGuard<'_, HashMap<ZoneRecord, usize>> {
        // Each change is one insertion or removal.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(self: &Arc<Self>, record: &ZoneRecord) -> Planted {
        let mut held = self.held();
        let count = held.entry(record.clone()).or_default();
        *count = count.saturating_add(1);
        Planted { desk: Arc::clone(self), record: record.clone() }
    }

    fn let_go(&self, record: &ZoneRecord) {
        let mut held = self.held();
        if let Some(count) = held.get_mut(record) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(record);
            }
        }
        drop(held);
        self.released.notify_one();
    }

    /// Account, zone and name of the record: where `start` leads over aliases.
    async fn place(&self, start: &str) -> Result<(String, String, String), PresentError> {
        let config = Arc::clone(&self.options.config.borrow());
        let found = match lookup::resolver(&config.acme.name_servers) {
            Ok(resolver) => lookup::target(&resolver, start).await,
            Err(reason) => Err(reason),
        };
        let record = found.unwrap_or_else(|reason| {
            tracing::warn!(
                record = start,
                reason,
                "cannot see whether this is an alias, taking it for none"
            );
            start.to_owned()
        });
        let Some((account, zone)) = config.dns_of(&record) else {
            let record =
                if record == start { record } else { format!("{record}, where {start} leads") };
            return Err(PresentError::NoZone { record });
        };
        Ok((account.name.clone(), zone.to_owned(), record))
    }

    fn turn(&self, account: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(account.to_owned()).or_default())
    }

    /// Makes a change, for who has the turn.
    async fn change(&self, what: ZoneChange, record: &ZoneRecord) -> Result<(), String> {
        let zones = self.options.zones.as_ref();
        let zones =
            zones.ok_or("the process that changes zones was not started: restart keyward")?;
        zones.change(what, record).await
    }

    async fn wait_for(
        &self,
        record: &ZoneRecord,
        servers: Vec<SocketAddr>,
        until: Instant,
    ) -> Result<(), String> {
        let servers = if servers.is_empty() {
            let own = self.options.config.borrow().acme.name_servers.clone();
            lookup::servers(&lookup::resolver(&own)?, &record.record).await?
        } else {
            servers
        };
        // A server that is not to be reached from here says nothing about what the CA sees.
        let mut silent = HashSet::new();
        for round in 0_u32.. {
            let (mut showing, mut lacking) = (0_usize, None);
            for server in &servers {
                if silent.contains(server) {
                    continue;
                }
                match lookup::shows(*server, &record.record, &record.value).await {
                    Shown::Yes => showing = showing.saturating_add(1),
                    Shown::Silent if round > 0 => {
                        silent.insert(*server);
                    }
                    Shown::No | Shown::Silent => lacking = Some(*server),
                }
            }
            match lacking {
                None if showing > 0 => return Ok(()),
                None => return Err("no name server of the zone answers".to_owned()),
                Some(_) if Instant::now() + bounds::dns::LOOK_PAUSE < until => {}
                Some(server) => return Err(format!("the name server {server} does not show it")),
            }
            tokio::time::sleep(bounds::dns::LOOK_PAUSE).await;
        }
        Ok(())
    }

    /// Removes what is due, and says when to look again.
    async fn sweep(&self, tries: &mut Tries) -> Duration {
        let latest = bounds::dns::REMOVE_LATEST;
        let all = match self.ledger.all().await {
            Ok(all) => all,
            Err(failure) => {
                tracing::warn!(reason = %failure, "the list of records in the DNS cannot be read");
                return latest;
            }
        };
        let mut next = Instant::now() + latest;
        tries.retain(|record, _| all.iter().any(|one| one.record == *record));
        for one in all {
            let record = &one.record;
            if self.held().contains_key(record) {
                continue;
            }
            let now = Instant::now();
            let (failures, due) = tries.get(record).copied().unwrap_or((0, now));
            if due > Instant::now() {
                next = next.min(due);
                continue;
            }
            let turn = self.turn(&record.account);
            let mine = turn.lock().await;
            if self.held().contains_key(record) {
                // An order has set it again meanwhile, and will let go of it.
                continue;
            }
            let removed = self.change(ZoneChange::Remove, record).await;
            let age = self.options.clock.now().since(one.at);
            match removed {
                Ok(()) => tracing::debug!(record = record.record, "a record was removed"),
                Err(reason) if age >= bounds::dns::REMOVE_GIVE_UP => {
                    tracing::warn!(
                        record = record.record,
                        reason,
                        "a record stays in the DNS for good"
                    );
                }
                Err(reason) => {
                    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
                    let pause = bounds::dns::REMOVE_RETRY.saturating_mul(factor).min(latest);
                    tracing::warn!(
                        record = record.record,
                        reason,
                        "a record was not removed, trying again later"
                    );
                    tries.insert(
                        record.clone(),
                        (failures.saturating_add(1).min(16), Instant::now() + pause),
                    );
                    next = next.min(Instant::now() + pause);
                    continue;
                }
            }
            if let Err(failure) = self.ledger.erase(record).await {
                tracing::warn!(reason = %failure, "the list of records in the DNS cannot be written");
            }
            drop(mine);
        }
        next.saturating_duration_since(Instant::now())
    }
}
