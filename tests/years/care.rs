//! What owners do and what befalls them: certificates of somebody else that are brought and run out,
//! hosting that ends, keys that are known to others, and a CA that revokes by itself.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keyward_years::base::Timestamp;
use keyward_years::cert::care::Accept;
use keyward_years::cert::care::Hosting;
use keyward_years::cert::care::Reason;
use keyward_years::cert::chain::Chain;
use keyward_years::cert::failure::Failure;
use keyward_years::cert::failure::FailureKind;
use keyward_years::cert::identifier::Identifier;
use keyward_years::cert::key::KeyAlgorithm;
use keyward_years::cert::key::KeyHandle;
use keyward_years::cert::key::KeyId;
use keyward_years::cert::key::KeyUsage;
use keyward_years::cert::key::SealedKey;
use keyward_years::cert::lifecycle::Phase;
use keyward_years::cert::ports::Revocation;
use keyward_years::cert::record::Certificate;
use keyward_years::cert::record::Installed;
use keyward_years::cert::served::Served;
use keyward_years::cert::spec::CertificateId;
use keyward_years::cert::spec::IssuerName;
use keyward_years::cert::spec::Role;
use keyward_years::cert::spec::Specification;
use keyward_years::cert::validity::Validity;
use keyward_years::scheduler::caring;
use keyward_years::scheduler::plan;
use keyward_years::scheduler::plan::Step;
use keyward_years::scheduler::take_over;
use keyward_years::scheduler::transition;

use crate::Attempt;
use crate::DAY;
use crate::START;
use crate::Stage;
use crate::World;
use crate::house::BROUGHT;
use crate::house::acme;
use crate::house::second;
use crate::is_transient;

/// Days on which the CA answers: what is to be revoked is revoked by then, and what is revoked replaced.
const PATIENCE: usize = 15;

/// What was done and what came of it.
pub(crate) struct Cared {
    /// When the owner does the next thing.
    pub(crate) next: u64,
    /// When each serial number was to be revoked.
    pub(crate) wanted: BTreeMap<String, u64>,
    /// Keys that others have, and the serial number that was under each.
    pub(crate) compromised: BTreeMap<KeyId, String>,
    /// Serial numbers of which the CA was told.
    pub(crate) told: u64,
    /// Revocations by the CA itself that were seen.
    pub(crate) seen: u64,
    /// Attempts that came with a key that somebody had put out of use meanwhile.
    pub(crate) forbidden: u64,
    /// Hostings that ended.
    pub(crate) ended: u64,
    /// Certificates that the owner brought.
    pub(crate) brought: u64,
    /// Certificates of the first CA and of the second.
    pub(crate) installs: [u64; 2],
    /// Certificates for which the first CA failed since they were installed last.
    pub(crate) refused: BTreeSet<CertificateId>,
}

impl Default for Cared {
    fn default() -> Self {
        let next = START + 5 * DAY;
        let (wanted, compromised) = (BTreeMap::new(), BTreeMap::new());
        let (told, seen, forbidden, ended, brought) = (0, 0, 0, 0, 0);
        let (installs, refused) = ([0; 2], BTreeSet::new());
        Self { next, wanted, compromised, told, seen, forbidden, ended, brought, installs, refused }
    }
}

impl Cared {
    /// It did happen.
    pub(crate) fn assert_lively(&self) {
        let all = [self.told, self.seen, self.ended, self.brought];
        assert!(all.iter().all(|count| *count > 2), "told, seen, ended, brought: {all:?}");
    }
}

impl World {
    /// One of the records that are ordered here, as it is leased.
    pub(crate) fn own(&self, id: CertificateId) -> Arc<Certificate> {
        let record = self.get(id);
        if record.spec.role != Role::Imported {
            return record;
        }
        assert!(record.is_renewed_here(), "what was brought is ordered and nobody said so");
        let mut record = Certificate::clone(&record);
        record.care.source = Some(acme());
        Arc::new(record)
    }

    /// What clients are shown of what was brought for a name.
    pub(crate) fn shown(&self, name: &Identifier) -> Vec<Arc<Served>> {
        let named = self.brought.values().filter(|record| record.spec.names().contains(name));
        let served = named.filter_map(|record| {
            let installed = record.installed.clone()?;
            let key = KeyHandle {
                id: installed.key,
                algorithm: KeyAlgorithm::P256,
                usage: KeyUsage::Tls,
                spki: Arc::from([]),
                sealed: SealedKey(Arc::from([])),
            };
            Some(Arc::new(Served { id: record.id(), spec: record.spec.clone(), installed, key }))
        });
        served.collect()
    }

    /// Sees to what was brought and whose moment has come. Whether something was done.
    pub(crate) fn ring(&mut self, holding: bool, now: Timestamp) -> bool {
        let mut acted = false;
        for id in self.brought.keys().copied().collect::<Vec<_>>() {
            if self.attempts.contains_key(&id) {
                continue;
            }
            let record = self.get(id);
            match plan::woken(&record, now) {
                Some(Step::Remind(_) | Step::Order(_)) => {
                    match take_over::succeeded(&record, &self.config, now) {
                        Some(change) => self.store(change),
                        None if holding => continue,
                        None => {
                            let announced = record.care.take_over.map(|one| one.announced);
                            let hosted = record.care.hosting.accept().is_some();
                            assert!(hosted || announced.is_some(), "taken over unannounced");
                            self.carry_out(Step::Order(id), now, holding);
                        }
                    }
                }
                Some(Step::Check(_)) if holding => continue,
                Some(step) => self.carry_out(step, now, holding),
                None => continue,
            }
            acted = true;
        }
        acted
    }

    /// Counts who issued: the second CA only after the first had failed.
    pub(crate) fn count(&mut self, record: &Certificate) {
        match record.issuer() {
            issuer if *issuer == second() => {
                let asked =
                    issuer == record.first_issuer() || self.care.refused.contains(&record.id());
                assert!(asked, "{} was not asked of the first CA", record.id());
                self.care.installs[1] += 1;
            }
            IssuerName::Acme(_) => self.care.installs[0] += 1,
            IssuerName::Internal | IssuerName::Imported => {}
        }
        self.care.refused.remove(&record.id());
    }

    /// The key of what is installed, where the site keeps it.
    pub(crate) fn kept_key(&self, record: &Certificate) -> Option<KeyId> {
        let named = |site: &&keyward_years::config::Site| record.spec.names().contains(site.name());
        let keeps = self.config.sites.iter().find(named).is_some_and(|site| site.reuse_key);
        let present = record.installed.as_ref().map(|installed| installed.key);
        let ours = keeps && record.spec.role == Role::Primary;
        present.filter(|key| ours && !self.worn.contains(key))
    }

    pub(crate) fn new_key(&mut self) -> KeyId {
        let mut key = [0; 32];
        self.rng.fill(&mut key);
        self.keys.insert(KeyId(key));
        KeyId(key)
    }

    /// Now and then somebody else signs for the CA: whoever is hosted is not any more.
    pub(crate) fn another_brand(&mut self, record: &Certificate) -> Arc<Certificate> {
        let hosted = record.care.hosting.accept().is_some() && record.installed.is_some();
        if hosted && record.spec.role == Role::Primary && self.rng.u8(..20) == 0 {
            let told = "its issuer would be another";
            self.store(caring::ended(record, told, self.now()));
            self.care.ended += 1;
        }
        self.get(record.id())
    }

    /// The owner brings a certificate, has something hosted, or has something revoked; and the CA
    /// revokes something by itself.
    pub(crate) fn owner(&mut self) {
        self.stirred = true;
        self.care.next = self.true_time + self.rng.u64(DAY / 2..25 * DAY);
        let now = self.now();
        let last = self.brought.values().filter_map(|record| record.installed.as_ref());
        let last = last.map(|installed| installed.at.as_unix()).max();
        let bringing = self.config.sites.iter().any(|site| site.issuer == IssuerName::Imported);
        if bringing && (last.is_none() || self.rng.u8(..25) == 0) {
            return self.bring(now);
        }
        let good = |record: &&Arc<Certificate>| {
            let installed = record.installed.as_ref();
            installed.is_some_and(|one| one.validity.contains(now))
                && record.spec.role == Role::Primary
                && !matches!(record.phase, Phase::Retiring { .. })
        };
        let mut good: Vec<_> = self.records.values().filter(good).map(Arc::clone).collect();
        if good.is_empty() {
            return;
        }
        let record = good.swap_remove(self.rng.usize(..good.len()));
        match self.rng.u8(..3) {
            0 => {
                let accept = Accept::default();
                self.store(caring::hosted(&record, accept, &acme(), "its owner", now));
            }
            1 if record.care.revoking.is_none() => self.compromised(&record, now),
            2 if record.spec.issuer != IssuerName::Internal && !self.is_cared(&record) => {
                let serial = record.installed.as_ref().unwrap().serial.clone();
                self.revoked.insert(serial, self.true_time);
            }
            _ => {}
        }
    }

    /// Whether something is being done about what is installed already.
    fn is_cared(&self, record: &Certificate) -> bool {
        record.care.revoking.is_some()
    }

    fn bring(&mut self, now: Timestamp) {
        let names = vec![Identifier::parse(BROUGHT).unwrap()];
        let issuer = IssuerName::Imported;
        let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Imported);
        let former = self.brought.get(&spec.id()).map(Arc::clone);
        let record = former.unwrap_or_else(|| Arc::new(Certificate::wanted(spec.clone())));
        self.attempts.remove(&spec.id());
        let key = self.new_key();
        self.serial += 1;
        let truly = Timestamp::from_unix(self.true_time);
        let life = Duration::from_secs(self.rng.u64(20..400) * DAY);
        let chain: Chain = serde_json::from_str("[[48]]").unwrap();
        let installed = Installed {
            chain,
            key,
            validity: Validity { not_before: truly, not_after: truly.plus(life) },
            serial: format!("{:x}", self.serial),
            ari_id: None,
            at: now,
        };
        let draw = self.rng.u32(..);
        self.store(transition::brought(&record, &spec, installed, "its owner", draw, now));
        self.care.brought += 1;
        self.covered.insert(spec.id());
    }

    /// Somebody else has the key.
    fn compromised(&mut self, record: &Certificate, now: Timestamp) {
        let installed = record.installed.as_ref().unwrap();
        self.worn.insert(installed.key);
        self.worn.extend(record.phase.in_flight().map(|in_flight| in_flight.key));
        let (serial, key) = (installed.serial.clone(), installed.key);
        let wanted = caring::wanted_revoked(record, Reason::KeyCompromise, "its owner", now);
        self.store(wanted.unwrap());
        self.care.wanted.insert(serial.clone(), self.true_time);
        self.care.compromised.insert(key, serial);
    }

    /// The CA is told.
    pub(crate) fn tell(&mut self, record: &Certificate, mut attempt: Attempt) {
        let Some(revoking) = record.care.revoking.clone() else { return };
        let served = record.shown().is_some_and(|one| one.serial == revoking.serial);
        let wanted = !matches!(record.phase, Phase::Retiring { .. });
        assert!(!(served && wanted), "it is revoked while it is served");
        let (now, draw) = (self.now(), self.rng.u32(..));
        let failure = match self.reachable(record.revoked_by()) {
            Err(failure) => Some(failure),
            Ok(()) if self.rng.u8(..4) == 0 => Some(Failure::new(FailureKind::CaFault, "503")),
            Ok(()) => None,
        };
        if let Some(failure) = failure {
            let change = caring::not_revoked(record, &revoking.serial, &failure, draw, now);
            return self.store(change.unwrap());
        }
        self.revoked.entry(revoking.serial.clone()).or_insert(self.true_time);
        attempt.telling = Some(revoking.serial);
        attempt.stage = Stage::Told;
        attempt.at = self.true_time + self.rng.u64(0..60);
        self.attempts.insert(record.id(), attempt);
    }

    /// What the CA answered is stored.
    pub(crate) fn told(&mut self, record: &Certificate, attempt: &Attempt) {
        let serial = attempt.telling.as_ref().unwrap();
        let change = caring::revoked(record, serial, Revocation::Told, self.now());
        if let Some(change) = change {
            self.store(change);
            self.care.told += 1;
        }
    }

    /// On how many days since then a CA answered.
    fn days_of(&self, issuer: &IssuerName, since: u64) -> usize {
        let ca = if *issuer == second() { &self.second } else { &self.ca };
        (since / DAY..self.true_time / DAY).filter(|day| !ca.down.contains(day)).count()
    }

    /// What must hold of revocations at every moment.
    pub(crate) fn look_at_revocations(&self) {
        for record in self.records.values() {
            let Some(installed) = &record.installed else { continue };
            let retiring = matches!(record.phase, Phase::Retiring { .. });
            if let Some(serial) = self.care.compromised.get(&installed.key) {
                assert_eq!(&installed.serial, serial, "another one under a key that others have");
            }
            if self.weather.clock_steps || retiring || is_transient(&record.spec) {
                continue;
            }
            if let Some(at) = self.revoked.get(&installed.serial) {
                let days = self.days_of(record.issued_by(), *at);
                assert!(days < PATIENCE, "{} is served and revoked for {days} days", record.id());
            }
            if let Some(revoking) = &record.care.revoking {
                let at = self.care.wanted.get(&revoking.serial).unwrap();
                let days = self.days_of(record.revoked_by(), *at);
                assert!(days < PATIENCE, "{} is to be revoked for {days} days", record.id());
            }
        }
        for record in self.brought.values() {
            if let Hosting::Hosted { .. } = record.care.hosting {
                assert!(record.is_renewed_here());
            }
        }
    }
}
