//! Origins that learn by the PROXY protocol who the client is, and whose connections are for one alone.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyward::config;
use keyward::config::{Address, Asking, Health, IpNetwork, Origin as Behind, ProxyVersion};
use proxy_header::{ParseConfig, ProxyHeader};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::daemon::free_port;
use crate::house::{House, limits, read_all, site};
use crate::load;
use crate::secure::Ca;

/// A server that keeps the header of each connection and answers requests with its number.
struct Witness {
    address: SocketAddr,
    headers: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Connections that have ended.
    ended: Arc<Mutex<Vec<usize>>>,
}

impl Witness {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (headers, ended) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (kept, over) = (Arc::clone(&headers), Arc::clone(&ended));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, over, tls) = (Arc::clone(&kept), Arc::clone(&over), tls.clone());
                tokio::spawn(async move {
                    let Some(header) = header(&mut stream).await else { return };
                    let number = {
                        let mut kept = kept.lock().unwrap();
                        kept.push(header);
                        kept.len() - 1
                    };
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, number).await;
                            }
                        }
                        None => answer(stream, number).await,
                    }
                    over.lock().unwrap().push(number);
                });
            }
        });
        Self { address, headers, ended }
    }

    fn header(&self, number: usize) -> Vec<u8> {
        self.headers.lock().unwrap()[number].clone()
    }
}

/// The header of either version; `None` for what is none.
async fn header(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut header = vec![0; 12];
    stream.read_exact(&mut header).await.ok()?;
    if header == *b"\r\n\r\n\0\r\nQUIT\n" {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await.ok()?;
        header.extend_from_slice(&rest);
        let begun = header.len();
        header.resize(begun + usize::from(u16::from_be_bytes([rest[2], rest[3]])), 0);
        stream.read_exact(&mut header[begun..]).await.ok()?;
    } else {
        while !header.ends_with(b"\r\n") {
            header.push(stream.read_u8().await.ok()?);
        }
    }
    (header.starts_with(b"PROXY ") || header.starts_with(b"\r\n")).then_some(header)
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, number: usize) {
    let mut read = Vec::new();
    loop {
        while !read.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(octet) => read.push(octet),
                Err(_) => return,
            }
        }
        let close = String::from_utf8_lossy(&read).to_lowercase().contains("connection: close");
        read.clear();
        let text = format!("on {number}.");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        if stream.write_all((head + &text).as_bytes()).await.is_err() || close {
            return;
        }
    }
}

fn behind(address: Address, version: ProxyVersion) -> config::Site {
    let mut site = site(&["a.example"], ([127, 0, 0, 1], 9).into());
    let Behind::Servers(mut servers) = Behind::several([address]) else { panic!("no server") };
    servers.asking = Asking { proxy: Some(version), ..Asking::default() };
    site.origin = Behind::Servers(servers);
    site
}

fn plain(address: SocketAddr, version: ProxyVersion) -> config::Site {
    behind(Address::Http(address.to_string().parse().unwrap()), version)
}

fn secure(ca: &Ca, address: SocketAddr, version: ProxyVersion) -> config::Site {
    let mut site = behind(Address::Https(address.to_string().parse().unwrap()), version);
    if let Behind::Servers(servers) = &mut site.origin {
        servers.tls.ca = Some(ca.file());
    }
    site
}

fn open(site: config::Site) -> House {
    // Connections that were shared would be so within a worker.
    let mut one = limits();
    one.workers = 1;
    House::open(vec![site], one)
}

/// A client that stays.
struct Client(tokio_rustls::client::TlsStream<TcpStream>);

impl Client {
    async fn come(house: &House) -> Self {
        Self(house.tls("a.example").await)
    }

    fn address(&self) -> SocketAddr {
        self.0.get_ref().0.local_addr().unwrap()
    }

    /// The number of the connection on which a request was answered.
    async fn ask(&mut self) -> usize {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(b".") || !read.windows(4).any(|end| end == b"\r\n\r\n") {
                read.push(self.0.read_u8().await.unwrap());
            }
        };
        timeout(Duration::from_secs(30), reading).await.expect("an answer in time");
        let text = String::from_utf8_lossy(&read).into_owned();
        let (_, number) = text.rsplit_once("on ").unwrap_or_else(|| panic!("{text}"));
        number.trim_end_matches('.').parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_is_told_who_the_client_is_before_tls() {
    let ca = Ca::new();
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for tls in [false, true] {
            let witness = Witness::start(tls.then(|| ca.acceptor("127.0.0.1", &[]))).await;
            let house = open(if tls {
                secure(&ca, witness.address, version)
            } else {
                plain(witness.address, version)
            });
            let mut client = Client::come(&house).await;
            assert_eq!(client.ask().await, 0, "{version:?} {tls}");
            let header = witness.header(0);
            let (read, length) = ProxyHeader::parse(&header, ParseConfig::default()).unwrap();
            assert_eq!(length, header.len());
            let told = read.proxied_address().unwrap();
            assert_eq!((told.source, told.destination), (client.address(), house.https));
            assert_eq!(header.starts_with(b"PROXY TCP4 "), version == ProxyVersion::V1);
            if version == ProxyVersion::V2 {
                assert_eq!(
                    (read.authority(), read.alpn()),
                    (Some("a.example"), Some(&b"http/1.1"[..]))
                );
                let ssl = read.ssl().unwrap();
                assert_eq!((ssl.version(), ssl.client_ssl()), (Some("TLSv1.3"), true));
            }
        }
    }
}

/// Its address is what a balancer says, and it is one of IPv6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_behind_a_balancer_is_passed_on_as_it_was_told() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let witness = Witness::start(None).await;
        let mut house = open(plain(witness.address, version));
        let network = IpNetwork { address: [127, 0, 0, 1].into(), prefix: 32 };
        house.config.listen.proxy_from = vec![network];
        house.edge.publish(&house.config);
        let mut stream = TcpStream::connect(house.https).await.unwrap();
        let told = b"PROXY TCP6 2001:db8::9 2001:db8::7 1234 443\r\n";
        stream.write_all(told).await.unwrap();
        let config = load::client_config(&house.ca.root(), &[b"http/1.1"]);
        let name = ServerName::try_from("a.example").unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        assert!(read_all(&mut stream).await.ends_with("on 0."));
        let header = witness.header(0);
        if version == ProxyVersion::V1 {
            assert_eq!(header, told);
        } else {
            let (read, _) = ProxyHeader::parse(&header, ParseConfig::default()).unwrap();
            let address = read.proxied_address().unwrap();
            assert_eq!(address.source, "[2001:db8::9]:1234".parse().unwrap());
            assert_eq!(address.destination, "[2001:db8::7]:443".parse().unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_for_one_client_and_ends_with_it() {
    let witness = Witness::start(None).await;
    let house = open(plain(witness.address, ProxyVersion::V1));
    let (mut one, mut two) = (Client::come(&house).await, Client::come(&house).await);
    for _ in 0..3 {
        assert_eq!((one.ask().await, two.ask().await), (0, 1));
    }
    for (client, number) in [(&one, 0), (&two, 1)] {
        let port = format!(" {} {}\r\n", client.address().port(), house.https.port());
        assert!(witness.header(number).ends_with(port.as_bytes()), "{:?}", witness.header(number));
    }
    assert_eq!(house.edge.stats().origin_connections, 2);
    drop(one);
    let begun = Instant::now();
    while *witness.ended.lock().unwrap() != [0] {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is kept without its client");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(Client::come(&house).await.ask().await, 2);
    assert_eq!(two.ask().await, 1);
    // Requests of one client that come at once have a connection each, and share them afterwards.
    let url = house.url("a.example", "/");
    let paths = [url.as_str(), &url, &url];
    let told = tokio::task::block_in_place(|| {
        house.curl("a.example", &[&["--http2"], &paths[..]].concat())
    });
    assert_eq!(told, "on 3.on 3.on 3.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_whether_an_origin_is_well_speaks_for_nobody() {
    let witness = Witness::start(None).await;
    let mut site = plain(witness.address, ProxyVersion::V1);
    if let Behind::Servers(servers) = &mut site.origin {
        servers.health = Some(Health { interval: Duration::from_millis(100), ..Health::at("/") });
    }
    let _house = open(site);
    let begun = Instant::now();
    while witness.ended.lock().unwrap().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody looks");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(witness.header(0), b"PROXY UNKNOWN\r\n");
}

/// Ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn haproxy(dir: &Path, ports: [u16; 2]) -> Running {
    let file = dir.join("haproxy.cfg");
    let told = "http-request return status 200 content-type text/plain lf-string \
                \"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority] on 0.\"";
    let pem = dir.join("both.pem");
    let text = format!(
        "global\n maxconn 50\ndefaults\n mode http\n timeout client 30s\n timeout server 30s\n \
         timeout connect 30s\nfrontend plain\n bind 127.0.0.1:{} accept-proxy\n {told}\n\
         frontend tls\n bind 127.0.0.1:{} accept-proxy ssl crt {}\n {told}\n",
        ports[0],
        ports[1],
        pem.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().expect("haproxy is installed"))
}

/// A server that others wrote, which takes nothing without a header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_takes_the_header_of_either_version() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let (chain, key) = ca.pem("127.0.0.1");
    std::fs::write(dir.path().join("both.pem"), chain + &key).unwrap();
    let ports = [free_port(), free_port()];
    let _running = haproxy(dir.path(), ports);
    for (port, tls) in [(ports[0], false), (ports[1], true)] {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let begun = Instant::now();
        while TcpStream::connect(at).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "HAProxy does not come up");
            sleep(Duration::from_millis(50)).await;
        }
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let house = open(if tls { secure(&ca, at, version) } else { plain(at, version) });
            let mut client = house.tls("a.example").await;
            let address = client.get_ref().0.local_addr().unwrap();
            let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
            client.write_all(request).await.unwrap();
            let answer = read_all(&mut client).await;
            let name = if version == ProxyVersion::V2 { "a.example" } else { "" };
            let told = format!(
                "127.0.0.1 {} 127.0.0.1 {} {name} on 0.",
                address.port(),
                house.https.port()
            );
            assert!(answer.ends_with(&told), "{version:?} {tls}: {answer}");
        }
    }
}
