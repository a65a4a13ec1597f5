//! `[[dns]]`: accounts at DNS providers, and which zones each may change.
//!
//! Secrets are named, never held: whoever speaks to a provider reads them then.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::model::Config;

/// An account at a DNS provider.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsAccount {
    /// What it is called; each name once.
    pub name: String,
    /// The provider, as in [`super::PROVIDERS`].
    pub provider: &'static str,
    /// The zones it may change, lower case, without the last dot; never empty, each in one account
    /// only.
    pub zones: Vec<String>,
    /// What the provider wants to know, by the names of its fields.
    pub settings: BTreeMap<&'static str, Setting>,
    /// The servers that must show a record before the CA is asked to look; empty for those that the
    /// zone itself names.
    pub servers: Vec<SocketAddr>,
    /// How long they may take; zero when they are not asked.
    pub propagation: Duration,
    /// Time to live of the records, in seconds.
    pub ttl: u32,
}

/// A value that a provider wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Setting {
    /// It stands in the configuration.
    Text(String),
    /// It is what this file holds.
    File(PathBuf),
    /// It is the systemd credential of this name.
    Credential(String),
}

impl DnsAccount {
    /// The longest of its zones that `name` is in.
    pub fn zone_of(&self, name: &str) -> Option<&str> {
        let within = self.zones.iter().filter(|zone| is_within(name, zone));
        within.max_by_key(|zone| zone.len()).map(String::as_str)
    }
}

impl Config {
    /// The account whose zone is the longest that `name` is in, and the zone.
    pub fn dns_of(&self, name: &str) -> Option<(&DnsAccount, &str)> {
        let found = self.dns.iter().filter_map(|account| Some((account, account.zone_of(name)?)));
        found.max_by_key(|(_, zone)| zone.len())
    }
}

/// Whether `name` is `zone` or below it. Both lower case, without the last dot.
pub fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Where control over `host` is proven by DNS (RFC 8555, section 8.4): a wildcard as what it is
/// below of.
pub fn proof_name(host: &str) -> String {
    format!("_acme-challenge.{}", host.strip_prefix("*.").unwrap_or(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_in_a_zone_by_whole_labels() {
        for (name, zone, expected) in [
            ("example.org", "example.org", true),
            ("_acme-challenge.example.org", "example.org", true),
            ("badexample.org", "example.org", false),
            ("org", "example.org", false),
            ("a.example.org.evil", "example.org", false),
        ] {
            assert_eq!(is_within(name, zone), expected, "{name} {zone}");
        }
    }

    #[test]
    fn a_wildcard_is_proven_where_its_parent_is() {
        assert_eq!(proof_name("*.example.org"), "_acme-challenge.example.org");
        assert_eq!(proof_name("example.org"), "_acme-challenge.example.org");
    }
}
