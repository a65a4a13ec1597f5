//! What `keyward check` says of services that are no HTTP.

use std::io::{self, Write};

use super::check::{certificate, joined, tls};
use crate::config::{Config, ProxyVersion, Site, TcpService, TcpWay};

/// Writes a paragraph for each.
pub(super) fn write(out: &mut impl Write, config: &Config) -> io::Result<()> {
    config.tcp.iter().try_for_each(|service| one(out, config, service))
}

fn one(out: &mut impl Write, config: &Config, service: &TcpService) -> io::Result<()> {
    let place = if service.listen.is_empty() {
        "beside HTTPS".to_owned()
    } else {
        format!("on {}", joined(&service.listen))
    };
    writeln!(out, "\n{} {place}", service.name())?;
    if service.names.len() > 1 {
        writeln!(out, "  names        {}", joined(&service.names))?;
    }
    writeln!(out, "  servers      {}", service.servers())?;
    match service.proxy {
        Some(ProxyVersion::V1) => writeln!(out, "  proxy        told of clients, version 1")?,
        Some(ProxyVersion::V2) => writeln!(out, "  proxy        told of clients, version 2")?,
        None => {}
    }
    let TcpWay::Ended(terms) = &service.way else {
        return writeln!(out, "  tls          passed through");
    };
    let has = |site: &&Site| site.names.contains(service.name());
    if let Some(site) = config.sites.iter().find(has) {
        writeln!(out, "  certificate  {}", certificate(config, site))?;
    }
    writeln!(out, "  tls          {}", tls(terms.agreement))?;
    if let Some(protocol) = terms.starttls {
        writeln!(out, "  starttls     {protocol}")?;
    }
    if !terms.alpn.is_empty() {
        writeln!(out, "  protocols    {}", joined(&terms.alpn))?;
    }
    if let Some(clients) = &terms.clients {
        let how = if clients.required { "required" } else { "optional" };
        writeln!(out, "  clients      certificate {how}, by {}", clients.ca.display())?;
    }
    Ok(())
}
