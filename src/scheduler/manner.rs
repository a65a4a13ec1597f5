//! How a certificate is to be obtained, as the configuration says: of whom, by what proof, under what
//! key.
//!
//! Which of several CAs is asked stands in the record.

use super::plan;
use super::take_over;
use crate::cert::challenge::ChallengeType;
use crate::cert::record::Certificate;
use crate::cert::spec::IssuerName;
use crate::cert::spec::Role;
use crate::config::Config;
use crate::config::Site;

/// How a certificate is to be obtained, as the configuration says.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// Who may be asked, in order of preference.
    pub(super) offers: Vec<Offer>,
    /// Who is asked for what follows one that was brought, if another is configured than when its
    /// successor was first planned.
    pub(super) source: Option<IssuerName>,
    /// Whether a renewal keeps the key.
    pub(super) reuse_key: bool,
    /// Whether a new key may be handed out.
    pub(super) exportable: bool,
    /// The one challenge to prove by.
    pub(super) challenge: Option<ChallengeType>,
}

/// What is asked of a CA.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) issuer: IssuerName,
    /// The profile, if any.
    pub(super) profile: Option<String>,
    /// The root up to which the chain is to lead, where the site says.
    pub(super) chain: Option<String>,
    /// Whether the order may name the certificate it replaces.
    pub(super) renewal_info: bool,
}

impl Manner {
    /// As `config` says for `record`.
    pub(super) fn of(config: &Config, record: &Certificate) -> Self {
        let issue = record.care.issue.as_ref();
        let site = if issue.is_some() { None } else { plan::site_of(config, &record.spec) };
        let successors = match issue {
            Some(_) => config.allowance.issuers.clone(),
            None => take_over::successors(config, record),
        };
        let offer = |issuer: &IssuerName| Offer {
            issuer: issuer.clone(),
            profile: match site {
                Some(site) => config.profile(site, issuer),
                None => config.authority(issuer).and_then(|ca| ca.profile.clone()),
            },
            chain: site.and_then(|site| config.preferred_chain(site, issuer)),
            renewal_info: config.authority(issuer).is_some_and(|ca| ca.renewal_info),
        };
        // Whoever stands by for one that failed is not given to it as well.
        let by = |site: &Site| site.standby.as_ref() == Some(&record.spec.issuer);
        let offers = match site {
            Some(site) if record.spec.role == Role::Primary && by(site) => {
                vec![offer(&record.spec.issuer)]
            }
            Some(site) => site.issuers().map(offer).collect(),
            None if !record.spec.role.is_driven() => successors.iter().map(offer).collect(),
            None => vec![offer(&record.spec.issuer)],
        };
        Self {
            offers,
            source: match site {
                Some(site) if record.spec.role == Role::Onboarded => Some(site.issuer.clone()),
                _ => successors.into_iter().next(),
            },
            reuse_key: site.is_some_and(|site| site.reuse_key),
            exportable: site.is_some_and(|site| site.exportable)
                || issue.is_some_and(|issue| issue.exportable),
            challenge: site.and_then(|site| site.challenge),
        }
    }

    /// What is asked of `issuer`.
    pub(super) fn offer(&self, issuer: &IssuerName) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.issuer == *issuer)
    }

    pub(super) fn profile(&self, issuer: &IssuerName) -> Option<&str> {
        self.offer(issuer)?.profile.as_deref()
    }
}
