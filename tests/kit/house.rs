//! An edge in this process, and what tests ask it with.
#![allow(dead_code, reason = "each target uses a part of the kit")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use keyward::base::SystemClock;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::ports::{Catalog, Signers, TicketSeal};
use keyward::cert::served::Served;
use keyward::cert::spec::IssuerName;
use keyward::config;
use keyward::edge::tickets::Tickets;
use keyward::edge::{Edge, EdgeOptions, listen};
use keyward::vault::ticket::RawTicketKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::load;
use crate::memory::{MemoryCa, Shelf};

pub(crate) struct House {
    pub(crate) edge: Edge,
    pub(crate) ca: MemoryCa,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) config: config::Config,
}

pub(crate) fn catalog(certificates: Vec<Arc<Served>>) -> Arc<dyn Catalog> {
    Shelf::of(certificates)
}

/// A site with the defaults of the configuration.
pub(crate) fn site(names: &[&str], origin: SocketAddr) -> config::Site {
    config::Site {
        names: names.iter().map(|n| Identifier::parse(n).unwrap()).collect(),
        origin: config::Origin::http(origin.to_string().parse().unwrap()),
        issuer: IssuerName::Internal,
        further: Vec::new(),
        standby: None,
        preferred_chain: None,
        key: KeyAlgorithm::P256,
        profile: None,
        hsts: Some(config::Hsts { max_age: 63_072_000, include_subdomains: false, preload: false }),
        redirect: true,
        default: false,
        preserve_host: true,
        second_key: None,
        reuse_key: false,
        early_data: false,
        access_log: true,
        tls_headers: false,
        challenge: None,
        policy: config::Policy::default(),
        routes: Vec::new(),
        tls: config::Agreement::default(),
        clients: None,
        exportable: false,
        keeping: config::Keeping::default(),
        line: 0,
    }
}

pub(crate) fn limits() -> config::Edge {
    config::Edge {
        workers: 2,
        handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(20),
        body_timeout: Duration::from_secs(20),
        origin_idle: 32,
        max_connections: 1000,
        network_share: 75,
        handshake_share: 80,
        drain_timeout: Duration::from_secs(10),
        linger_timeout: Duration::from_secs(10),
        request_ids: config::RequestIds::Off,
        http3: true,
        name_servers: Vec::new(),
    }
}

/// Of one worker, for a client that is all clients, as in a benchmark.
pub(crate) fn unlimited() -> config::Edge {
    config::Edge {
        workers: 1,
        origin_idle: 64,
        max_connections: 10_000,
        network_share: 100,
        handshake_share: 100,
        idle_timeout: Duration::from_secs(60),
        response_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        ..limits()
    }
}

/// What a file with nothing in it means, but for what an edge alone must not need.
pub(crate) fn config(sites: Vec<config::Site>, limits: config::Edge) -> config::Config {
    let nothing = config::parse("", Path::new("nothing"), [("", ""); 0]).unwrap().config;
    config::Config {
        listen: config::Listen { https: Vec::new(), http: Vec::new(), proxy_from: Vec::new() },
        state: config::State { dir: "/nonexistent".into() },
        tls: config::Tls {
            ktls: config::KernelTls::Auto,
            tickets: config::TicketMode::Fast,
            ticket_rotation: Duration::from_secs(3600),
            unknown_names: config::UnknownNames::DefaultSite,
        },
        edge: limits,
        sites,
        source: None,
        ..nothing
    }
}

/// Keys for session tickets that no vault made.
pub(crate) fn tickets() -> Tickets {
    let tickets = Tickets::default();
    let key = RawTicketKey { name: [1; 16], key: Some(zeroize::Zeroizing::new([7; 32])) };
    let hour = Duration::from_secs(3600);
    tickets.use_keys(&[key], &(Arc::new(NoVault) as Arc<dyn TicketSeal>), hour, hour);
    tickets
}

#[derive(Debug)]
struct NoVault;

impl TicketSeal for NoVault {
    fn seal(&self, _: &[u8; 32], _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn open(&self, _: &[u8; 32], _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

impl House {
    /// An edge for `sites`, each with a certificate.
    pub(crate) fn open(sites: Vec<config::Site>, limits: config::Edge) -> Self {
        let ca = MemoryCa::new();
        let certificates = sites
            .iter()
            .map(|site| {
                let names: Vec<_> = site.names.iter().map(ToString::to_string).collect();
                ca.issue(&names.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        Self::with(ca, sites, limits, certificates)
    }

    pub(crate) fn with(
        ca: MemoryCa,
        sites: Vec<config::Site>,
        limits: config::Edge,
        certificates: Vec<Arc<Served>>,
    ) -> Self {
        let signers: Arc<dyn Signers> = ca.signers.clone();
        Self::signed_by(signers, ca, sites, limits, certificates)
    }

    /// The same with keys that others have.
    pub(crate) fn signed_by(
        signers: Arc<dyn Signers>,
        ca: MemoryCa,
        sites: Vec<config::Site>,
        limits: config::Edge,
        certificates: Vec<Arc<Served>>,
    ) -> Self {
        let shelf = Shelf::of(certificates);
        Self::over((ca, signers), sites, limits, (shelf.clone(), shelf))
    }

    /// The same, which finds its certificates in the second of the two.
    pub(crate) fn over(
        (ca, signers): (MemoryCa, Arc<dyn Signers>),
        sites: Vec<config::Site>,
        limits: config::Edge,
        (shelf, catalog): (Arc<Shelf>, Arc<dyn Catalog>),
    ) -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let https = listen::bind(&[any], limits.workers).unwrap();
        let http = listen::bind(&[any], limits.workers).unwrap();
        let (https_at, http_at) = (https[0].local_addr().unwrap(), http[0].local_addr().unwrap());
        let config = config(sites, limits.clone());
        let options = EdgeOptions {
            https,
            http,
            tcp: Vec::new(),
            limits,
            clock: Arc::new(SystemClock),
            config: Arc::new(config.clone()),
            catalog,
            tickets: tickets(),
        };
        let edge = Edge::start(options, signers).unwrap();
        Self { edge, ca, shelf, https: https_at, http: http_at, config }
    }

    /// Serves these certificates and no others from now on.
    pub(crate) fn show(&self, certificates: Vec<Arc<Served>>) {
        self.edge.changed(&self.shelf.put(certificates));
    }

    /// A connection under TLS that speaks HTTP/1.1.
    pub(crate) async fn tls(
        &self,
        name: &str,
    ) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        let config = load::client_config(&self.ca.root(), &[b"http/1.1"]);
        load::connect(&config, self.https, name).await.unwrap()
    }

    /// Sends `bytes` over TLS and gives everything that comes back until the server closes.
    pub(crate) async fn raw(&self, name: &str, bytes: &[u8]) -> String {
        let mut stream = self.tls(name).await;
        stream.write_all(bytes).await.unwrap();
        read_all(&mut stream).await
    }

    /// Runs curl against this edge; the arguments end with the URL.
    pub(crate) fn curl(&self, name: &str, arguments: &[&str]) -> String {
        let port = self.https.port();
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "60", "--cacert"])
            .arg(self.ca.root_file())
            .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
            .args(["--resolve", &format!("{name}:{}:127.0.0.1", self.http.port())])
            .args(arguments)
            .output()
            .expect("curl is installed");
        assert!(
            output.status.success(),
            "curl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn url(&self, name: &str, path: &str) -> String {
        format!("https://{name}:{}{path}", self.https.port())
    }
}

/// Everything until the end, which must come within ten seconds.
pub(crate) async fn read_all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let reading = async {
        let mut buffer = [0; 16 * 1024];
        // A close without close_notify is an end too.
        while let Ok(read) = stream.read(&mut buffer).await {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    timeout(Duration::from_secs(10), reading).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}
