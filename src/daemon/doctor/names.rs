//! What the DNS says of one name: where it leads, whether resolvers agree, whether the CA may sign it, and
//! who could prove it by a record.

use std::net::IpAddr;

use tokio::time::timeout;

use super::Patient;
use crate::admin::wire::doctor::Check;
use crate::base::bounds::doctor::DNS;
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;
use crate::config::Config;
use crate::config::dns::proof_name;
use crate::issuer::AcmeIssuer;
use crate::issuer::CaaView;
use crate::issuer::Examined;
use crate::issuer::dns::Resolved;
use crate::issuer::dns::Whereabouts;
use crate::issuer::dns::World;
use crate::issuer::dns::is_here;

const POINT: &str = "set an A or AAAA record of the name to this machine's public address";

/// What all names are looked at with.
pub(super) struct Rounds<'a> {
    pub(super) issuer: &'a AcmeIssuer,
    pub(super) examined: Option<&'a Examined>,
    pub(super) patient: &'a Patient,
}

impl Rounds<'_> {
    /// Looks at `name`, and says at which addresses it is to be reached.
    pub(super) async fn of(
        &self,
        name: &Identifier,
        world: &World,
        config: &Config,
        checks: &mut Vec<Check>,
    ) -> Vec<IpAddr> {
        let text = name.to_string();
        let host = match name {
            Identifier::Ip(address) => return vec![*address],
            _ => text.strip_prefix("*.").unwrap_or(&text),
        };
        let shown = Some(text.as_str());
        let found = bounded(world.whereabouts(host)).await;
        let resolved = bounded(world.resolved(host)).await;
        let ways = self.issuer.ways(name, self.patient.only);
        let addresses = match &found {
            Ok(found) => found.addresses.clone(),
            // Better than nothing, and so do clients.
            Err(_) => resolved.as_ref().map(|one| one.addresses.clone()).unwrap_or_default(),
        };
        // No port is asked for a wildcard, which has no address of its own.
        if name.is_wildcard() {
            let seen = format!("a wildcard is proven by DNS alone, at {}", proof_name(&text));
            checks.push(Check::ok("address", shown, seen));
        } else {
            checks.push(address(shown, &found, !config.listen.proxy_from.is_empty(), &ways));
            checks.push(resolver(shown, &found, &resolved));
        }
        checks.extend(dnssec(shown, &resolved));
        if let Some(examined) = self.examined {
            let caa = self.issuer.examine_caa(examined, world, name, self.patient.only);
            let caa = timeout(DNS, caa).await;
            checks.push(self::caa(
                shown,
                caa.unwrap_or_else(|_| CaaView::Unsure("no answer in time".to_owned())),
                examined,
            ));
        }
        if self.patient.by_acme {
            checks.extend(account(shown, name, &ways, config));
        }
        if name.is_wildcard() { Vec::new() } else { addresses }
    }
}

async fn bounded<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(DNS, asking).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn listed(addresses: &[IpAddr]) -> String {
    let mut listed: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    listed.sort();
    listed.dedup();
    listed.join(", ")
}

/// Where the name leads, by the word of those who have it.
fn address(
    name: Option<&str>,
    found: &Result<Whereabouts, String>,
    behind: bool,
    ways: &[ChallengeType],
) -> Check {
    let found = match found {
        Ok(found) => found,
        Err(reason) => {
            let seen = format!("the servers of its zone cannot be asked: {reason}");
            return Check::warning("address", name, seen, "see whether the zone has name servers");
        }
    };
    let way = found.way.join(" -> ");
    let by_record = ways.contains(&ChallengeType::Dns01);
    let judge = |seen: String| match by_record {
        true => Check::warning("address", name, seen, POINT),
        false => Check::problem("address", name, seen, POINT),
    };
    if let Some(absent) = &found.absent {
        return judge(format!("{way}: {} does not exist in {}", absent.name, absent.zone));
    }
    if found.addresses.is_empty() {
        return judge(format!("{way}: no A and no AAAA record"));
    }
    let by = found.server.map_or_else(String::new, |server| format!(", by the word of {server}"));
    let seen = format!("{way}: {}{by}", listed(&found.addresses));
    let (ours, others): (Vec<_>, Vec<_>) =
        found.addresses.iter().partition(|address| is_here(**address) == Some(true));
    match (ours.is_empty(), others.is_empty()) {
        (_, true) => Check::ok("address", name, format!("{seen}; all this machine's")),
        _ if behind => Check::ok("address", name, format!("{seen}; those of balancers")),
        (false, false) => Check::warning(
            "address",
            name,
            format!("{seen}; of these {} is no address of this machine", listed(&others)),
            "a CA may try each of them: take out those that do not lead here",
        ),
        (true, false) => Check::warning(
            "address",
            name,
            format!("{seen}; none is an address of this machine itself"),
            "behind a router that is as it should be if that passes ports 80 and 443 on: see the \
             ports below. Else point the name here",
        ),
    }
}

/// Whether resolvers say the same.
fn resolver(
    name: Option<&str>,
    found: &Result<Whereabouts, String>,
    resolved: &Result<Resolved, String>,
) -> Check {
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(reason) => {
            let change = "see /etc/resolv.conf, or set [acme] name_servers";
            return Check::warning("resolver", name, reason.clone(), change);
        }
    };
    if let Some(refused) = &resolved.refused {
        let seen = format!("the resolver gives up: {refused}");
        let change = "see whether the zone's servers and its DNSSEC are in order";
        return Check::problem("resolver", name, seen, change);
    }
    let Ok(found) = found else {
        let seen = format!("the resolver says {}", listed(&resolved.addresses));
        return Check::ok("resolver", name, seen);
    };
    let (own, theirs) = (listed(&found.addresses), listed(&resolved.addresses));
    if own == theirs {
        return Check::ok("resolver", name, "the resolver says the same");
    }
    let theirs = if theirs.is_empty() { "nothing".to_owned() } else { theirs };
    Check::warning(
        "resolver",
        name,
        format!("the resolver still says {theirs}"),
        "wait until what it remembers has run out; if that does not help, the zone's delegation is wrong",
    )
}

fn dnssec(name: Option<&str>, resolved: &Result<Resolved, String>) -> Option<Check> {
    let resolved = resolved.as_ref().ok()?;
    resolved.forged.then(|| {
        let why = resolved.refused.clone().unwrap_or_default();
        Check::problem(
            "dnssec",
            name,
            format!("signatures of the zone do not hold: {why}"),
            "sign the zone anew, or take its DS record out at the registrar; CAs check this",
        )
    })
}

fn caa(name: Option<&str>, view: CaaView, examined: &Examined) -> Check {
    match view {
        CaaView::Allowed(None) => Check::ok("caa", name, "no CAA record: any CA may sign"),
        CaaView::Allowed(Some(at)) => {
            Check::ok("caa", name, format!("the records at {at} let this CA sign"))
        }
        CaaView::Forbidden(at, why) => {
            let ca = examined.identities.first().map_or("the CA", String::as_str);
            let change = format!("add to {at}: CAA 0 issue \"{ca}\"; or take the records out");
            Check::problem("caa", name, format!("the records at {at} forbid it: {why}"), change)
        }
        CaaView::Unsure(why) => {
            let seen = format!("it cannot be told from here: {why}");
            Check::warning("caa", name, seen, "see that the records name this CA, or none at all")
        }
    }
}

/// Who could set the record that proves `name`.
fn account(
    shown: Option<&str>,
    name: &Identifier,
    ways: &[ChallengeType],
    config: &Config,
) -> Option<Check> {
    let place = proof_name(&name.to_string());
    let needs = name.is_wildcard() || ways == [ChallengeType::Dns01];
    match config.dns_of(&place) {
        Some((account, zone)) => {
            let seen = format!("{place} by {}, zone {zone}", account.name);
            Some(Check::ok("dns-account", shown, seen))
        }
        None if needs && config.dns.is_empty() => Some(Check::problem(
            "dns-account",
            shown,
            format!("{place} can be set by nobody"),
            "add a [[dns]] account for its zone",
        )),
        None if needs => Some(Check::warning(
            "dns-account",
            shown,
            format!("no [[dns]] account has a zone for {place}"),
            "add one, or a CNAME record there into a zone of an account",
        )),
        None => None,
    }
}
