//! Records that prove names for good: shown to who asks, and looked at every day, so that somebody is told
//! before a renewal needs one that is gone, or whose time ends.
//!
//! Nothing is ordered or changed here. That a record is missing does not touch what is served.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorities::Authorities;
use super::house::Residence;
use super::house::unavailable;
use super::transfer::refused;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Selector;
use crate::admin::wire::persist::Persist;
use crate::admin::wire::persist::PersistView;
use crate::base::Timestamp;
use crate::base::bounds::dns::PERSIST_ENDS;
use crate::base::bounds::dns::PERSIST_FIRST;
use crate::base::bounds::dns::PERSIST_LOOK;
use crate::base::bounds::dns::PERSIST_NAMES;
use crate::base::tasks::SharedClock;
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;
use crate::cert::journal::Entry;
use crate::cert::journal::EntryKind;
use crate::cert::journal::Level;
use crate::cert::spec::IssuerName;
use crate::config::Config;
use crate::issuer::PersistRecord;
use crate::issuer::dns::Standing;
use crate::store::Store;

impl Residence {
    /// The records for what `selector` means.
    pub(super) async fn persistence(
        &self,
        selector: &Selector,
        caller: Caller,
    ) -> Result<Persist, HouseError> {
        let (names, asked) = match (self.meant(selector, &caller).await, selector) {
            (Ok(one), _) => (one.spec.names().to_vec(), Some(one.issuer().clone())),
            (Err(HouseError::NotFound { .. }), Selector::Name(name, _)) => {
                (vec![name.clone()], None)
            }
            (Err(error), _) => return Err(error),
        };
        let asked = asked.filter(|issuer| matches!(issuer, IssuerName::Acme(_)));
        let asked = asked.unwrap_or_else(|| self.config.borrow().acme.issuer());
        let issuer = self.orders()?.authorities.acme(&asked);
        let issuer = issuer.ok_or_else(|| refused(format!("{asked} is not configured")))?;
        let records = issuer.persist_records(&names).await;
        let records = records.map_err(|failure| refused(failure.to_string()))?;
        Ok(Persist { records: records.into_iter().map(view).collect() })
    }
}

fn view(record: PersistRecord) -> PersistView {
    let (good, lacking, until) = match record.standing {
        Ok(Standing::Good(until)) => (Some(true), None, until),
        Ok(other) => (Some(false), other.lacking(), None),
        Err(reason) => (None, Some(reason), None),
    };
    PersistView {
        name: record.name.to_string(),
        place: record.place,
        value: record.value,
        good,
        lacking,
        until: until.map(Into::into),
    }
}

/// What looks at them again and again.
pub(super) struct Watch {
    pub(super) authorities: Arc<Authorities>,
    pub(super) configs: watch::Receiver<Arc<Config>>,
    pub(super) store: Store,
    pub(super) clock: SharedClock,
}

/// What was told last of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Told {
    Fine,
    Ending,
    Lacking,
}

impl Watch {
    /// Looks once a day, until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut told = HashMap::new();
        let mut pause = PERSIST_FIRST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = PERSIST_LOOK;
            let config = Arc::clone(&self.configs.borrow());
            let all = names(&config);
            told.retain(|name, _| all.values().any(|names| names.contains(name)));
            if all.is_empty() {
                // One that a reload brings is not waited for a day.
                pause = PERSIST_FIRST;
            }
            for (issuer, names) in &all {
                let Some(issuer) = self.authorities.acme(issuer) else { continue };
                match issuer.persist_records(names).await {
                    Ok(records) => self.tell(&mut told, &records).await,
                    Err(failure) => {
                        tracing::debug!(reason = %failure, "proofs that stay cannot be looked at");
                        pause = PERSIST_FIRST;
                    }
                }
            }
        }
    }

    async fn tell(&self, told: &mut HashMap<Identifier, Told>, records: &[PersistRecord]) {
        let now = self.clock.now();
        let mut entries = Vec::new();
        for record in records {
            let Ok(standing) = record.standing else { continue };
            let (is, message) = judge(record, standing, now);
            let before = told.insert(record.name.clone(), is).unwrap_or(Told::Fine);
            if before == is {
                continue;
            }
            let kind = match is {
                Told::Fine => EntryKind::ProofThere,
                Told::Ending => EntryKind::ProofEnding,
                Told::Lacking => EntryKind::ProofLacks,
            };
            let level = if is == Told::Fine { Level::Info } else { Level::Warning };
            let entry = Entry::about_house(now, kind, level, message);
            entries.push(Entry { name: Some(record.name.to_string()), ..entry });
        }
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.store.append(entries).await {
            tracing::warn!(reason = %unavailable(&error), "the journal takes no entry, going on");
        }
    }
}

fn judge(record: &PersistRecord, standing: Standing, now: Timestamp) -> (Told, String) {
    let place = &record.place;
    match (standing.lacking(), standing) {
        (Some(lacking), _) => {
            let value = &record.value;
            (Told::Lacking, format!("{lacking}; the next renewal needs {place} TXT \"{value}\""))
        }
        (None, Standing::Good(Some(until))) if until <= now.plus(PERSIST_ENDS) => (
            Told::Ending,
            format!("the record at {place} ends at {until}: set a later persistUntil"),
        ),
        (None, _) => (Told::Fine, format!("the record at {place} is as it has to be")),
    }
}

/// The names that are proven so and in no other way, by the CA that each site prefers.
fn names(config: &Config) -> BTreeMap<IssuerName, Vec<Identifier>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut left = PERSIST_NAMES;
    for site in &config.sites {
        let Some(ca) = config.authority(&site.issuer) else { continue };
        let general = site.challenge.is_none() && ca.challenges == [ChallengeType::DnsPersist01];
        if !general && site.challenge != Some(ChallengeType::DnsPersist01) {
            continue;
        }
        let names = site.names.iter().take(left).cloned();
        let of_ca = all.entry(site.issuer.clone()).or_default();
        of_ca.extend(names);
        left = left.saturating_sub(site.names.len());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_end_is_told_before_it_comes_and_what_is_missing_with_what_to_set() {
        let now = Timestamp::from_unix(1_000_000_000);
        let record = PersistRecord {
            name: Identifier::parse("a.example").unwrap(),
            place: "_validation-persist.a.example".to_owned(),
            value: "ca.example; accounturi=https://ca.example/1".to_owned(),
            standing: Ok(Standing::Nothing),
        };
        let told = |standing| judge(&record, standing, now);
        let (is, said) = told(Standing::Nothing);
        assert!(is == Told::Lacking && said.contains("TXT \"ca.example; accounturi="), "{said}");
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(told(Standing::Good(Some(now.plus(day)))).0, Told::Ending);
        assert_eq!(told(Standing::Good(Some(now.plus(PERSIST_ENDS + day)))).0, Told::Fine);
        assert_eq!(told(Standing::Good(None)).0, Told::Fine);
    }
}
