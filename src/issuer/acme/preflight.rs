//! The look at the DNS before an order is opened and after a proof failed: whether the order can
//! succeed at all, and whether the name leads here.
//!
//! It refuses on certainty alone, by the word of the servers that have the zone; on any doubt, and when
//! it would take long, the order goes on and the CA decides.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::AcmeIssuer;
use super::classify;
use super::directory::Directory;
use crate::base::Timestamp;
use crate::base::bounds::dns::ASTRAY_AFTER;
use crate::base::bounds::dns::ASTRAY_LOOK;
use crate::base::bounds::dns::ASTRAY_ORDER;
use crate::base::bounds::dns::PREFLIGHT;
use crate::base::bounds::dns::PREFLIGHT_NAMES;
use crate::base::bounds::dns::PREFLIGHT_REST;
use crate::cert::challenge::ChallengeType;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;
use crate::cert::ladder;
use crate::cert::ports::Job;
use crate::issuer::dns::Whereabouts;
use crate::issuer::dns::World;
use crate::issuer::dns::caa;
use crate::issuer::dns::caa::Applicant;
use crate::issuer::dns::caa::Verdict;
use crate::issuer::dns::is_here;

/// What CAA records say of the CA, for a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CaaView {
    /// The CA may sign; where the records are, if there are any.
    Allowed(Option<String>),
    /// It may not: where they are, and why.
    Forbidden(String, String),
    /// It cannot be told, and why.
    Unsure(String),
}

impl AcmeIssuer {
    /// Looks before an order is opened.
    ///
    /// # Errors
    /// A failure where the order is sure to fail.
    pub(super) async fn preflight(
        &self,
        job: &Job,
        directory: &Directory,
        account: &str,
    ) -> Result<(), Failure> {
        let Some(dns) = &self.options.dns else { return Ok(()) };
        let now = self.options.clock.now();
        let rests_until = Timestamp::from_unix(self.blind_until.load(Ordering::Relaxed));
        // A clock that went back does not make the rest longer than it is.
        if rests_until > now && rests_until.since(now) <= PREFLIGHT_REST {
            return Ok(());
        }
        let Ok(world) = dns.world() else { return Ok(()) };
        let looking = async {
            for name in job.spec.names().iter().take(PREFLIGHT_NAMES) {
                self.look_at(&world, name, job, directory, account).await?;
            }
            Ok(())
        };
        timeout(PREFLIGHT, looking).await.unwrap_or_else(|_elapsed| {
            let until = now.plus(PREFLIGHT_REST).as_unix();
            self.blind_until.store(until, Ordering::Relaxed);
            tracing::debug!("the look at the DNS takes too long, ordering without it");
            Ok(())
        })
    }

    async fn look_at(
        &self,
        world: &World,
        name: &Identifier,
        job: &Job,
        directory: &Directory,
        account: &str,
    ) -> Result<(), Failure> {
        let Some(host) = host(name) else { return Ok(()) };
        let now = self.options.clock.now();
        let again = ladder::wait(job.attempt.saturating_add(1), u32::MAX / 2).min(ASTRAY_LOOK);
        let refuse = |kind, detail: &str| {
            let remedy = Remedy::RetryAfter(now.plus(again));
            Err(Failure::new(kind, classify::clean(detail)).about(name.clone()).with_remedy(remedy))
        };
        if let CaaView::Forbidden(at, why) =
            self.caa(world, name, directory, Some(account), job.challenge).await
        {
            let detail = format!("the CAA records at {at} forbid {}: {why}", job.spec.issuer);
            return refuse(FailureKind::CaaForbids, &detail);
        }
        if self.challenges(job.challenge) == [ChallengeType::DnsPersist01] {
            let checked = self.check_standing(name, directory, account).await;
            return checked.or_else(|failure| refuse(failure.kind, &failure.detail));
        }
        // What is proven by a record of its own needs no address.
        if self.by_dns(name, job.challenge) {
            return Ok(());
        }
        let Ok(found) = world.whereabouts(&host).await else { return Ok(()) };
        if let Some(absent) = absence(&found) {
            return refuse(FailureKind::Astray, &absent);
        }
        let before = job.before.as_ref().filter(|before| before.subject.as_ref() == Some(name));
        match before.filter(|before| still_astray(before, job.attempt, self.elsewhere(&found))) {
            Some(before) => {
                Err(before.clone().with_remedy(Remedy::RetryAfter(now.plus(ASTRAY_LOOK))))
            }
            None => Ok(()),
        }
    }

    /// The failure of a proof, unless the name leads elsewhere, which is then the failure.
    pub(super) async fn astray(&self, job: &Job, failure: Failure) -> Failure {
        let of_the_proof = matches!(
            failure.kind,
            FailureKind::ChallengeFailed | FailureKind::Connection | FailureKind::Dns
        );
        let (Some(dns), Some(name)) = (&self.options.dns, &failure.subject) else { return failure };
        if !of_the_proof || job.attempt < ASTRAY_AFTER || self.by_dns(name, job.challenge) {
            return failure;
        }
        let (Some(host), Ok(world)) = (host(name), dns.world()) else { return failure };
        let found = timeout(PREFLIGHT, world.whereabouts(&host)).await;
        let Ok(Ok(found)) = found else { return failure };
        let Some(where_to) = absence(&found).or_else(|| self.elsewhere(&found)) else {
            return failure;
        };
        let detail = classify::clean(&format!("{where_to}; the CA said: {}", failure.detail));
        let until = self.options.clock.now().plus(ASTRAY_LOOK);
        Failure { kind: FailureKind::Astray, detail, ..failure }
            .with_remedy(Remedy::RetryAfter(until))
    }

    /// What the CAA records that count for `name` say of this CA.
    pub(super) async fn caa(
        &self,
        world: &World,
        name: &Identifier,
        directory: &Directory,
        account: Option<&str>,
        only: Option<ChallengeType>,
    ) -> CaaView {
        let Some(host) = host(name) else { return CaaView::Allowed(None) };
        let relevant = match world.caa(&host).await {
            Ok(relevant) => relevant,
            Err(reason) => return CaaView::Unsure(reason),
        };
        let Some(at) = relevant.at else { return CaaView::Allowed(None) };
        let challenges = self.challenges(only);
        let able = challenges.iter().filter(|challenge| challenge.can_prove(name));
        let methods: Vec<String> = able.map(ToString::to_string).collect();
        let applicant = Applicant { ca: &directory.caa_identities, account, methods: &methods };
        match caa::judge(&relevant.records, name.is_wildcard(), &applicant) {
            Verdict::Allowed => CaaView::Allowed(Some(at)),
            Verdict::Forbidden(why) => CaaView::Forbidden(at, why),
            Verdict::Unsure(why) => CaaView::Unsure(format!("{at}: {why}")),
        }
    }

    /// Whether `name` may be proven by a record in the DNS.
    fn by_dns(&self, name: &Identifier, only: Option<ChallengeType>) -> bool {
        let listed = &self.options.config.challenges;
        name.is_wildcard()
            || matches!(only, Some(ChallengeType::Dns01 | ChallengeType::DnsPersist01))
            || (only.is_none() && listed.contains(&ChallengeType::Dns01))
            || (only.is_none() && listed.contains(&ChallengeType::DnsPersist01))
            || self.options.dns.as_ref().is_some_and(|dns| dns.has_zone_of(name))
    }

    /// Where a name leads that leads to no address of this machine, in words.
    fn elsewhere(&self, found: &Whereabouts) -> Option<String> {
        let behind = self.options.dns.as_ref().is_some_and(|dns| dns.is_behind_others());
        let name = found.way.first()?;
        if behind {
            return None;
        }
        if found.addresses.is_empty() {
            return Some(format!("{name} has no address in the DNS"));
        }
        let mut addresses: Vec<String> = Vec::new();
        for address in &found.addresses {
            if is_here(*address) != Some(false) {
                return None;
            }
            addresses.push(address.to_string());
        }
        addresses.sort();
        let listed = addresses.join(" and ");
        Some(format!("{name} leads to {listed}, which is no address of this machine"))
    }
}

/// Whether the CA need not be asked again: the name leads where it led when it could not be proven, as
/// `where_to` says, and the CA was asked all the same not long ago.
fn still_astray(before: &Failure, attempt: u32, where_to: Option<String>) -> bool {
    let same = where_to.is_some_and(|where_to| before.detail.starts_with(&where_to));
    before.kind == FailureKind::Astray && same && !attempt.is_multiple_of(ASTRAY_ORDER)
}

/// The name as it is looked up; none for an address. A wildcard is what it is below of.
fn host(name: &Identifier) -> Option<String> {
    match name {
        Identifier::Ip(_) => None,
        other => {
            let text = other.to_string();
            Some(text.strip_prefix("*.").unwrap_or(&text).to_owned())
        }
    }
}

/// That a name is not there, in words.
pub(super) fn absence(found: &Whereabouts) -> Option<String> {
    let absent = found.absent.as_ref()?;
    let first = found.way.first()?;
    let alias = if *first == absent.name { String::new() } else { format!("{first} leads to ") };
    Some(format!(
        "{alias}{}{} does not exist, by the word of the servers of {}",
        absent.name,
        if alias.is_empty() { "" } else { ", which" },
        absent.zone
    ))
}

/// How far the clock of the CA is from ours: its `Date`, and the time here when it came.
pub(super) fn skew(theirs: Option<Timestamp>, ours: Timestamp) -> Option<(Duration, bool)> {
    let theirs = theirs?;
    let behind = theirs > ours;
    Some((if behind { theirs.since(ours) } else { ours.since(theirs) }, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::dns::Absent;

    #[test]
    fn a_name_that_leads_where_it_led_is_left_alone_but_for_once_a_day() {
        let there = "a.example leads to 192.0.2.1, which is no address of this machine";
        let before = Failure::new(FailureKind::Astray, format!("{there}; the CA said: no"));
        let still =
            |attempt, now: Option<&str>| still_astray(&before, attempt, now.map(str::to_owned));
        assert!(still(5, Some(there)));
        // It leads here, or to a third place.
        assert!(!still(5, None));
        let third = "a.example leads to 192.0.2.2, which is no address of this machine";
        assert!(!still(5, Some(third)));
        assert!(!still(ASTRAY_ORDER, Some(there)) && still(ASTRAY_ORDER + 1, Some(there)));
        let other = Failure::new(FailureKind::Connection, there);
        assert!(!still_astray(&other, 5, Some(there.to_owned())));
    }

    #[test]
    fn a_name_that_is_not_there_is_told_with_its_zone_and_the_way_to_it() {
        let mut found = Whereabouts { way: vec!["a.example".into()], ..Whereabouts::default() };
        assert_eq!(absence(&found), None);
        let zone = "example".to_owned();
        found.absent = Some(Absent { name: "a.example".into(), zone: zone.clone() });
        let said = "a.example does not exist, by the word of the servers of example";
        assert_eq!(absence(&found).as_deref(), Some(said));
        found.way.push("b.example".into());
        found.absent = Some(Absent { name: "b.example".into(), zone });
        let said = "a.example leads to b.example, which does not exist, by the word of the servers \
                    of example";
        assert_eq!(absence(&found).as_deref(), Some(said));
    }

    #[test]
    fn clocks_are_compared_in_both_directions() {
        let at = Timestamp::from_unix;
        assert_eq!(skew(None, at(100)), None);
        assert_eq!(skew(Some(at(160)), at(100)), Some((Duration::from_secs(60), true)));
        assert_eq!(skew(Some(at(70)), at(100)), Some((Duration::from_secs(30), false)));
    }
}
