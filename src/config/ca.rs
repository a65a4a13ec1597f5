//! The CAs that speak ACME, checked and complete: `[acme]`, and each `[[ca]]` beside it.
//!
//! Which of them a site asks stands with the site.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::model::{Config, Site};
use crate::cert::challenge::ChallengeType;
use crate::cert::limits::Limits;
use crate::cert::spec::IssuerName;

/// A CA.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acme {
    /// What sites call it; `acme` for the one of `[acme]`.
    pub name: String,
    /// URL of the directory (RFC 8555, section 7.1.1); always `https`.
    pub directory: String,
    /// Contact URLs of the account.
    pub contact: Vec<String>,
    /// Whether the CA's terms of service are accepted.
    pub accept_terms: bool,
    /// Challenges to try, best first; never empty.
    pub challenges: Vec<ChallengeType>,
    /// Who is asked where proofs by DNS belong, instead of those whom the system asks. The same for
    /// all CAs.
    pub name_servers: Vec<SocketAddr>,
    /// Roots to trust for the directory instead of the system's.
    pub ca_root: Option<PathBuf>,
    /// The profile asked for, if any.
    pub profile: Option<String>,
    /// Common name of the root up to which its chains are to lead, where it offers several.
    pub preferred_chain: Option<String>,
    /// What it admits.
    pub limits: Limits,
    /// External account binding, if the CA needs one.
    pub eab: Option<Eab>,
    /// Whether every order names the certificate that it replaces and follows the CA's renewal
    /// information (RFC 9773) where the CA offers it.
    pub renewal_info: bool,
    /// Percent of its life that a certificate that was brought has left when a free one is ordered in
    /// its place; 0 for never. Counts for the CA of `[acme]` alone.
    pub take_over_left: u8,
}

/// `[acme.eab]`, `[ca.eab]` (RFC 8555, section 7.3.4)
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Eab {
    /// The key identifier the CA gave.
    pub kid: String,
    /// File that holds the base64url HMAC key.
    pub hmac_key_file: PathBuf,
}

impl Acme {
    /// What its certificates say of who issues them.
    pub fn issuer(&self) -> IssuerName {
        IssuerName::Acme(self.directory.clone())
    }
}

impl Config {
    /// Every CA that speaks ACME, the one of `[acme]` first.
    pub fn authorities(&self) -> impl Iterator<Item = &Acme> {
        std::iter::once(&self.acme).chain(&self.cas)
    }

    /// The one that issues under this name, if the configuration has it.
    pub fn authority(&self, issuer: &IssuerName) -> Option<&Acme> {
        let IssuerName::Acme(directory) = issuer else { return None };
        self.authorities().find(|ca| ca.directory == *directory)
    }

    /// The profile that a site asks of the CA that issues under this name.
    pub fn profile(&self, site: &Site, issuer: &IssuerName) -> Option<String> {
        let ca = self.authority(issuer)?;
        // A profile is a word of one CA: what the site says is said of its first one.
        let own = site.profile.as_ref().filter(|_| site.issuer == *issuer);
        own.or(ca.profile.as_ref()).cloned()
    }

    /// The root up to which the chain is to lead that a site gets of the CA which issues under this
    /// name, as the site says itself; `None` where what stands with the CA counts.
    pub fn preferred_chain(&self, site: &Site, issuer: &IssuerName) -> Option<String> {
        // As a profile, a root is a word of one CA.
        site.preferred_chain.as_ref().filter(|_| site.issuer == *issuer).cloned()
    }
}

impl Site {
    /// Who is asked for its certificate, in order of preference.
    pub fn issuers(&self) -> impl Iterator<Item = &IssuerName> {
        std::iter::once(&self.issuer).chain(&self.further)
    }

    /// Everybody who is asked for one of its certificates.
    pub fn all_issuers(&self) -> impl Iterator<Item = &IssuerName> {
        self.issuers().chain(&self.standby)
    }
}
