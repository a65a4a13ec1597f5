//! How the days pass: time, the operator, sites that come and go, and what must hold throughout.

use std::sync::Arc;
use std::time::Duration;

use keyward_years::base::Timestamp;
use keyward_years::cert::lifecycle::Phase;
use keyward_years::cert::spec::CertificateId;
use keyward_years::scheduler::plan;
use keyward_years::scheduler::transition;

use crate::DAY;
use crate::START;
use crate::Stage;
use crate::World;
use crate::YEARS;
use crate::house::acme;
use crate::house::site;

const PATIENCE_OF_THE_OPERATOR: Duration = Duration::from_secs(6 * 3600);

impl World {
    pub(crate) fn run(&mut self) {
        let end = START + YEARS * 365 * DAY;
        let mut next_crash = START + self.rng.u64(0..10 * DAY);
        let mut next_toggle = START + 40 * DAY;
        let mut next_step = START + 20 * DAY;
        while self.true_time < end {
            // An attempt that is in its midst is none of the plan's business.
            if self.stirred || self.wake.is_none_or(|at| at <= self.now()) {
                self.stirred = false;
                self.turn();
            }
            self.look();
            if !self.weather.clock_steps {
                self.look_at_standbys();
            }
            let every: Vec<_> = self.every().map(Arc::clone).collect();
            self.wake = plan::next_wake(&every, self.now());
            let wake = self.wake.map_or(DAY, |at| at.since(self.now()).as_secs().max(1));
            let job = self.attempts.values().map(|attempt| attempt.at).min();
            let before = self.true_time;
            let next = (self.true_time + wake.min(DAY))
                .min(job.unwrap_or(u64::MAX))
                .min(next_crash)
                .min(next_toggle)
                .min(self.care.next)
                .min(self.next_look());
            self.true_time = next.max(self.true_time);
            // And what a day brings that nobody foresaw.
            self.stirred |= before / DAY != self.true_time / DAY;
            let due = self.attempts.iter().find(|(_, attempt)| attempt.at <= self.true_time);
            if let Some(id) = due.map(|(id, _)| *id) {
                self.advance(id);
            }
            if self.true_time >= next_crash {
                self.crash();
                // Crashes come in the middle of attempts more often than elsewhere.
                next_crash = self.true_time + self.rng.u64(1..20 * DAY);
            } else if !self.attempts.is_empty() && self.rng.u8(..60) == 0 {
                self.crash();
            }
            if self.true_time >= next_toggle {
                self.toggle();
                next_toggle = self.true_time + self.rng.u64(DAY..60 * DAY);
            }
            if self.weather.clock_steps && self.true_time >= next_step {
                self.skew = match self.rng.u8(..4) {
                    0 => -i64::try_from(self.rng.u64(0..400 * DAY)).unwrap(),
                    1 => i64::try_from(self.rng.u64(0..30 * DAY)).unwrap(),
                    _ => 0,
                };
                self.stirred = true;
                next_step = self.true_time + self.rng.u64(DAY..40 * DAY);
            }
            if self.true_time >= self.care.next {
                self.owner();
            }
            self.operator();
        }
    }

    /// The third site leaves the configuration, or comes back.
    pub(crate) fn toggle(&mut self) {
        self.stirred = true;
        let name = "comes-and-goes.example";
        let there = self.config.sites.iter().any(|site| site.name().to_string() == name);
        if there {
            self.config.sites.remove(2);
        } else {
            self.config.sites.insert(2, site(name, acme(), None));
        }
    }

    /// When that is, in true time.
    fn next_look(&self) -> u64 {
        let halted = self.every().filter_map(|record| match record.phase {
            Phase::Halted { since, .. } => Some(since.plus(PATIENCE_OF_THE_OPERATOR)),
            _ => None,
        });
        let first = halted.map(|at| at.since(self.now()).as_secs()).min();
        first.map_or(u64::MAX, |left| self.true_time + left)
    }

    /// Somebody looks after what is halted, six hours later.
    pub(crate) fn operator(&mut self) {
        let now = self.now();
        for record in self.every().map(Arc::clone).collect::<Vec<_>>() {
            if let Phase::Halted { since, .. } = record.phase
                && now.since(since) >= PATIENCE_OF_THE_OPERATOR
            {
                self.store(transition::request(&record, now));
                self.stirred = true;
            }
        }
    }

    /// What must hold at every moment.
    pub(crate) fn look(&self) {
        let truly = Timestamp::from_unix(self.true_time);
        self.look_at_revocations();
        for record in self.every() {
            let busy = self.attempts.get(&record.id());
            let leased = matches!(record.phase, Phase::Ordering { .. });
            let ordering = [Stage::Key, Stage::Order, Stage::Answer];
            let working = busy.is_some_and(|attempt| ordering.contains(&attempt.stage));
            assert!(!working || leased, "invariant 2: work without a lease");
            assert!(
                record.phase.wake_at(self.now()).is_some() || record.phase.word() == "halted",
                "invariant 5"
            );
        }
        if self.weather.clock_steps {
            return;
        }
        for id in &self.covered {
            let record = self.get(*id);
            let installed = record.installed.as_ref().unwrap();
            assert!(
                installed.validity.contains(truly),
                "{} ran out at {} and it is {truly}; it is {:?}\n{}",
                record.spec.names().first().unwrap(),
                installed.validity.not_after,
                record.phase,
                self.last_words(*id),
            );
        }
    }

    /// The last entries about one certificate, for the message of a failed assertion.
    pub(crate) fn last_words(&self, id: CertificateId) -> String {
        let about = self.journal.iter().rev().filter(|entry| entry.certificate == Some(id));
        let lines: Vec<_> = about.take(40).map(|e| format!("{} {}\n", e.at, e.message)).collect();
        lines.into_iter().rev().collect()
    }
}
