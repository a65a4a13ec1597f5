//! The CA with its limits and its faults, and an attempt's steps against it.

use std::time::Duration;

use keyward_years::base::Timestamp;
use keyward_years::base::bounds;
use keyward_years::cert::chain::Chain;
use keyward_years::cert::failure::Failure;
use keyward_years::cert::failure::FailureKind;
use keyward_years::cert::failure::Remedy;
use keyward_years::cert::ports::RenewalAdvice;
use keyward_years::cert::record::Certificate;
use keyward_years::cert::record::Installed;
use keyward_years::cert::spec::IssuerName;
use keyward_years::cert::spec::Role;
use keyward_years::cert::validity::RenewalWindow;
use keyward_years::cert::validity::Validity;
use keyward_years::scheduler::budget::Novelty;
use keyward_years::scheduler::caring;
use keyward_years::scheduler::transition;

use crate::Attempt;
use crate::DAY;
use crate::Stage;
use crate::Stepped;
use crate::World;
use crate::house::acme;
use crate::house::second;
use crate::is_transient;
use crate::take;

impl World {
    pub(crate) fn key(&mut self, record: &Certificate, attempt: &mut Attempt) -> Stepped {
        let now = self.now();
        let in_flight = record.phase.in_flight().map(|in_flight| in_flight.key);
        if in_flight.is_some_and(|key| self.worn.contains(&key)) {
            self.store(transition::key_dropped(record, now));
        }
        let record = &*self.get(record.id());
        if record.phase.in_flight().is_none() {
            let key = self.kept_key(record).unwrap_or_else(|| self.new_key());
            self.store(transition::key_stored(record, key, now));
        }
        if let IssuerName::Acme(_) = record.spec.issuer {
            let theirs = record.issued_by() == record.issuer();
            let installed = record.installed.as_ref().filter(|_| theirs);
            attempt.replaces = installed.and_then(|i| i.ari_id.clone());
        }
        Ok(Some(Stage::Order))
    }

    pub(crate) fn order(&mut self, record: &Certificate, attempt: &mut Attempt) -> Stepped {
        let in_flight = record.phase.in_flight().unwrap();
        if record.spec.issuer == IssuerName::Internal {
            return Ok(Some(Stage::Answer));
        }
        self.reachable(record.issuer())?;
        if let Some(url) = &in_flight.order {
            let known = self.ca(record.issuer()).orders.get(url).copied();
            assert!(known.is_some(), "{} is asked for an order of another", record.issuer());
            match known {
                Some(key) if self.rng.u8(..10) > 0 => {
                    assert_eq!(key, in_flight.key, "an order is resumed with another key");
                    return Ok(Some(Stage::Answer));
                }
                _ => self.store(transition::order_lost(record, self.now())),
            }
        }
        let exempt = attempt.replaces.is_some();
        let novelty = match (exempt, &record.installed) {
            (true, _) => Novelty::Replacement,
            (false, Some(_)) if record.issued_by() == record.issuer() => Novelty::Same,
            _ => Novelty::New,
        };
        attempt.permit = Some(self.budget.permit(&record.order(None), novelty, self.now())?);
        let replaced = &mut self.ca(record.issuer()).replaced;
        if attempt.replaces.as_ref().is_some_and(|old| replaced.contains(old)) {
            return Err(Failure::new(FailureKind::AlreadyReplaced, "replaced already"));
        }
        drop(attempt.permit.take());
        self.open_order(record, novelty);
        if let Some(old) = &attempt.replaces {
            self.ca(record.issuer()).replaced.insert(old.clone());
        }
        Ok(Some(Stage::Answer))
    }

    pub(crate) fn open_order(&mut self, record: &Certificate, novelty: Novelty) {
        self.orders += 1;
        let url = format!("https://ca/order/{}", self.orders);
        if novelty != Novelty::Replacement
            && !self.weather.clock_steps
            && *record.issuer() == acme()
        {
            // The limits once more, counted by the CA in its own way.
            let now = self.true_time;
            if novelty == Novelty::New {
                let account = self.ca.account.get_or_insert((300.0, now));
                assert!(take(account, 300.0, 3 * 3600, now), "invariant 9: orders of the account");
            }
            let set = self.ca.sets.entry(record.spec.names().to_vec()).or_insert((5.0, now));
            assert!(take(set, 5.0, 7 * DAY, now), "invariant 9: orders for the same names");
        }
        let record = self.get(record.id());
        let key = record.phase.in_flight().unwrap().key;
        self.ca(record.issuer()).orders.insert(url.clone(), key);
        self.store(transition::order_opened(&record, &url, novelty, self.now()));
    }

    pub(crate) fn answer(&mut self, record: &Certificate) -> Stepped {
        let in_flight = record.phase.in_flight().unwrap().clone();
        if record.spec.issuer != IssuerName::Internal {
            self.reachable(record.issuer())?;
            self.fault()?;
        }
        self.serial += 1;
        let days = match (record.issuer(), record.spec.profile.as_deref()) {
            (IssuerName::Internal, _) => 7,
            (_, Some("shortlived")) => 6,
            _ => 90,
        };
        let (now, truly) = (self.now(), Timestamp::from_unix(self.true_time));
        // The CA of this machine believes its clock; a public one has its own.
        let from = if record.spec.issuer == IssuerName::Internal { now } else { truly };
        let not_before = from.minus(Duration::from_secs(3600));
        let not_after = from.plus(Duration::from_secs(days * DAY));
        let chain: Chain = serde_json::from_str("[[48]]").unwrap();
        let installed = Installed {
            chain,
            key: in_flight.key,
            validity: Validity { not_before, not_after },
            serial: format!("{:x}", self.serial),
            ari_id: Some(format!("ari-{}", self.serial)),
            at: now,
        };
        let advice = match record.issuer() {
            IssuerName::Internal | IssuerName::Imported => None,
            IssuerName::Acme(_) => Some(self.advice(&installed.validity)),
        };
        let draw = self.rng.u32(..);
        let record = &*self.another_brand(record);
        let Some(change) = transition::install(record, installed, advice, draw, now) else {
            // Whoever wanted it revoked came after the attempt had begun with its key.
            assert!(record.care.revoking.is_some(), "it was being ordered");
            self.care.forbidden += 1;
            return Err(Failure::new(FailureKind::OrderLost, "its key is out of use"));
        };
        self.store(change);
        self.installs += 1;
        self.count(record);
        let alone = !self.is_one_of_two(record);
        if record.spec.role != Role::Bridge && !is_transient(&record.spec) && alone {
            self.covered.insert(record.id());
        }
        Ok(None)
    }

    /// Mostly the window everybody gives; sometimes an early one; sometimes one that is past.
    pub(crate) fn advice(&mut self, validity: &Validity) -> RenewalAdvice {
        let life = validity.life();
        let share = match self.rng.u8(..100) {
            0 => 0,
            1..=5 => 30,
            // As Let's Encrypt does: half of a life of six days, two thirds of a longer one.
            _ if life < Duration::from_secs(10 * DAY) => 50,
            _ => 66,
        };
        let start = validity.not_before.plus(life * share / 100);
        let window = RenewalWindow::new(start, start.plus(life / 50));
        let hours = self.rng.u64(48..168);
        RenewalAdvice { window, recheck_at: self.now().plus(Duration::from_secs(hours * 3600)) }
    }

    pub(crate) fn check(&mut self, record: &Certificate) {
        let Some(installed) = record.installed.clone() else { return };
        let now = self.now();
        if self.reachable(record.issued_by()).is_ok()
            && self.revoked.contains_key(&installed.serial)
            && let Some(change) = caring::seen_revoked(record, &installed.serial, now)
        {
            self.care.seen += 1;
            return self.store(change);
        }
        let (advice, recheck_at) = match (record.issued_by(), self.reachable(record.issued_by())) {
            (IssuerName::Internal, _) => (None, None),
            (_, Err(_)) => (None, Some(now.plus(bounds::CHECK_RETRY))),
            (_, Ok(())) => {
                let advice = self.advice(&installed.validity);
                let quiet = RenewalAdvice { window: None, ..advice };
                let advice = if self.rng.u8(..20) == 0 { advice } else { quiet };
                (Some(advice), Some(advice.recheck_at))
            }
        };
        let draw = self.rng.u32(..);
        if let Some(change) = transition::window_checked(record, advice, recheck_at, draw, now) {
            self.store(change);
        }
    }

    pub(crate) fn reachable(&self, issuer: &IssuerName) -> Result<(), Failure> {
        let ca = if *issuer == second() { &self.second } else { &self.ca };
        if ca.down.contains(&(self.true_time / DAY)) {
            return Err(Failure::new(FailureKind::Unreachable, "no route to the CA"));
        }
        Ok(())
    }

    pub(crate) fn fault(&mut self) -> Result<(), Failure> {
        use FailureKind as Kind;
        let kind = match self.rng.u8(..100) {
            0..=2 => Kind::CaFault,
            3..=4 => Kind::ChallengeFailed,
            5..=6 => Kind::Dns,
            7..=8 => Kind::Connection,
            9..=10 => Kind::BadCertificate,
            11..=12 => Kind::OrderLost,
            13..=14 => Kind::Vault,
            15 => Kind::Rejected,
            16..=17 => {
                let after = self.now().plus(Duration::from_secs(3600));
                let failure = Failure::new(Kind::RateLimited, "slow down");
                return Err(failure.with_remedy(Remedy::RetryAfter(after)));
            }
            _ => return Ok(()),
        };
        Err(Failure::new(kind, "as the seed will have it"))
    }
}
