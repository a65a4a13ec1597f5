//! Accounts at DNS providers, and what is proven through them, as `keyward check` shows them.

use std::io;
use std::io::Write;

use serde::Serialize;

use crate::cert::challenge::ChallengeType;
use crate::config::Config;
use crate::config::DnsAccount;
use crate::config::Site;
use crate::config::dns::proof_name;

/// The names of a site that are proven by DNS alone, each with the account for it.
pub(super) fn write_proofs(out: &mut impl Write, config: &Config, site: &Site) -> io::Result<()> {
    let Some(ca) = config.authority(&site.issuer) else { return Ok(()) };
    let all =
        site.challenge == Some(ChallengeType::Dns01) || ca.challenges == [ChallengeType::Dns01];
    for name in site.names.iter().filter(|name| all || name.is_wildcard()) {
        let proof = proof_name(&name.to_string());
        let by = match config.dns_of(&proof) {
            Some((account, zone)) => format!("{proof} by {}, zone {zone}", account.name),
            None => format!("{proof}, wherever that leads"),
        };
        writeln!(out, "  proof        dns-01 of {name} at {by}")?;
    }
    Ok(())
}

/// An account in what `--json` prints; its secrets are not even named.
#[derive(Serialize)]
pub(super) struct JsonAccount {
    name: String,
    provider: &'static str,
    zones: Vec<String>,
    servers: Vec<String>,
    propagation_seconds: u64,
    ttl: u32,
}

pub(super) fn json(config: &Config) -> Vec<JsonAccount> {
    let one = |account: &DnsAccount| JsonAccount {
        name: account.name.clone(),
        provider: account.provider,
        zones: account.zones.clone(),
        servers: account.servers.iter().map(ToString::to_string).collect(),
        propagation_seconds: account.propagation.as_secs(),
        ttl: account.ttl,
    };
    config.dns.iter().map(one).collect()
}

pub(super) fn write(out: &mut impl Write, config: &Config) -> io::Result<()> {
    for account in &config.dns {
        writeln!(out, "\n{} (DNS account)", account.name)?;
        writeln!(out, "  provider     {}", account.provider)?;
        writeln!(out, "  zones        {}", account.zones.join(", "))?;
    }
    Ok(())
}
