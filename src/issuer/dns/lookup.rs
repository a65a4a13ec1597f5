//! What the DNS says about proofs: where an alias leads, which servers have a zone, and whether they
//! show a record.
//!
//! Every question is bounded, and none is believed further than for what it was asked.

use std::net::IpAddr;
use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;
use tokio::time::timeout;

use crate::base::bounds::dns::ALIASES;
use crate::base::bounds::dns::ANSWER;
use crate::base::bounds::dns::SERVERS;

/// Where servers listen.
pub(super) const PORT: u16 = 53;

/// What one server says about a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shown {
    /// It has it.
    Yes,
    /// It answers, and does not.
    No,
    /// It does not answer.
    Silent,
}

/// Asks these servers, or the system's where there are none.
pub(super) fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    if servers.is_empty() {
        let builder = TokioResolver::builder(TokioRuntimeProvider::default());
        let mut builder = builder.map_err(|error| error.to_string())?;
        builder.options_mut().cache_size = 0;
        return builder.build().map_err(|error| error.to_string());
    }
    asking(servers, true)
}

fn asking(servers: &[SocketAddr], recursive: bool) -> Result<TokioResolver, String> {
    let servers = servers.iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        config.connections.iter_mut().for_each(|c| c.port = server.port());
        config
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.recursion_desired = recursive;
    options.attempts = 1;
    options.timeout = ANSWER / 2;
    builder.build().map_err(|error| error.to_string())
}

/// The answers of one type at `name`; none where there are none, an error where nobody knows.
pub(super) async fn ask(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
) -> Result<Vec<RData>, String> {
    let full = Name::from_ascii(format!("{name}.")).map_err(|error| error.to_string())?;
    match timeout(ANSWER, resolver.lookup(full, kind)).await {
        Err(_elapsed) => Err("no name server answers".to_owned()),
        Ok(Err(error)) if error.is_no_records_found() => Ok(Vec::new()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => {
            // The servers of what it is an alias of are not those of the name.
            let is_asked = |of: &Name| kind != RecordType::NS || plain(of) == *name;
            let of_kind = found.answers().iter();
            let of_kind = of_kind.filter(|r| r.record_type() == kind && is_asked(&r.name));
            Ok(of_kind.map(|record| record.data.clone()).collect())
        }
    }
}

/// Where `name` leads over aliases: itself, where it is none.
///
/// # Errors
/// When nobody knows, or the aliases have no end.
pub(super) async fn target(resolver: &TokioResolver, name: &str) -> Result<String, String> {
    let mut at = name.to_owned();
    for _ in 0..ALIASES {
        let found = ask(resolver, &at, RecordType::CNAME).await?;
        let next = found.into_iter().find_map(|data| match data {
            RData::CNAME(alias) => Some(plain(&alias.0)),
            _ => None,
        });
        let Some(next) = next else { return Ok(at) };
        at = next;
    }
    Err(format!("{name} is an alias of an alias, more than {ALIASES} times"))
}

/// As names are compared: lower case, without the last dot.
pub(super) fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

/// The servers of the zone that `name` is in.
///
/// # Errors
/// When nobody knows.
pub(super) async fn servers(
    resolver: &TokioResolver,
    name: &str,
) -> Result<Vec<SocketAddr>, String> {
    let mut zone = name;
    let hosts = loop {
        let found = ask(resolver, zone, RecordType::NS).await?;
        let hosts: Vec<String> = found
            .into_iter()
            .filter_map(|data| match data {
                RData::NS(host) => Some(plain(&host.0)),
                _ => None,
            })
            .take(SERVERS)
            .collect();
        if !hosts.is_empty() {
            break hosts;
        }
        let Some((_, parent)) = zone.split_once('.') else {
            return Err(format!("no zone with name servers has {name}"));
        };
        zone = parent;
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for host in &hosts {
        for kind in [RecordType::A, RecordType::AAAA] {
            // A host that cannot be found is one server less.
            let found = ask(resolver, host, kind).await.unwrap_or_default();
            let found = found.into_iter().filter_map(|data| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            });
            addresses.extend(found.map(|address| SocketAddr::new(address, PORT)));
        }
    }
    addresses.truncate(SERVERS);
    if addresses.is_empty() {
        return Err(format!("no name server of {zone} has an address"));
    }
    Ok(addresses)
}

/// Whether `server` has the record with this `value`.
pub(super) async fn shows(server: SocketAddr, record: &str, value: &str) -> Shown {
    let Ok(resolver) = asking(&[server], false) else { return Shown::Silent };
    let Ok(found) = ask(&resolver, record, RecordType::TXT).await else { return Shown::Silent };
    let has = found.iter().any(|data| match data {
        RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
        _ => false,
    });
    if has { Shown::Yes } else { Shown::No }
}
