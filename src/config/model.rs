//! The configuration as the rest of the house sees it: checked, normalised, complete.
//!
//! Nothing here knows of text, defaults or files; `raw` does. A value of [`Config`] needs no
//! further checks by whoever holds it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::allowance::Allowance;
use super::ca::Acme;
use super::client::{Client, Share};
use super::dns::DnsAccount;
use super::keeping::Keeping;
use super::network::IpNetwork;
use super::notify::{Channel, Heartbeat};
use super::onboarding::Onboarding;
use super::origin::Origin;
use super::policy::Policy;
use super::route::{Route, RouteTo};
use super::target::{Deploying, Target};
use super::tcp::TcpService;
use crate::cert::challenge::ChallengeType;
use crate::cert::identifier::Identifier;
use crate::cert::key::KeyAlgorithm;
use crate::cert::spec::IssuerName;

/// Everything an operator decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The ACME CA that is asked where nothing else is said.
    pub acme: Acme,
    /// The other ones, in the order of the file; each has a name and a directory of its own.
    pub cas: Vec<Acme>,
    /// Where to listen when systemd passes no sockets.
    pub listen: Listen,
    /// Where state is kept.
    pub state: State,
    /// The admin socket.
    pub admin: Admin,
    /// Who may use it beside its operators, in the order of the file.
    pub clients: Vec<Client>,
    /// The key process.
    pub vault: Vault,
    /// What is agreed on with clients of the front door.
    pub tls: Tls,
    /// Deadlines and limits of the front door.
    pub edge: Edge,
    /// Logging.
    pub log: Log,
    /// The log of requests.
    pub access_log: AccessLog,
    /// Accounts at DNS providers, in the order of the file.
    pub dns: Vec<DnsAccount>,
    /// What clients may have of certificates for use elsewhere.
    pub allowance: Allowance,
    /// Names that come of themselves, if any may.
    pub onboarding: Option<Onboarding>,
    /// By which ways people hear of what happened.
    pub notify: Vec<Channel>,
    /// What is called while all is well.
    pub heartbeat: Option<Heartbeat>,
    /// Where certificates go that others serve, in the order of the file.
    pub targets: Vec<Target>,
    /// What holds for all of them.
    pub deployment: Deploying,
    /// The sites, in the order of the file; behind them those that only hold certificates for TCP
    /// services, whose origin is [`Origin::Service`].
    pub sites: Vec<Site>,
    /// The services that are no HTTP, in the order of the file.
    pub tcp: Vec<TcpService>,
    /// The file it was read from, for reload; `None` for embedded defaults (`keyward demo`).
    pub source: Option<PathBuf>,
}

impl Config {
    /// Every way in which clients are asked for certificates.
    pub fn client_certificates(&self) -> impl Iterator<Item = &ClientCertificates> {
        let sites = self.sites.iter().filter_map(|site| site.clients.as_ref());
        sites.chain(self.tcp.iter().filter_map(TcpService::clients))
    }

    /// Where TCP services listen, each address once.
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<_> = self.tcp.iter().flat_map(|tcp| &tcp.listen).copied().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// `[listen]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// Addresses for HTTPS.
    pub https: Vec<SocketAddr>,
    /// Addresses for plain HTTP: redirects and HTTP-01.
    pub http: Vec<SocketAddr>,
    /// Balancers, whose connections begin with a header of the PROXY protocol.
    pub proxy_from: Vec<IpNetwork>,
}

/// `[state]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// The state directory. Below it: `store/keyward.redb`, `served/` (the second copy of what is
    /// served), `vault/` (the master key file, if there is one).
    pub dir: PathBuf,
}

/// `[admin]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admin {
    /// Path of the socket.
    pub socket: PathBuf,
    /// Group that may use the socket beside root and the daemon's own user.
    pub group: Option<String>,
    /// What each client may take of it.
    pub share: Share,
}

/// `[vault]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vault {
    /// Where the master key comes from.
    pub master_key: MasterKey,
    /// Bytes of opened keys kept ready to sign.
    pub cache: u64,
    /// What to do where a wall cannot be raised.
    pub require: Require,
}

/// How much of the walls must stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Require {
    /// What the machine has; what it lacks is told.
    Available,
    /// All of them; without, nothing is served.
    Strict,
}

/// Where the master key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MasterKey {
    /// The systemd credential `keyward.master` if there is one, else
    /// `{state.dir}/vault/master.key`, created at first start.
    Auto,
    /// This file; it must exist.
    File(PathBuf),
    /// Derived from a passphrase that is asked for at each start; a file below the state directory
    /// knows its salt.
    Passphrase,
}

/// `[tls]`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tls {
    /// Whether sessions are resumed by tickets, and where the tickets' keys are.
    pub tickets: TicketMode,
    /// How long a ticket key is used; it is accepted for as long again.
    pub ticket_rotation: Duration,
    /// Whether the kernel makes the records of connections that carry much.
    pub ktls: KernelTls,
    /// What clients get that ask for a name which no site has.
    pub unknown_names: UnknownNames,
}

/// What clients get that ask for a name which no site has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnknownNames {
    /// The default site, if there is one; else the alert `unrecognized_name`.
    DefaultSite,
    /// That alert in any case; the default site is for those who ask for no name.
    Refuse,
}

/// What a site agrees on with its clients.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Agreement {
    /// Suites and groups.
    pub preset: Preset,
    /// The lowest version; never below that of the preset.
    pub min_version: TlsVersion,
}

/// Suites and groups by one word.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Preset {
    /// TLS 1.2 and 1.3, as Mozilla's intermediate guidelines have them.
    Default,
    /// TLS 1.3 alone.
    Modern,
    /// As the default, without what some old network devices trip over.
    Compatible,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Default for Agreement {
    /// What a site has that nobody said anything about.
    fn default() -> Self {
        Self { preset: Preset::Default, min_version: TlsVersion::Tls12 }
    }
}

/// What the kernel does of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KernelTls {
    /// Whatever it can.
    Auto,
    /// Nothing.
    Off,
}

/// Where the keys of session tickets are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TicketMode {
    /// In main, for as long as they are accepted.
    Fast,
    /// In the vault alone, which is asked for every ticket.
    Strict,
    /// There are none.
    Off,
}

/// `[edge]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edge {
    /// Worker threads; one for each core by default.
    pub workers: usize,
    /// From the first byte of a connection to the end of its TLS handshake.
    pub handshake_timeout: Duration,
    /// For the whole head of a request.
    pub header_timeout: Duration,
    /// Without any byte on a kept-alive connection.
    pub idle_timeout: Duration,
    /// To connect to an origin.
    pub connect_timeout: Duration,
    /// From the end of the request to the head of the origin's answer.
    pub response_timeout: Duration,
    /// Without progress in a body, either way.
    pub body_timeout: Duration,
    /// Idle origin connections kept for each origin and worker.
    pub origin_idle: usize,
    /// Open client connections, over all workers; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Percent of the connections, and of the time for handshakes, that one client network may
    /// have while it is the only one that wants much; 100 is no limit.
    pub network_share: u8,
    /// Percent of a worker's time that full handshakes may take; 100 is no limit.
    pub handshake_share: u8,
    /// How long open requests may still run after SIGTERM.
    pub drain_timeout: Duration,
    /// How long open connections may still run in this process after another took over.
    pub linger_timeout: Duration,
    /// Where the ids come from under which requests are found again.
    pub request_ids: RequestIds,
    /// Whether HTTP/3 is offered beside each address for HTTPS.
    pub http3: bool,
    /// Who is asked for the hosts of origins, instead of those whom the system asks.
    pub name_servers: Vec<SocketAddr>,
}

/// Where the ids of requests come from: `X-Request-Id`, and `traceparent` of W3C Trace Context.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestIds {
    /// Clients' own pass as they are, and none are made.
    Off,
    /// Each request gets new ones, whatever its client says.
    Make,
    /// Those of clients are kept where they are sound, and made where not.
    Keep,
}

/// `[log]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// A level or a filter such as `info,keyward::edge=debug`.
    pub level: String,
    /// Where lines go.
    pub format: LogFormat,
}

/// `[access_log]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessLog {
    /// Where lines go; `None` when there is no such log.
    pub to: Option<AccessLogTo>,
    /// How a line looks.
    pub format: AccessFormat,
    /// Whether query strings stand in it.
    pub queries: bool,
    /// Whether what was agreed on in the handshake stands in it, with the client's JA4.
    pub tls: bool,
    /// One request of so many is logged, and every one that is answered with 500 or above.
    pub sample: u64,
}

impl AccessLog {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match &self.to {
            Some(AccessLogTo::File(path)) => Some(path),
            Some(AccessLogTo::Journal) | None => None,
        }
    }
}

/// Where lines of the access log go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessLogTo {
    /// The journal, under the identifier `keyward-access`.
    Journal,
    /// A file that is appended to.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AccessFormat {
    /// An object of JSON.
    Json,
    /// The Common Log Format.
    Common,
    /// The same with Referer and User-Agent.
    Combined,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// The journal under systemd, text on standard error otherwise.
    Auto,
    /// Text on standard error.
    Text,
    /// The journal.
    Journal,
}

/// `[[site]]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    /// The names served, the first of which names the site; never empty, each in one site only.
    pub names: Vec<Identifier>,
    /// Where requests go.
    pub origin: Origin,
    /// Who issues its certificate.
    pub issuer: IssuerName,
    /// Who is asked in its place, in this order, when it gives none for reasons of its own; each speaks
    /// ACME, and so does the first then. Where certificates are brought: who is asked, in this order, for
    /// what follows one.
    pub further: Vec<IssuerName>,
    /// Who issues a second certificate for the same names, which is kept ready and not shown; speaks
    /// ACME, and is none of the above.
    pub standby: Option<IssuerName>,
    /// The one challenge by which its names are proven; any where there is none.
    pub challenge: Option<ChallengeType>,
    /// The kind of key.
    pub key: KeyAlgorithm,
    /// The kind of key of a second certificate for the same names, for clients that cannot check
    /// the first: RSA beside ECDSA.
    pub second_key: Option<KeyAlgorithm>,
    /// Whether a renewal keeps the key, for clients that know it by heart.
    pub reuse_key: bool,
    /// Whether keys that are made from now on may be handed out.
    pub exportable: bool,
    /// What becomes of its certificates, and of those that were brought for it.
    pub keeping: Keeping,
    /// Profile asked for of the first CA, instead of the one that stands with it.
    pub profile: Option<String>,
    /// Common name of the root up to which chains of the first CA are to lead, instead of the one that
    /// stands with it.
    pub preferred_chain: Option<String>,
    /// What is agreed on with clients.
    pub tls: Agreement,
    /// Which certificates clients show, if they are asked for any.
    pub clients: Option<ClientCertificates>,
    /// Strict-Transport-Security, if it is to be sent.
    pub hsts: Option<Hsts>,
    /// Whether plain HTTP is redirected here; if not, it is answered with 404.
    pub redirect: bool,
    /// Whether clients that name no known site (or none at all) get this one.
    pub default: bool,
    /// Whether the origin sees the Host the client asked for; else the origin's own authority.
    pub preserve_host: bool,
    /// Whether safe requests are taken before the handshake is complete (0-RTT).
    pub early_data: bool,
    /// Whether its requests stand in the access log, if there is one.
    pub access_log: bool,
    /// Whether origins are told what was agreed on in the handshake, with the client's JA4.
    pub tls_headers: bool,
    /// What is asked of its requests.
    pub policy: Policy,
    /// Requests that go another way, the first that fits.
    pub routes: Vec<Route>,
    /// Line of the file on which the site begins, for messages; 0 when there is no file.
    pub line: usize,
}

/// Certificates of clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificates {
    /// Whether clients without one are turned away.
    pub required: bool,
    /// PEM file with the CAs that sign them.
    pub ca: PathBuf,
    /// File with the lists of those that are revoked.
    pub crl: Option<PathBuf>,
    /// Where the lists in that file are fetched, if they are.
    pub crl_url: Option<String>,
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hsts {
    /// Seconds.
    pub max_age: u64,
    /// Whether sub-domains are meant too.
    pub include_subdomains: bool,
    /// Whether the site may be put into browsers' preload lists.
    pub preload: bool,
}

impl Site {
    /// What it asks, and what each of its routes does.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.routes.iter().map(|route| &route.policy).chain([&self.policy])
    }

    /// What is behind it and behind its routes.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        let routes = self.routes.iter().filter_map(|route| match &route.to {
            RouteTo::Origin(origin) => Some(origin),
            RouteTo::Site | RouteTo::Redirect(..) => None,
        });
        std::iter::once(&self.origin).chain(routes)
    }

    /// Directories whose files it serves.
    pub fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.origins().filter_map(|origin| match origin {
            Origin::Files(files) => Some(&files.root),
            Origin::Servers(_) | Origin::Service | Origin::Welcome => None,
        })
    }

    /// Whether some of its servers learn by a header who a client is.
    pub fn names_clients(&self) -> bool {
        self.origins().any(Origin::names_clients)
    }

    /// The first name, which names the site everywhere.
    pub fn name(&self) -> &Identifier {
        #[expect(clippy::indexing_slicing, reason = "a site without names is refused at parsing")]
        &self.names[0]
    }
}
