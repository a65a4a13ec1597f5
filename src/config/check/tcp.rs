//! `[[tcp]]`: services behind TLS that are no HTTP, each reached by address and name alone.
//!
//! Their certificates are those of sites: names that no site has get a site of their own here, which
//! speaks no HTTP.

use std::collections::HashMap;
use std::collections::HashSet;
use std::net::SocketAddr;

use http::uri::Authority;

use super::super::finding::Findings;
use super::super::keeping::Keeping;
use super::super::key_path::KeyPath;
use super::super::model::Site;
use super::super::origin::{Address, Asking, Origin, OriginTls, Server, Servers};
use super::super::policy::Policy;
use super::super::raw::RawOrigin;
use super::super::raw_tcp::RawTcp;
use super::super::tcp::{ProxyVersion, StartTls, TcpService, TcpTls, TcpWay};
use super::names::Seen;
use super::origins::WEIGHT;
use super::site::General;
use super::{clients, edge, issuers, listen, names, origin, origins, quoted, site, tls, unix};
use crate::base::bounds::origins::ORIGIN_SERVERS;
use crate::cert::identifier::Identifier;

const STARTTLS: [(&str, Option<StartTls>); 5] = [
    ("off", None),
    ("smtp", Some(StartTls::Smtp)),
    ("imap", Some(StartTls::Imap)),
    ("pop3", Some(StartTls::Pop3)),
    ("postgres", Some(StartTls::Postgres)),
];

pub(super) const PROXY: [(&str, Option<ProxyVersion>); 3] =
    [("off", None), ("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];

/// The services, and the sites that hold certificates for names which none of `sites` has.
pub(super) fn check_all(
    raw: &[RawTcp],
    sites: &[Site],
    general: &General<'_>,
    line: &dyn Fn(&KeyPath) -> usize,
    findings: &mut Findings,
) -> (Vec<TcpService>, Vec<Site>) {
    let mut held: HashSet<Identifier> = sites.iter().flat_map(|s| &s.names).cloned().collect();
    let mut seats = Seats::default();
    // Beside HTTPS, sites were there first.
    for site in sites {
        let taken = site.names.iter().map(|name| ((None, name.clone()), site.line));
        seats.names.extend(taken);
    }
    let (mut services, mut holders) = (Vec::with_capacity(raw.len()), Vec::new());
    let list = KeyPath::dotted("tcp");
    for (number, raw) in raw.iter().enumerate() {
        let at = list.index(number);
        let line = line(&at);
        let names = names(raw, &at, findings);
        let listen = addresses(&raw.listen, general, &at.key("listen"), findings);
        let starttls =
            tls::choice(&raw.starttls, &STARTTLS, "protocol", &at.key("starttls"), findings);
        let starttls = starttls.flatten();
        seats.take(&listen, &names, starttls, (&at, line), findings);
        let to = servers(raw, &listen, general, &at, findings);
        let way = if raw.passthrough {
            nothing_of_tls(raw, &at, findings);
            TcpWay::Through
        } else {
            if raw.listen.is_empty() && starttls.is_some() {
                findings
                    .error(&at.key("starttls"), "on the port of HTTPS clients begin with TLS")
                    .expected("`listen` with an address of its own")
                    .hint("listen = [\"[::]:587\"]");
            }
            let tls = TcpTls {
                agreement: tls::agreement(raw.tls.as_ref(), general.agreement, &at, findings),
                clients: clients::check((raw.tls.as_ref(), general.lists), false, &at, findings),
                alpn: alpn(&raw.alpn, &at.key("alpn"), findings),
                starttls,
            };
            let fresh = names.iter().filter(|(name, _)| held.insert(name.clone())).cloned();
            holders.extend(holder(raw, fresh.collect(), &tls, (&at, line), general, findings));
            TcpWay::Ended(tls)
        };
        let proxy = tls::choice(&raw.proxy, &PROXY, "version", &at.key("proxy"), findings);
        services.push(TcpService {
            names: names.into_iter().map(|(name, _)| name).collect(),
            listen,
            to,
            way,
            proxy: proxy.flatten(),
            connect_timeout: edge::span(&raw.connect_timeout, &at.key("connect_timeout"), findings),
            idle_timeout: edge::span(&raw.idle_timeout, &at.key("idle_timeout"), findings),
            access_log: raw.access_log,
            line,
        });
    }
    (services, holders)
}

type Named = Vec<(Identifier, KeyPath)>;

fn names(raw: &RawTcp, at: &KeyPath, findings: &mut Findings) -> Named {
    if raw.names.is_empty() && !findings.is_spoilt(&at.key("names")) && !findings.is_spoilt(at) {
        findings
            .error(&at.key("names"), "the service has no names")
            .expected("`names`, a list of the names that clients ask for")
            .hint("names = [\"mail.example.org\"]");
        return Vec::new();
    }
    names::check(&raw.names, (0, 0), at, &mut Seen::new(), findings)
}

/// Who is reached where.
#[derive(Default)]
struct Seats {
    /// With the line on which who has it begins; without an address it is beside HTTPS.
    names: HashMap<(Option<SocketAddr>, Identifier), usize>,
    /// What clients of an address begin with.
    starts: HashMap<SocketAddr, Option<StartTls>>,
}

impl Seats {
    fn take(
        &mut self,
        listen: &[SocketAddr],
        names: &Named,
        starttls: Option<StartTls>,
        (at, line): (&KeyPath, usize),
        findings: &mut Findings,
    ) {
        let beside = listen.is_empty().then_some(None);
        for address in listen.iter().map(|address| Some(*address)).chain(beside) {
            let place = address.map_or_else(|| "the port of HTTPS".to_owned(), |a| a.to_string());
            for (name, key) in names {
                if let Some(other) = self.names.insert((address, name.clone()), line)
                    // What stands twice in one list is told already.
                    && other != line
                {
                    findings
                        .error(key, format!("{name} is somebody else's on {place}"))
                        .expected(format!("each name once on an address; see line {other}"))
                        .hint("listen = [\"[::]:8883\"], or another name");
                }
            }
            let Some(address) = address else { continue };
            if *self.starts.entry(address).or_insert(starttls) != starttls {
                findings
                    .error(
                        &at.key("starttls"),
                        format!("another service begins otherwise on {place}"),
                    )
                    .expected("one way of beginning on an address: the name is not known yet");
            }
        }
    }
}

fn addresses(
    raw: &[String],
    general: &General<'_>,
    key: &KeyPath,
    findings: &mut Findings,
) -> Vec<SocketAddr> {
    let mut taken: Vec<(SocketAddr, &'static str)> = Vec::new();
    taken.extend(general.listen.https.iter().map(|address| (*address, "https")));
    taken.extend(general.listen.http.iter().map(|address| (*address, "http")));
    let addresses = listen::addresses(raw, key, "tcp", &mut taken, findings);
    for (number, address) in addresses.iter().enumerate() {
        if address.port() == 0 {
            findings
                .error(&key.index(number), "a service is found by its port, and 0 is none")
                .expected("a port");
        }
    }
    addresses
}

/// Nothing about TLS is said of a service that has none of it here.
fn nothing_of_tls(raw: &RawTcp, at: &KeyPath, findings: &mut Findings) {
    for (name, said) in [
        ("starttls", raw.starttls != "off"),
        ("alpn", !raw.alpn.is_empty()),
        ("tls", raw.tls.is_some()),
        ("issuer", raw.issuer.is_some()),
        ("profile", raw.profile.is_some()),
    ] {
        if said {
            findings
                .error(&at.key(name), "TLS is passed through, so nothing is decided of it here")
                .expected(format!("passthrough = false, or no `{name}`"));
        }
    }
}

fn servers(
    raw: &RawTcp,
    own: &[SocketAddr],
    general: &General<'_>,
    at: &KeyPath,
    findings: &mut Findings,
) -> Servers {
    let key = at.key("to");
    let mut list: Vec<Server> = Vec::new();
    let texts = match &raw.to {
        Some(RawOrigin::One(text)) => std::slice::from_ref(text),
        Some(RawOrigin::Several(texts)) => texts,
        None => &[],
    };
    if (texts.is_empty() || texts.len() > ORIGIN_SERVERS) && !findings.is_spoilt(&key) {
        findings
            .error(&key, format!("the service has {} servers", texts.len()))
            .expected(format!("`to`, one server or a list of at most {ORIGIN_SERVERS}"))
            .hint("to = \"127.0.0.1:143\"");
    }
    let mut around = general.listen.clone();
    around.https.extend(own);
    for (number, text) in texts.iter().enumerate() {
        let key = match &raw.to {
            Some(RawOrigin::Several(_)) => key.index(number),
            _ => key.clone(),
        };
        let (text, weight) = match text.split_once(WEIGHT) {
            None => (text.as_str(), 1),
            Some((text, weight)) => (text, origins::weight(weight, &key, findings)),
        };
        let with_port =
            text.parse::<Authority>().is_ok_and(|a| a.port_u16().is_some_and(|p| p > 0));
        let found = if text.starts_with(unix::SCHEME) {
            origin::address(text, &around, general.admin)
        } else if with_port && !text.contains('@') {
            origin::address(&format!("http://{text}"), &around, general.admin)
        } else {
            origin::refuse(format!("{} is no server", super::quoted_url(text)), None)
        };
        match found {
            Ok(address) if list.iter().any(|known| known.address == address) => {
                findings
                    .error(&key, format!("the server {} stands twice", quoted(text)))
                    .expected("each server once");
            }
            Ok(address) => list.push(Server { address, weight }),
            Err(refusal) => {
                let finding = findings
                    .error(&key, refusal.problem)
                    .expected("host and port such as \"127.0.0.1:143\", or \"unix:/run/app.sock\"");
                if let Some(hint) = refusal.hint {
                    finding.hint(hint);
                }
            }
        }
    }
    let most = u32::try_from(raw.max_connections).ok().filter(|most| *most <= 1_000_000);
    if most.is_none() {
        findings
            .error(&at.key("max_connections"), format!("{} is out of bounds", raw.max_connections))
            .expected("a number from 0, which is no limit, to 1000000");
    }
    if list.is_empty() {
        // A stand-in: something was complained of.
        list.push(Server { address: Address::Unix("/".into()), weight: 1 });
    }
    // A connection that could not be made is lost on nobody.
    let asking = Asking { max_requests: most.unwrap_or(0), retries: 100, ..Asking::default() };
    Servers { list, asking, tls: OriginTls::default(), health: None, sticky: None }
}

/// Names of protocols as IANA has them (RFC 7301, section 6).
fn alpn(raw: &[String], key: &KeyPath, findings: &mut Findings) -> Vec<String> {
    for (number, name) in raw.iter().enumerate() {
        if name.is_empty() || name.len() > 255 {
            findings
                .error(&key.index(number), format!("{} is no protocol", quoted(name)))
                .expected("a name of 1 to 255 octets such as \"imap\" or \"mqtt\"");
        }
        if matches!(name.as_str(), "h2" | "h3" | "http/1.1") {
            findings
                .error(&key.index(number), format!("{name} is HTTP, which sites speak"))
                .expected("a protocol of the service, or a [[site]]");
        }
    }
    raw.to_vec()
}

/// The site that holds a certificate for `names`, for which nobody else does.
fn holder(
    raw: &RawTcp,
    names: Named,
    tls: &TcpTls,
    (at, line): (&KeyPath, usize),
    general: &General<'_>,
    findings: &mut Findings,
) -> Option<Site> {
    let own = site::Wanted {
        issuer: raw.issuer.as_ref(),
        standby: raw.standby.as_deref(),
        preferred_chain: raw.preferred_chain.as_deref(),
        challenge: None,
        profile: raw.profile.as_deref(),
        key: &raw.key,
    };
    if names.is_empty() {
        return None;
    }
    let own = site::wanted(own, &names, general, at, findings);
    if let Some((first, _)) = names.first() {
        for issuer in std::iter::once(&own.issuer).chain(&own.further).chain(&own.standby) {
            issuers::unaccepted(issuer, first, at, general.cas, findings);
        }
    }
    Some(Site {
        names: names.into_iter().map(|(name, _)| name).collect(),
        origin: Origin::Service,
        issuer: own.issuer,
        further: own.further,
        standby: own.standby,
        preferred_chain: own.preferred_chain,
        key: own.key,
        second_key: own.second_key,
        reuse_key: false,
        exportable: false,
        keeping: Keeping::default(),
        profile: raw.profile.clone(),
        clients: tls.clients.clone(),
        tls: tls.agreement,
        hsts: None,
        redirect: false,
        default: false,
        preserve_host: true,
        early_data: false,
        access_log: false,
        tls_headers: false,
        challenge: None,
        policy: Policy::default(),
        routes: Vec::new(),
        line,
    })
}
