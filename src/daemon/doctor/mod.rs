//! The examination of a name, or of all names of a certificate: everything that an order depends on, looked
//! at from here.
//!
//! Nothing is changed, and nobody but the DNS, the CA and the addresses of the names is asked. Findings
//! about names come from `names`, about ports from `ports`, of an order for a trial from `trial`.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::house::Residence;
use super::orders::Orders;
use crate::admin::Caller;
use crate::admin::HouseError;
use crate::admin::Selector;
use crate::admin::wire::doctor::Check;
use crate::admin::wire::doctor::Doctor;
use crate::admin::wire::doctor::Finding;
use crate::base::bounds::doctor::AT_ONCE;
use crate::base::bounds::doctor::NAMES;
use crate::base::bounds::doctor::SKEW_MOST;
use crate::base::bounds::doctor::SKEW_TOLD;
use crate::base::bounds::doctor::WHOLE;
use crate::cert::challenge::ChallengeType;
use crate::cert::failure::Remedy;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::cert::spec::Specification;
use crate::config::Config;
use crate::config::Site;
use crate::issuer::AcmeIssuer;
use crate::issuer::Examined;
use crate::scheduler::budget::Novelty;

mod names;
mod ports;
mod trial;

static TURNS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE));

/// What is examined.
struct Patient {
    names: Vec<Identifier>,
    certificate: Option<Certificate>,
    /// The one challenge that its site wants.
    only: Option<ChallengeType>,
    /// Whether a public CA signs it.
    by_acme: bool,
    /// That CA; where none does, the one that would.
    issuer: IssuerName,
    /// What is asked of it.
    profile: Option<String>,
}

impl Residence {
    /// Examines what `selector` means, by an order at the directory `staging` as well, if there is one.
    pub(super) async fn examine(
        &self,
        selector: &Selector,
        staging: Option<String>,
        caller: Caller,
    ) -> Result<Doctor, HouseError> {
        let Ok(_turn) = TURNS.try_acquire() else {
            return Err(HouseError::Unavailable {
                reason: "others are being examined: try again in a moment".to_owned(),
            });
        };
        let patient = self.patient(selector, &caller).await?;
        let orders = self.orders()?;
        let mut checks = Vec::new();
        let looking = timeout(WHOLE, self.look(&patient, orders, &mut checks));
        let trying = async {
            let directory = staging?;
            let authorities = &orders.authorities;
            Some(trial::order(&patient, &directory, authorities, &self.vault, WHOLE).await)
        };
        let (looked, tried) = tokio::join!(looking, trying);
        if looked.is_err() {
            checks.push(Check::warning(
                "time",
                None,
                format!("not everything could be looked at within {} s", WHOLE.as_secs()),
                "see what stands above: who does not answer holds the rest up",
            ));
        }
        checks.extend(tried);
        Ok(Doctor {
            names: patient.names.iter().map(ToString::to_string).collect(),
            certificate: patient.certificate.map(|one| one.id().to_string()),
            finding: checks.iter().map(|check| check.finding).max().unwrap_or(Finding::Ok),
            checks,
        })
    }

    async fn look(&self, patient: &Patient, orders: &Orders, checks: &mut Vec<Check>) {
        let Some(issuer) = orders.authorities.acme(&patient.issuer) else {
            let seen = format!("{} is not configured", patient.issuer);
            checks.push(Check::problem("ca", None, seen, "see [acme], [[ca]] and the site"));
            return;
        };
        let examined = if patient.by_acme { ca(&issuer, checks).await } else { None };
        if patient.by_acme {
            checks.push(budget(patient, orders));
        } else {
            let seen = "no public CA is asked for it, so that no CAA record and no budget counts";
            checks.push(Check::ok("ca", None, seen));
        }
        let world = orders.authorities.dns().world();
        let config = Arc::clone(&self.config.borrow());
        let rounds = names::Rounds { issuer: &issuer, examined: examined.as_ref(), patient };
        for name in patient.names.iter().take(NAMES) {
            let addresses = match &world {
                Ok(world) => rounds.of(name, world, &config, checks).await,
                Err(reason) => {
                    let change = "see /etc/resolv.conf, or set [acme] name_servers";
                    checks.push(Check::warning("address", None, reason.clone(), change));
                    Vec::new()
                }
            };
            let doors = ports::Doors { solver: orders.authorities.solver(), patient };
            doors.knock(name, &addresses, &self.leaves(name).await, checks).await;
        }
        if let Some(more) = patient.names.len().checked_sub(NAMES).filter(|more| *more > 0) {
            let seen = format!("{more} more names were not looked at");
            checks.push(Check::warning("address", None, seen, "keyward doctor each of them"));
        }
    }

    /// What a selector means: a certificate, a site, or just a name.
    async fn patient(&self, selector: &Selector, caller: &Caller) -> Result<Patient, HouseError> {
        let certificate = match self.meant(selector, caller).await {
            Ok(certificate) => Some(certificate),
            Err(error @ HouseError::NotFound { .. }) => match selector {
                Selector::Name(..) => None,
                Selector::Id(_) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let config = Arc::clone(&self.config.borrow());
        let named = match (selector, &certificate) {
            (Selector::Name(name, _), _) => Some(name.clone()),
            (Selector::Id(_), Some(certificate)) => certificate.spec.names().first().cloned(),
            (Selector::Id(_), None) => None,
        };
        let site = named.as_ref().and_then(|name| site_of(&config, name));
        let names = match (&certificate, site, named) {
            (Some(certificate), ..) => certificate.spec.names().to_vec(),
            (None, Some(site), _) => site.names.clone(),
            (None, None, named) => named.into_iter().collect(),
        };
        let is_acme = |issuer: &&IssuerName| matches!(issuer, IssuerName::Acme(_));
        // The one that is asked now, where there is a choice.
        let own = certificate.as_ref().filter(|one| one.spec.role == Role::Primary);
        let asked = match (own, site, &certificate) {
            (Some(own), ..) => Some(own.issuer()),
            (None, Some(site), _) => Some(&site.issuer),
            (None, None, Some(one)) => Some(one.issuer()),
            (None, None, None) => None,
        };
        let by_acme = asked.as_ref().is_none_or(is_acme);
        let issuer = asked.filter(is_acme).cloned().unwrap_or_else(|| config.acme.issuer());
        let only = site.and_then(|site| site.challenge);
        let general = || config.authority(&issuer)?.profile.clone();
        let profile = site.map_or_else(general, |site| config.profile(site, &issuer));
        Ok(Patient { names, certificate, only, by_acme, issuer, profile })
    }

    /// The certificates that the door may show for `name`, in DER.
    async fn leaves(&self, name: &Identifier) -> Vec<(String, Vec<u8>)> {
        let Ok(orders) = self.orders() else { return Vec::new() };
        let all = orders.scheduler.covering(name).await.unwrap_or_default();
        let installed = all.iter().filter_map(|record| record.installed.as_ref());
        installed
            .filter_map(|one| Some((one.serial.clone(), one.chain.certificates().first()?.clone())))
            .collect()
    }
}

fn site_of<'a>(config: &'a Config, name: &Identifier) -> Option<&'a Site> {
    let exact = config.sites.iter().find(|site| site.names.contains(name));
    let star = name.wildcard();
    exact.or_else(|| {
        let star = star.as_ref()?;
        config.sites.iter().find(|site| site.names.contains(star))
    })
}

/// Whether the CA would admit an order now.
fn budget(patient: &Patient, orders: &Orders) -> Check {
    let (names, issuer) = (patient.names.clone(), patient.issuer.clone());
    let spec = Specification::new(names, issuer, KeyAlgorithm::P256, None, Role::Primary);
    let known = patient.certificate.as_ref();
    let novelty = known.map_or(Novelty::New, |record| Novelty::of(record, &patient.issuer));
    match orders.scheduler.admits(&spec, novelty) {
        Ok(()) => {
            let seen = format!("an order at {} is within its rate limits", spec.issuer);
            Check::ok("budget", None, seen)
        }
        Err(failure) => {
            let seen = match failure.remedy {
                Remedy::RetryAfter(at) => format!("{failure}; the next order is at {at}"),
                Remedy::Retry | Remedy::Intervene => failure.to_string(),
            };
            Check::warning("budget", None, seen, "wait: a renewal that is due is not held up")
        }
    }
}

/// The CA, its clock, and the account there.
async fn ca(issuer: &AcmeIssuer, checks: &mut Vec<Check>) -> Option<Examined> {
    let examined = match issuer.examine().await {
        Ok(examined) => examined,
        Err(failure) => {
            let change = failure.kind.hint();
            checks.push(Check::problem("ca", None, failure.to_string(), change));
            return None;
        }
    };
    let identities = examined.identities.join(", ");
    let seen = if identities.is_empty() {
        "it answers, and does not say how it is called in CAA records".to_owned()
    } else {
        format!("it answers, and is called {identities} in CAA records")
    };
    checks.push(Check::ok("ca", None, seen));
    checks.push(clock(examined.skew));
    checks.push(match (&examined.account, &examined.terms) {
        (Some(account), _) => Check::ok("account", None, account.clone()),
        (None, None) => Check::ok("account", None, "it is opened with the first order"),
        (None, Some(terms)) => {
            let seen = format!("there is none yet, and the terms at {terms} are not accepted");
            let change = "read them and set accept_terms = true in [acme]";
            Check::problem("account", None, seen, change)
        }
    });
    Some(examined)
}

fn clock(skew: Option<(Duration, bool)>) -> Check {
    let Some((apart, behind)) = skew else {
        return Check::ok("clock", None, "the CA does not say what time it is");
    };
    let seconds = apart.as_secs();
    let seen = format!(
        "this machine is {seconds} s {} the CA",
        if behind { "behind" } else { "ahead of" }
    );
    let change = "set the clock, for instance with systemd-timesyncd or chrony";
    match apart {
        _ if apart > SKEW_MOST => Check::problem("clock", None, seen, change),
        _ if apart > SKEW_TOLD => Check::warning("clock", None, seen, change),
        _ => Check::ok("clock", None, seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_and_far_apart_are_a_problem() {
        let finding = |seconds| clock(Some((Duration::from_secs(seconds), true))).finding;
        assert_eq!([finding(2), finding(120)], [Finding::Ok, Finding::Warning]);
        assert_eq!(finding(7200), Finding::Problem);
        assert!(clock(Some((Duration::from_secs(7200), false))).seen.contains("7200 s ahead of"));
        assert_eq!(clock(None).finding, Finding::Ok);
    }
}
