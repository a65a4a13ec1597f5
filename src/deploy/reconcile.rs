//! The loop that brings about what is desired: it compares, gives everybody a turn, and remembers.
//!
//! Deliberately absent: how a pair is brought (`errand`), and who goes first (`lanes`).

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desired::Key;
use super::desired::Known;
use super::desired::Wanted;
use super::desired::changes;
use super::desired::stays;
use super::errand;
use super::handle::Answer;
use super::handle::Means;
use super::handle::Order;
use super::handle::Shown;
use super::handle::lock;
use super::lanes::Lanes;
use super::telling;
use super::world::World;
use crate::base::Timestamp;
use crate::base::bounds::deployment::COMPARE_LEAST;
use crate::base::bounds::deployment::COMPARE_MOST;
use crate::base::bounds::deployment::MOST;
use crate::base::bounds::deployment::ORDERS;
use crate::base::bounds::deployment::REASON;
use crate::base::bounds::deployment::SLOW_LANE;
use crate::base::bounds::deployment::TOGETHER_MOST;
use crate::base::tasks::TaskSet;
use crate::cert::deployment::Deployment;
use crate::cert::deployment::Event;
use crate::cert::deployment::Leaf;
use crate::cert::deployment::Made;
use crate::cert::deployment::Step;
use crate::cert::deployment::TargetName;
use crate::cert::deployment::Verdict;
use crate::cert::deployment::Watch;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::config::Target;

/// A sleeper looks at the clock again after so long, so that a step of it is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What came of an errand.
struct Done {
    key: Key,
    /// What was installed when it began.
    leaf: Option<Leaf>,
    event: Event,
    /// Whether it had a place in a lane, and who waits for what became of it.
    lane: bool,
    answer: Option<Answer>,
}

/// Says what came of an errand, also where it panicked.
struct Courier {
    done: mpsc::Sender<Done>,
    held: Option<Done>,
}

/// The loop, between two of its turns.
pub(super) struct Loop {
    pub(super) means: Means,
    pub(super) shown: Arc<Mutex<Shown>>,
    tasks: TaskSet,
    stop: CancellationToken,
    lanes: Lanes,
    done: mpsc::Sender<Done>,
    /// The journal was looked through up to here.
    after: u64,
    compared: Option<Instant>,
    dirty: bool,
}

/// Begins the loop.
pub(super) fn begin(
    means: Means,
    shown: Arc<Mutex<Shown>>,
    orders: mpsc::Receiver<Order>,
    tasks: &TaskSet,
    stop: &CancellationToken,
) {
    let lanes = usize::try_from(TOGETHER_MOST).unwrap_or(64).saturating_mul(1 + SLOW_LANE);
    // Each errand says one thing, so there is room for all that may be under way.
    let (done, ended) = mpsc::channel(lanes.saturating_add(ORDERS));
    let work = Loop {
        means,
        shown,
        tasks: tasks.clone(),
        stop: stop.clone(),
        lanes: Lanes::default(),
        done,
        after: 0,
        compared: None,
        dirty: true,
    };
    tasks.service("deployments", work.run(orders, ended));
}

impl Loop {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut ended: mpsc::Receiver<Done>) {
        let stop = self.stop.clone();
        if stop.run_until_cancelled(self.remember()).await.is_none() {
            return;
        }
        loop {
            self.compare_if_due().await;
            self.begin_due();
            let wake = self.wakes_in();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.means.configs.changed() => match changed {
                    Ok(()) => self.dirty = true,
                    Err(_) => return,
                },
                changed = self.means.head.changed() => match changed {
                    Ok(()) => self.read_journal().await,
                    Err(_) => return,
                },
                Some(done) = ended.recv() => {
                    self.take(done).await;
                    while let Ok(done) = ended.try_recv() {
                        self.take(done).await;
                    }
                }
                Some(order) = orders.recv() => self.obey(order).await,
                () = tokio::time::sleep(wake) => {}
            }
        }
    }

    async fn remember(&mut self) {
        loop {
            match self.means.world.deployments().await {
                Ok(kept) => {
                    let all = kept.into_iter();
                    lock(&self.shown).all =
                        all.map(|one| ((one.target.clone(), one.certificate), one)).collect();
                    self.after = *self.means.head.borrow();
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the deployments cannot be read, trying again later");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    async fn read_journal(&mut self) {
        match self.means.world.changed(self.after).await {
            Ok((changed, to)) => {
                self.dirty |= changed;
                self.after = to;
            }
            // It may have told of anything.
            Err(_) => self.dirty = true,
        }
    }

    pub(super) fn watch(&self) -> Watch {
        Watch(self.means.configs.borrow().deployment.watch)
    }

    async fn compare_if_due(&mut self) {
        let since = self.compared.map(|at| at.elapsed());
        let due = since
            .is_none_or(|since| since >= COMPARE_MOST || (self.dirty && since >= COMPARE_LEAST));
        if !due {
            return;
        }
        (self.dirty, self.compared) = (false, Some(Instant::now()));
        if let Err(error) = self.compare().await {
            // Nothing is ended for what cannot be read.
            tracing::warn!(%error, "what is to be deployed cannot be found out, trying again");
        }
    }

    /// Finds what is wanted, and takes up what is new of it.
    async fn compare(&mut self) -> Result<(), String> {
        let config = Arc::clone(&self.means.configs.borrow());
        let (mut wanted, mut unmet) = (Vec::new(), Vec::new());
        let world = Arc::clone(&self.means.world);
        for target in &config.targets {
            for called in &target.certificates {
                match world.find(called).await?.filter(|record| stays(record)) {
                    Some(record) => wanted.push(Wanted {
                        target: target.name.clone(),
                        called: called.clone(),
                        made: Made::File,
                        known: Known::of(&record),
                    }),
                    None => unmet.push((target.name.clone(), called.clone())),
                }
            }
        }
        let all = lock(&self.shown).all.clone();
        for one in all.values().filter(|one| one.made == Made::Asked) {
            if config.target(&one.target).is_none() {
                continue;
            }
            let mut record = world.record(one.certificate).await?.filter(|record| stays(record));
            if record.is_none() {
                // A site that was changed has another certificate, and is called the same.
                let other = world.find(&one.called).await?;
                record = other.filter(|other| stays(other) && other.spec.role.is_driven());
            }
            if let Some(record) = record {
                wanted.push(Wanted {
                    target: one.target.clone(),
                    called: one.called.clone(),
                    made: Made::Asked,
                    known: Known::of(&record),
                });
            }
        }
        let now = self.means.clock.now();
        let changes = changes(&all, wanted, self.watch(), now);
        if changes.refused > 0 {
            tracing::error!(
                refused = changes.refused,
                most = MOST,
                "too many deployments are wanted"
            );
        }
        let names = |target: &TargetName| config.target(target).is_some();
        self.lanes.retain(names);
        let ended = changes.gone.iter().map(|one| {
            let why = if names(&one.target) { "the certificate" } else { "the target" };
            let told =
                format!("it is not brought to target {} any more: {why} is gone", one.target);
            telling::entry(one, (EntryKind::Undeployed, Level::Info), told, now)
        });
        let ended: Vec<_> = ended.collect();
        let gone: Vec<Key> =
            changes.gone.iter().map(|one| (one.target.clone(), one.certificate)).collect();
        if !(changes.kept.is_empty() && gone.is_empty()) {
            world.keep(changes.kept.clone(), gone.clone(), ended).await?;
        }
        let mut shown = lock(&self.shown);
        for key in gone {
            shown.all.remove(&key);
        }
        for one in changes.kept {
            shown.all.insert((one.target.clone(), one.certificate), one);
        }
        shown.unmet = unmet;
        Ok(())
    }

    /// Begins whatever is due and has a place.
    fn begin_due(&mut self) {
        let (now, moment) = (self.means.clock.now(), Instant::now());
        let config = Arc::clone(&self.means.configs.borrow());
        let watch = self.watch();
        let mut turns: Vec<_> = {
            let shown = lock(&self.shown);
            let due = shown
                .all
                .iter()
                .filter(|(key, one)| one.is_due(watch, now) && !self.lanes.is_busy(&key.0));
            due.filter_map(|(key, one)| {
                let target = config.target(&one.target)?;
                let step = one.step(target.probe.is_some());
                let pace = self.lanes.pace(&one.target, one.failures);
                (step != Step::Rest).then(|| (pace, one.next, key.clone(), step))
            })
            .collect()
        };
        turns.sort_by(|one, two| (one.0, one.1, &one.2).cmp(&(two.0, two.1, &two.2)));
        for (pace, _, key, step) in turns {
            if let Some(target) = config.target(&key.0)
                && self.lanes.enter(&key.0, pace, config.deployment.together, moment)
            {
                self.start(key, Arc::new(target.clone()), step, None);
            }
        }
    }

    /// Goes on an errand, with a place in a lane unless somebody waits for the answer.
    pub(super) fn start(&self, key: Key, target: Arc<Target>, step: Step, answer: Option<Answer>) {
        let one = lock(&self.shown).all.get(&key).cloned();
        let Some(one) = one else { return };
        let failed = "the task that brings it came to an end".to_owned();
        let held = Done {
            key,
            leaf: None,
            event: Event::Carried(Verdict::Failed(failed)),
            lane: answer.is_none(),
            answer,
        };
        let mut courier = Courier { done: self.done.clone(), held: Some(held) };
        let (world, now, stop) =
            (Arc::clone(&self.means.world), self.means.clock.now(), self.stop.clone());
        self.tasks.job("deployment", async move {
            let work = go(world.as_ref(), target, &one, step, now);
            // What was dropped is done again at the next start.
            if let Some((leaf, event)) = stop.run_until_cancelled(work).await
                && let Some(done) = &mut courier.held
            {
                (done.leaf, done.event) = (leaf, event);
            }
            drop(courier);
        });
    }

    /// What came of an errand.
    async fn take(&mut self, done: Done) {
        if done.lane {
            self.lanes.leave(&done.key.0, Instant::now());
        }
        let before = lock(&self.shown).all.get(&done.key).cloned();
        let Some(before) = before else { return };
        let (now, watch) = (self.means.clock.now(), self.watch());
        let draw = self.means.jitter.draw();
        let mut after = before.clone();
        if let Some(leaf) = done.leaf.filter(|leaf| after.wanted != Some(*leaf)) {
            // It was renewed in between.
            after = after.after(Event::Wanted(leaf), watch, now, draw);
            self.dirty = true;
        }
        after = after.after(done.event, watch, now, draw);
        after.reason = after.reason.map(|reason| reason.chars().take(REASON).collect());
        let entries = telling::of_change(&before, &after, now).into_iter().collect();
        self.put(after.clone(), entries).await;
        if let Some(answer) = done.answer {
            let _nobody_waits = answer.send(Ok(after));
        }
    }

    /// Keeps one; where that cannot be done, memory has it, and what it did is done again at the next
    /// start.
    async fn put(&self, one: Deployment, entries: Vec<Entry>) {
        lock(&self.shown).all.insert((one.target.clone(), one.certificate), one.clone());
        if let Err(error) = self.means.world.keep(vec![one], Vec::new(), entries).await {
            tracing::warn!(%error, "the state of a deployment cannot be kept, going on");
        }
    }

    /// How long nothing is to be done, if nothing happens.
    fn wakes_in(&self) -> Duration {
        let (now, watch) = (self.means.clock.now(), self.watch());
        let config = Arc::clone(&self.means.configs.borrow());
        let next = lock(&self.shown)
            .all
            .values()
            // Those that are due wait for a place, which somebody's end gives them.
            .filter(|one| !one.is_due(watch, now) && config.target(&one.target).is_some())
            .map(|one| one.next.since(now))
            .min();
        let room = self.lanes.next().map(|at| at.saturating_duration_since(Instant::now()));
        let compare = self.compared.filter(|_| self.dirty);
        let compare = compare.map(|at| COMPARE_LEAST.saturating_sub(at.elapsed()));
        let first = [next, room, compare].into_iter().flatten().min().unwrap_or(LOOK_AGAIN);
        first.clamp(Duration::from_millis(10), LOOK_AGAIN)
    }
}

/// One errand from its begin to its end, and which certificate it was about.
async fn go(
    world: &dyn World,
    target: Arc<Target>,
    one: &Deployment,
    step: Step,
    now: Timestamp,
) -> (Option<Leaf>, Event) {
    let failed = |reason: String| match step {
        Step::Look => Event::Looked(Err(reason)),
        Step::Carry | Step::Rest => Event::Carried(Verdict::Failed(reason)),
    };
    let record = match world.record(one.certificate).await {
        Ok(Some(record)) => record,
        Ok(None) => return (None, failed("the certificate was just taken away".to_owned())),
        Err(error) => return (None, failed(error)),
    };
    let Some(leaf) = Known::of(&record).leaf else {
        return (None, failed("there is no certificate yet".to_owned()));
    };
    if step == Step::Look {
        let seen = errand::look(world, &target, &record, leaf).await;
        let seen = seen.unwrap_or_else(|| Err("nobody can look there".to_owned()));
        return (Some(leaf), Event::Looked(seen));
    }
    if one.failures == 0 && one.placed != Some(leaf) {
        // That a key leaves is in the journal before it does.
        let told = format!("it is being brought to target {}, with its private key", target.name);
        let entry = telling::entry(one, (EntryKind::Deploying, Level::Info), told, now);
        if let Err(error) = world.keep(Vec::new(), Vec::new(), vec![entry]).await {
            return (Some(leaf), failed(format!("the journal takes no entry: {error}")));
        }
    }
    (Some(leaf), Event::Carried(errand::carry(world, target, record, leaf).await))
}

impl Drop for Courier {
    fn drop(&mut self) {
        if let Some(done) = self.held.take() {
            // There is room for each; nobody listens when the house is ending.
            let _ending = self.done.try_send(done);
        }
    }
}
