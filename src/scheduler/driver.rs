//! The loop: look at the clock, the configuration and the records, do what the plan says, sleep
//! until something can change.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::check;
use super::crew::Crew;
use super::handle::Parts;
use super::handle::SchedulerHandle;
use super::host::HostedSites;
use super::job;
use super::job::Workshop;
use super::manner::Manner;
use super::plan;
use super::plan::Step;
use super::plan::Work;
use super::publish::Publisher;
use super::records::Records;
use super::revoke;
use super::standby;
use super::supersede;
use super::transition;
use super::woken::Alarm;
use crate::base::Timestamp;
use crate::base::bounds;
use crate::base::tasks::TaskSet;
use crate::cert::journal::Entry;
use crate::cert::limits::Limits;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Specification;
use crate::config::Config;
use crate::store::Store;
use crate::store::StoreError;

pub(super) async fn start(
    parts: Parts,
    config: watch::Receiver<Arc<Config>>,
) -> Result<SchedulerHandle, StoreError> {
    let Parts { store, catalog, audience, clock, jitter, authorities, keys, tasks } = parts;
    let publisher = Publisher::start(catalog, audience, store.clone(), &tasks);
    let records = Records::load(store.clone()).await?;
    let journal = whole_journal(&store).await?;
    let all = records.driven();
    let known: Vec<_> = all.iter().map(|record| record.as_ref().clone()).collect();
    let limits = limits(&config.borrow());
    let budget = Mutex::new(Budget::rebuild(&known, &journal, limits));
    let newest = journal
        .iter()
        .map(|entry| entry.at)
        .chain(known.iter().filter_map(|record| record.installed.as_ref().map(|i| i.at)))
        .max();
    let shop = Arc::new(Workshop {
        records,
        publisher,
        budget,
        clock,
        jitter,
        authorities,
        keys,
        trusted: AtomicBool::new(false),
        behind: Mutex::new(None),
        looks: check::Looks::default(),
        showing: tokio::sync::Mutex::default(),
        crew: Arc::new(Crew::default()),
    });
    for record in all {
        let now = shop.now();
        // A store that refuses here is no reason not to serve: the lease lapses by itself.
        let taken_up =
            shop.records.change(record.id(), None, |r| Some(transition::restarted(r, now))).await;
        if let Err(error) = taken_up {
            tracing::warn!(cert = %record.id(), error = &error as &dyn std::error::Error,
                "a lease of the former run cannot be released, waiting until it lapses");
        }
    }
    let (ended, stopped) = watch::channel(false);
    let (hold, told) = watch::channel(false);
    let (still, held) = watch::channel(false);
    let handle = SchedulerHandle {
        shop: Arc::clone(&shop),
        wake: Arc::new(Notify::new()),
        stop: CancellationToken::new(),
        stopped,
        hold,
        held,
    };
    let applied = Arc::clone(&config.borrow());
    let driver = Driver {
        shop,
        applied,
        config,
        tasks: tasks.clone(),
        wake: Arc::clone(&handle.wake),
        stop: handle.stop.clone(),
        hold: told,
        still,
        newest,
        behind: false,
        alarm: Alarm::default(),
        hosted: HostedSites::default(),
    };
    tasks.service("scheduler", async move {
        driver.run().await;
        ended.send_replace(true);
    });
    Ok(handle)
}

/// The whole journal, oldest first, in portions.
async fn whole_journal(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let mut journal: Vec<Entry> = Vec::new();
    while journal.len() <= bounds::JOURNAL_ENTRIES {
        let after = journal.last().map_or(0, |entry| entry.seq);
        let more = store.journal(after, 1000).await?;
        if more.is_empty() {
            break;
        }
        journal.extend(more);
    }
    Ok(journal)
}

/// The limits of every CA, as the configuration says.
fn limits(config: &Config) -> HashMap<IssuerName, Limits> {
    config.authorities().map(|ca| (ca.issuer(), ca.limits)).collect()
}

struct Driver {
    shop: Arc<Workshop>,
    config: watch::Receiver<Arc<Config>>,
    /// The configuration of the last turn.
    applied: Arc<Config>,
    tasks: TaskSet,
    wake: Arc<Notify>,
    stop: CancellationToken,
    /// Whether it is to stand still, and whether it does.
    hold: watch::Receiver<bool>,
    still: watch::Sender<bool>,
    /// The newest moment the store knew at the start.
    newest: Option<Timestamp>,
    /// Whether the clock was found behind, and that was said.
    behind: bool,
    alarm: Alarm,
    hosted: HostedSites,
}

impl Driver {
    async fn run(mut self) {
        while !self.stop.is_cancelled() {
            if *self.hold.borrow() {
                self.stand_still().await;
                continue;
            }
            let again = self.turn().await;
            if self.shop.records.take_trouble() {
                // Woken or not: a disk that refuses is not asked in a circle.
                tokio::select! {
                    () = tokio::time::sleep(bounds::STORE_PAUSE) => {}
                    () = self.stop.cancelled() => {}
                }
            } else if !again {
                self.rest().await;
            }
        }
        self.drain().await;
    }

    /// One look at everything. Whether another should follow at once.
    async fn turn(&mut self) -> bool {
        let now = self.shop.now();
        let config = Arc::clone(&self.config.borrow_and_update());
        if !Arc::ptr_eq(&config, &self.applied) {
            self.reconfigured(&config, now).await;
            self.applied = Arc::clone(&config);
        }
        let holding = self.look_at_clock(now);
        if let Err(error) = self.shop.host_sites(&config, &mut self.hosted, now).await {
            self.refused(&error);
        }
        let records = self.shop.records.driven();
        let brought = |name: &_| self.shop.publisher.brought(name);
        let desired = plan::desired(&config, &records, brought, now);
        let records = match self.settle(&config, &desired, records, now).await {
            Ok(records) => records,
            Err(error) => {
                self.refused(&error);
                return false;
            }
        };
        let steps = plan::plan(&desired, &records, &self.shop.crew.busy(), holding, now);
        let mut again = false;
        let steps = match self.add(steps, now).await {
            Ok((rest, added)) => {
                again |= added;
                rest
            }
            Err(error) => {
                self.refused(&error);
                return false;
            }
        };
        for step in steps {
            // Work that was begun reports its own end; a changed record is looked at again.
            again |= !matches!(step, Step::Order(_) | Step::Check(_) | Step::Revoke(_));
            if let Err(error) = self.carry_out(step, now, &config).await {
                self.refused(&error);
                return false;
            }
        }
        // Looked at anew: a certificate that has just returned is no retired one.
        let records = self.shop.records.driven();
        for id in supersede::superseded(&config, &records, now) {
            if self.shop.publisher.shows(id)
                && let Some(record) = self.shop.records.get(id)
            {
                self.shop.publisher.withdraw(&record.spec, record.revision);
            }
        }
        again | self.wake_imported(&config, holding, now).await
    }

    /// Looks after imported certificates whose moment has come. Whether another turn should follow.
    async fn wake_imported(&mut self, config: &Config, holding: bool, now: Timestamp) -> bool {
        match self.alarm.ring(&self.shop, config, now).await {
            Ok(more) => {
                let room = bounds::ORDERS_AT_ONCE.saturating_sub(self.shop.crew.busy().len());
                let due = self.alarm.due().filter(|_| !holding).take(room);
                for (record, work) in due {
                    self.begin(record, *work, config);
                }
                more
            }
            Err(error) => {
                self.refused(&error);
                false
            }
        }
    }

    fn refused(&self, error: &StoreError) {
        self.shop.records.note(error);
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the store refuses a step, trying again later"
        );
    }

    /// Adds the records that are new, many in one transaction: a file of ten thousand sites is
    /// ten thousand records at once. Returns the other steps, and whether there was one to add.
    async fn add(&self, steps: Vec<Step>, now: Timestamp) -> Result<(Vec<Step>, bool), StoreError> {
        let (mut changes, mut rest) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Add(spec) => changes.push(transition::added(spec, now)),
                other => rest.push(other),
            }
        }
        let any = !changes.is_empty();
        while !changes.is_empty() {
            let later = changes.split_off(changes.len().min(bounds::ADDED_AT_ONCE));
            self.shop.records.add(std::mem::replace(&mut changes, later)).await?;
        }
        Ok((rest, any))
    }

    /// Has of two certificates of a site the right one shown, and gives the records as they are then.
    async fn settle(
        &self,
        config: &Config,
        desired: &[Specification],
        records: Vec<Arc<Certificate>>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Certificate>>, StoreError> {
        let wanted = desired.iter().map(Specification::id).collect();
        let changes = standby::settle(config, &wanted, &records, now);
        if changes.is_empty() {
            return Ok(records);
        }
        for change in changes {
            match self.shop.store_all(change).await {
                // Somebody else was faster: it is looked at again in the next turn.
                Ok(()) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.shop.records.driven())
    }

    async fn carry_out(
        &self,
        step: Step,
        now: Timestamp,
        config: &Config,
    ) -> Result<(), StoreError> {
        let records = &self.shop.records;
        match step {
            Step::Add(spec) => records.add(vec![transition::added(spec, now)]).await?,
            Step::Return(id) => {
                let draw = self.shop.jitter.draw();
                records.change(id, None, |r| Some(transition::returned(r, draw, now))).await?;
                self.shop.show(id).await?;
            }
            Step::Remove(id, keep_until) => {
                self.shop.crew.dismiss(id);
                let removed = |r: &_| Some(transition::removed(r, keep_until, now));
                records.change(id, None, removed).await?;
            }
            Step::Delete(id) => {
                if let Some(record) = records.get(id) {
                    records.remove(id, transition::deleted(&record, now)).await?;
                    let revision = record.revision.saturating_add(1);
                    self.shop.publisher.withdraw(&record.spec, revision);
                }
            }
            Step::Lapse(id) => {
                records.change(id, None, |r| Some(transition::tick(r, now))).await?;
            }
            // Only what was imported is reminded of, and nothing of that is on the board.
            Step::Remind(_) => {}
            Step::Order(id) => {
                if let Some(record) = records.get(id) {
                    self.begin(&record, plan::work_of(&record), config);
                }
            }
            Step::Check(id) => {
                if let Some(record) = records.get(id) {
                    self.begin(&record, Work::Check, config);
                }
            }
            Step::Revoke(id) => {
                if let Some(record) = records.get(id) {
                    self.begin(&record, Work::Revoke, config);
                }
            }
        }
        Ok(())
    }

    /// Begins an attempt, a question or a revocation in a task of its own.
    fn begin(&self, record: &Certificate, work: Work, config: &Config) {
        // What was just asked for may rest on a file that this turn has not read; the next one has.
        let (Ok(false) | Err(_)) = self.config.has_changed() else { return };
        let id = record.id();
        let Some((shift, token)) = self.shop.crew.enter(id, work, &self.wake) else { return };
        let shop = Arc::clone(&self.shop);
        let renewal_info = config.authority(record.issued_by()).is_some_and(|ca| ca.renewal_info);
        let manner = Manner::of(config, record);
        let name = match work {
            Work::Check => "renewal-information",
            Work::Revoke => "revocation",
            Work::Order | Work::InternalOrder => "attempt",
        };
        self.tasks.job(name, async move {
            let _shift = shift;
            let work = async {
                match work {
                    Work::Check => check::run(&shop, id, renewal_info).await,
                    Work::Revoke => revoke::run(&shop, id).await,
                    Work::Order | Work::InternalOrder => job::run(&shop, id, manner).await,
                }
            };
            let ended = tokio::select! {
                biased;
                () = token.cancelled() => return,
                ended = work => ended,
            };
            if let Err(error) = ended {
                shop.records.note(&error);
                tracing::error!(
                    cert = %id,
                    error = &error as &dyn std::error::Error,
                    "the store refuses what an attempt brought, trying again later"
                );
            }
        });
    }

    /// Gives certificates whose last attempt failed another chance when what may have failed
    /// them was changed.
    async fn reconfigured(&self, config: &Config, now: Timestamp) {
        self.shop.with_budget(|budget| budget.limit(limits(config)));
        let cas = |config: &Config| config.authorities().cloned().collect::<Vec<_>>();
        let acme = cas(config) != cas(&self.applied) || config.dns != self.applied.dns;
        let mut touched = std::collections::BTreeSet::new();
        for site in &config.sites {
            let former = self.applied.sites.iter().find(|old| old.name() == site.name());
            // Where it stands in the file is no part of what may have failed.
            let same = former.is_some_and(|old| {
                let old = crate::config::Site { line: site.line, ..old.clone() };
                old == *site
            });
            if !same {
                let all = plan::primaries(config, site).chain(plan::standbys(config, site));
                touched.extend(all.map(|spec| spec.id()));
            }
        }
        for record in self.shop.records.driven() {
            let by_acme = acme && matches!(record.spec.issuer, IssuerName::Acme(_));
            if !by_acme && !touched.contains(&record.id()) {
                continue;
            }
            let id = record.id();
            let changed =
                self.shop.records.change(id, None, |r| Some(transition::changed(r, now))).await;
            if let Err(error) = changed {
                tracing::error!(
                    cert = %id,
                    error = &error as &dyn std::error::Error,
                    "the store refuses to note a changed configuration, keeping the former phase"
                );
            }
        }
    }

    /// Whether the clock is too far behind what the store has seen to be believed. A person who
    /// asks for a renewal vouches for the clock: else one wrong date in the journal, years ahead,
    /// would end all renewals for years.
    fn look_at_clock(&mut self, now: Timestamp) -> bool {
        if self.behind && self.shop.trusted.swap(false, Ordering::Relaxed) {
            self.newest = None;
        }
        let behind = self.newest.is_some_and(|n| n.since(now) > bounds::CLOCK_BEHIND);
        if behind && !self.behind {
            tracing::error!(
                now = %now,
                newest = self.newest.map(tracing::field::display),
                "the clock is behind the newest moment in the store, ordering nothing until it \
                 is right or somebody asks for a renewal"
            );
        } else if self.behind && !behind {
            tracing::info!(now = %now, "the clock is right again, going on");
        }
        self.behind = behind;
        *self.shop.behind.lock().unwrap_or_else(PoisonError::into_inner) =
            self.newest.filter(|_| behind);
        behind
    }

    /// Sleeps until time, a request, a job's end or a new configuration can bring a step.
    async fn rest(&mut self) {
        let now = self.shop.now();
        let next = plan::next_wake(&self.shop.records.driven(), now);
        let next = next.into_iter().chain(self.alarm.next).min();
        let pause = next.map_or(bounds::SLEEP_STRETCH, |at| at.since(now));
        // Whole seconds: a sleep of less than one would look at the same second again.
        let pause = pause.clamp(Duration::from_secs(1), bounds::SLEEP_STRETCH);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.wake.notified() => {}
            () = self.stop.cancelled() => {}
            changed = self.config.changed() => if changed.is_err() {
                // Nobody can change it any more; without this the loop would turn for nothing.
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.wake.notified() => {}
                    () = self.stop.cancelled() => {}
                }
            },
        }
    }

    /// Has nothing at work until it may go on.
    async fn stand_still(&mut self) {
        self.drain().await;
        self.still.send_replace(true);
        tokio::select! {
            Ok(_) = self.hold.wait_for(|hold| !*hold) => {}
            () = self.stop.cancelled() => {}
        }
        self.still.send_replace(false);
    }

    /// Waits for what is at work, and ends what does not end by itself.
    async fn drain(&self) {
        let deadline = tokio::time::sleep(bounds::JOB_GRACE);
        tokio::pin!(deadline);
        let mut dismissed = false;
        while !self.shop.crew.is_idle() {
            tokio::select! {
                () = self.wake.notified() => {}
                () = &mut deadline, if !dismissed => {
                    dismissed = true;
                    self.shop.crew.dismiss_all();
                }
            }
        }
    }
}
