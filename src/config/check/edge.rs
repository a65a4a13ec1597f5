//! `[edge]`: deadlines and limits of the front door.

use std::net::{AddrParseError, SocketAddr};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::finding::Findings;
use super::super::key_path::KeyPath;
use super::super::model::{Edge, RequestIds};
use super::super::quantity::{self, QuantityError};
use super::super::raw::RawEdge;
use super::{quoted, tls};

/// Below, no connection over a long way ever gets through.
const SHORTEST: Duration = Duration::from_millis(100);

/// Above, a deadline keeps nothing from growing.
const LONGEST: Duration = Duration::from_secs(3600);

const WORKERS: RangeInclusive<u64> = 0..=1024;
const ORIGIN_IDLE: RangeInclusive<u64> = 0..=65_536;
const CONNECTIONS: RangeInclusive<u64> = 1..=10_000_000;
const PERCENT: RangeInclusive<u64> = 1..=100;

/// More are never asked before a question is given up.
const NAME_SERVERS: usize = 8;

const DNS: u16 = 53;

const IDS: [(&str, RequestIds); 3] =
    [("off", RequestIds::Off), ("make", RequestIds::Make), ("keep", RequestIds::Keep)];

pub(super) fn check(raw: &RawEdge, findings: &mut Findings) -> Edge {
    let workers = match number(raw.workers, "workers", WORKERS, findings) {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        workers => workers,
    };
    Edge {
        workers,
        handshake_timeout: deadline(&raw.handshake_timeout, "handshake_timeout", findings),
        header_timeout: deadline(&raw.header_timeout, "header_timeout", findings),
        idle_timeout: deadline(&raw.idle_timeout, "idle_timeout", findings),
        connect_timeout: deadline(&raw.connect_timeout, "connect_timeout", findings),
        response_timeout: deadline(&raw.response_timeout, "response_timeout", findings),
        body_timeout: deadline(&raw.body_timeout, "body_timeout", findings),
        origin_idle: number(raw.origin_idle, "origin_idle", ORIGIN_IDLE, findings),
        max_connections: number(raw.max_connections, "max_connections", CONNECTIONS, findings),
        network_share: percent(raw.network_share, "network_share", findings),
        handshake_share: percent(raw.handshake_share, "handshake_share", findings),
        drain_timeout: deadline(&raw.drain_timeout, "drain_timeout", findings),
        linger_timeout: deadline(&raw.linger_timeout, "linger_timeout", findings),
        request_ids: request_ids(&raw.request_ids, findings),
        http3: raw.http3,
        name_servers: addresses_of_servers(
            &raw.name_servers,
            &KeyPath::dotted("edge.name_servers"),
            findings,
        ),
    }
}

fn request_ids(text: &str, findings: &mut Findings) -> RequestIds {
    let key = KeyPath::dotted("edge.request_ids");
    tls::choice(text, &IDS, "way with request ids", &key, findings).unwrap_or(RequestIds::Off)
}

/// Name servers, each an address.
pub(super) fn addresses_of_servers(
    raw: &[String],
    at: &KeyPath,
    findings: &mut Findings,
) -> Vec<SocketAddr> {
    if raw.len() > NAME_SERVERS {
        findings
            .error(at, format!("there are {} name servers", raw.len()))
            .expected(format!("at most {NAME_SERVERS}"));
    }
    let mut servers = Vec::with_capacity(raw.len());
    for (number, text) in raw.iter().enumerate() {
        let key = at.index(number);
        if findings.is_spoilt(&key) {
            continue;
        }
        let address = text.parse().or_else(|_| Ok(SocketAddr::new(text.parse()?, DNS)));
        let address: Result<_, AddrParseError> = address;
        match address {
            Ok(address) => servers.push(address),
            Err(_) => {
                findings
                    .error(&key, format!("{} is no address of a name server", quoted(text)))
                    .expected("an IP address, with a port if that is not 53")
                    .hint("\"192.0.2.53\"");
            }
        }
    }
    servers
}

fn deadline(text: &str, name: &str, findings: &mut Findings) -> Duration {
    span(text, &KeyPath::dotted("edge").key(name), findings)
}

/// A time that is neither too short nor too long for anything on the way to an origin.
pub(super) fn span(text: &str, key: &KeyPath, findings: &mut Findings) -> Duration {
    match quantity::duration(text) {
        Ok(duration) if (SHORTEST..=LONGEST).contains(&duration) => duration,
        Ok(_) | Err(QuantityError::TooLarge) => {
            findings
                .error(key, format!("a deadline of {} is out of bounds", quoted(text)))
                .expected("at least 100ms and at most 1h");
            SHORTEST
        }
        Err(QuantityError::NoNumber | QuantityError::NoUnit) => {
            let finding = findings
                .error(key, format!("{} is no duration", quoted(text)))
                .expected("a whole number and one of ms, s, m, h, such as \"10s\"");
            if text.parse::<u32>().is_ok() {
                finding.hint(format!("\"{text}s\" for seconds"));
            }
            SHORTEST
        }
    }
}

fn percent(value: u64, name: &str, findings: &mut Findings) -> u8 {
    u8::try_from(number(value, name, PERCENT, findings)).unwrap_or(100)
}

fn number(value: u64, name: &str, bounds: RangeInclusive<u64>, findings: &mut Findings) -> usize {
    let key = KeyPath::dotted("edge").key(name);
    if !bounds.contains(&value) {
        findings.error(&key, format!("{value} is out of bounds")).expected(format!(
            "a number from {} to {}",
            bounds.start(),
            bounds.end()
        ));
    }
    usize::try_from(value).unwrap_or(usize::MAX)
}
