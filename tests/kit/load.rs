//! A continuous load of requests over HTTPS, with every failure counted.
//!
//! A client here behaves as HTTP asks: after `Connection: close` or GOAWAY it opens another
//! connection, and a request that never left it is sent again. Everything else that is not 200 is
//! a failure.
#![allow(dead_code, unreachable_pub, reason = "each test target uses a part of the kit")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::large_futures,
    reason = "in a test a panic is the report, and the runtime is the test's own"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a load asks for.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub name: String,
    pub path: String,
    pub root: CertificateDer<'static>,
    pub h2: bool,
    /// After so many requests a client opens another connection.
    pub per_connection: usize,
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub good: AtomicUsize,
    pub connections: AtomicUsize,
    pub failures: Mutex<Vec<String>>,
    /// When each of them was.
    pub times: Mutex<Vec<Instant>>,
    /// Serial numbers of leaves, lower-case hexadecimal.
    pub serials: Mutex<BTreeSet<String>>,
}

/// A load that runs until it is stopped.
pub struct Load {
    pub seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// A TLS client configuration that trusts `root`.
pub fn client_config(root: &CertificateDer<'static>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    trusting(std::slice::from_ref(root), alpn)
}

fn trusting(trusted: &[CertificateDer<'static>], alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in trusted {
        roots.add(root.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

/// A TLS connection to `address` for `name`.
pub async fn connect(
    config: &Arc<ClientConfig>,
    address: SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// The serial number of the server's leaf, lower-case hexadecimal.
pub fn serial(stream: &TlsStream<TcpStream>) -> String {
    use x509_parser::prelude::FromDer as _;
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(leaf).unwrap();
    leaf.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Load {
    /// Starts `clients` clients on the current runtime.
    pub fn start(target: &Target, clients: usize) -> Self {
        Self::trusting(target, &[], clients)
    }

    /// The same, which trust these roots as well.
    pub fn trusting(target: &Target, more: &[CertificateDer<'static>], clients: usize) -> Self {
        let alpn: &[&[u8]] = if target.h2 { &[b"h2"] } else { &[b"http/1.1"] };
        let roots = [std::slice::from_ref(&target.root), more].concat();
        let (seen, stop) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default());
        let tasks = (0..clients)
            .map(|_| {
                let (target, seen, stop) = (target.clone(), Arc::clone(&seen), Arc::clone(&stop));
                let roots = roots.clone();
                tokio::task::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        // Another one each time: nothing is resumed.
                        let config = trusting(&roots, alpn);
                        let visit = visit(&target, config, &seen, &stop);
                        let result = tokio::time::timeout(Duration::from_secs(20), visit).await;
                        let failure = match result {
                            Ok(Ok(())) => continue,
                            Ok(Err(failure)) => failure,
                            Err(_) => "a visit took more than 20 s".to_owned(),
                        };
                        seen.times.lock().unwrap().push(Instant::now());
                        seen.failures.lock().unwrap().push(failure);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                })
            })
            .collect();
        Self { seen, stop, tasks }
    }

    /// Requests that were answered with 200.
    pub fn good(&self) -> usize {
        self.seen.good.load(Ordering::SeqCst)
    }

    /// Waits until `more` further requests were good.
    pub async fn progress(&self, more: usize) {
        let goal = self.good() + more;
        for _ in 0..2000 {
            if self.good() >= goal {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no progress: {} of {goal}; {:?}", self.good(), self.seen.failures);
    }

    /// Ends the load and gives what was seen.
    pub async fn stop(self) -> Arc<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.seen
    }
}

enum Sender {
    H1(hyper::client::conn::http1::SendRequest<Empty<Bytes>>),
    H2(hyper::client::conn::http2::SendRequest<Empty<Bytes>>),
}

/// One connection and its requests.
async fn visit(
    target: &Target,
    config: Arc<ClientConfig>,
    seen: &Seen,
    stop: &AtomicBool,
) -> Result<(), String> {
    let stream = connect(&config, target.address, &target.name)
        .await
        .map_err(|e| format!("connect: {e}"))?;
    seen.connections.fetch_add(1, Ordering::SeqCst);
    seen.serials.lock().unwrap().insert(serial(&stream));
    let io = TokioIo::new(stream);
    let mut sender = if target.h2 {
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(|e| format!("h2: {e}"))?;
        tokio::task::spawn(connection);
        Sender::H2(sender)
    } else {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|e| format!("h1: {e}"))?;
        tokio::task::spawn(connection);
        Sender::H1(sender)
    };
    for _ in 0..target.per_connection {
        if stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let Some(response) = ask(&mut sender, target).await? else { return Ok(()) };
        let status = response.status();
        let last = response.headers().get("connection").is_some_and(|v| v == "close");
        let body = response.into_body().collect().await.map_err(|e| format!("body: {e:?}"))?;
        if status != 200 {
            return Err(format!("status {status}: {:?}", body.to_bytes()));
        }
        seen.good.fetch_add(1, Ordering::SeqCst);
        if last {
            return Ok(());
        }
    }
    Ok(())
}

/// `None` when the server had ended the connection before the request left.
async fn ask(sender: &mut Sender, target: &Target) -> Result<Option<Response<Incoming>>, String> {
    let request = Request::builder();
    match sender {
        Sender::H1(sender) => {
            if sender.ready().await.is_err() {
                return Ok(None);
            }
            let request = request.uri(&target.path).header("host", &target.name);
            match sender.try_send_request(request.body(Empty::new()).unwrap()).await {
                Ok(response) => Ok(Some(response)),
                Err(mut error) => match error.take_message() {
                    Some(_unsent) => Ok(None),
                    None => Err(format!("request: {:?}", error.into_error())),
                },
            }
        }
        Sender::H2(sender) => {
            // A stream ended by the server's GOAWAY without an error was not processed, and is
            // to be sent again (RFC 9113, section 6.8).
            let unprocessed = "GoAway(b\"\", NO_ERROR, Remote)";
            if sender.ready().await.is_err() {
                return Ok(None);
            }
            let request = request.uri(format!("https://{}{}", target.name, target.path));
            match sender.try_send_request(request.body(Empty::new()).unwrap()).await {
                Ok(response) => Ok(Some(response)),
                Err(mut error) => match error.take_message() {
                    Some(_unsent) => Ok(None),
                    None => match format!("{:?}", error.into_error()) {
                        text if text.contains(unprocessed) => Ok(None),
                        text => Err(format!("request: {text}")),
                    },
                },
            }
        }
    }
}
