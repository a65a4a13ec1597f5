//! `[listen]`: addresses, each for one thing.

use std::net::SocketAddr;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::Listen;
use super::super::raw::RawListen;
use super::networks;
use super::quoted;

pub(super) fn check(raw: &RawListen, findings: &mut Findings) -> Listen {
    let at = KeyPath::dotted("listen");
    let mut taken = Vec::new();
    let https = addresses(&raw.https, &at.key("https"), "https", &mut taken, findings);
    if raw.https.is_empty() && !findings.is_spoilt(&at.key("https")) {
        findings
            .error(&at.key("https"), "there is no address for HTTPS")
            .expected("at least one address, such as \"[::]:443\"");
    }
    let http = addresses(&raw.http, &at.key("http"), "http", &mut taken, findings);
    let proxy_from = networks::check(&raw.proxy_from, &at.key("proxy_from"), findings);
    Listen { https, http, proxy_from }
}

pub(super) fn addresses(
    raw: &[String],
    key: &KeyPath,
    name: &'static str,
    taken: &mut Vec<(SocketAddr, &'static str)>,
    findings: &mut Findings,
) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for (index, text) in raw.iter().enumerate() {
        let key = key.index(index);
        if findings.is_spoilt(&key) {
            continue;
        }
        let Ok(address) = text.parse::<SocketAddr>() else {
            let finding = findings
                .error(&key, format!("{} is no address to listen on", quoted(text)))
                .expected("an IP address and a port, such as \"[::]:443\" or \"192.0.2.7:443\"");
            if let Some(hint) = meant(text) {
                finding.hint(format!("{hint:?}"));
            }
            continue;
        };
        if address.port() == 0 && name != "tcp" {
            findings.warning(&key, "port 0 lets the system choose a port at every start");
        } else if let Some((_, other)) = taken.iter().find(|(other, _)| *other == address) {
            let problem = if *other == name {
                format!("the address {address} stands twice")
            } else {
                format!("the address {address} is listed for {other} and for {name}")
            };
            findings.error(&key, problem).expected("each address once").hint(if name == "tcp" {
                "an address of the service's own, or none at all beside HTTPS"
            } else {
                "give `https` and `http` addresses of their own"
            });
        }
        taken.push((address, name));
        addresses.push(address);
    }
    addresses
}

/// A port alone, a star or a name for "here", written as an address.
fn meant(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = port.parse().ok()?;
    match host {
        "" | "*" => Some(format!("[::]:{port}")),
        "localhost" => Some(format!("127.0.0.1:{port}")),
        _ => None,
    }
}
