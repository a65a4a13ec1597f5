//! Somebody between keyward and a Pebble who passes everything on, except where a test has him
//! misbehave as CAs and networks do. He writes down what was asked.
#![allow(dead_code, reason = "each test that includes the kit uses a part of it")]

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use keyward::cert::chain::Chain;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::pebble::Pebble;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is refused with this status, type of problem and `Retry-After`, and never reaches the CA.
    Refuse(&'static str, &'static str, Option<u32>),
    /// Its nonce is refused, and another one given.
    BadNonce,
    /// The CA does as it is asked, and half of its answer arrives.
    Cut,
    /// The answer takes its time.
    Slow(Duration),
    /// There is no answer, and the connection stays open.
    Silent,
    /// A chain for another key.
    WrongChain,
    /// The body of the answer becomes another.
    Rewrite(Rewrite),
    /// The CA does as it is asked, and says that the order is invalid.
    Invalid,
}

/// What makes another body of one.
#[derive(Clone)]
pub(crate) struct Rewrite(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl Rewrite {
    pub(crate) fn new(make: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }
}

impl std::fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rewrite")
    }
}

/// A fault, for requests to paths that begin so, and how often.
type Script = Option<(&'static str, Fault, usize)>;

#[derive(Debug, Default)]
struct State {
    script: Script,
    asked: Vec<String>,
    hits: usize,
}

/// The one between; he goes on as long as the test does.
#[derive(Debug)]
pub(crate) struct Between {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Between {
    /// Listens in front of `pebble`, whose certificate he shows.
    pub(crate) fn start(pebble: &Pebble) -> Self {
        let dir = pebble.ca_root().parent().unwrap().to_owned();
        let target = pebble.directory();
        let target = target.rsplit(':').next().unwrap().trim_end_matches("/dir").parse().unwrap();
        let chain = Chain::from_pem(&std::fs::read(dir.join("server.pem")).unwrap()).unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_file(dir.join("server.key")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.to_rustls(), key.into())
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (config, state) = (Arc::new(config), Arc::new(Mutex::new(State::default())));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, state) = (Arc::clone(&config), Arc::clone(&shared));
                let root = dir.join("ca.pem");
                std::thread::spawn(move || serve(socket, config, &state, (target, &root)));
            }
        });
        Self { port, state }
    }

    /// URL of the directory through him.
    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Host and port, as issuers are shown.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Misbehaves so often from now on, and forgets what was asked before.
    pub(crate) fn misbehave(&self, path: &'static str, fault: Fault, times: usize) {
        let script = Some((path, fault, times));
        *self.state.lock().unwrap() = State { script, ..State::default() };
    }

    /// Passes everything on from now on.
    pub(crate) fn behave(&self) {
        self.state.lock().unwrap().script = None;
    }

    /// The paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().unwrap().asked.clone()
    }

    /// How often he misbehaved.
    pub(crate) fn hits(&self) -> usize {
        self.state.lock().unwrap().hits
    }
}

fn serve(
    socket: TcpStream,
    config: Arc<rustls::ServerConfig>,
    state: &Mutex<State>,
    (target, root): (u16, &Path),
) {
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let tls = rustls::ServerConnection::new(config).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, socket);
    let Some(request) = read_request(&mut stream) else { return };
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let fault = {
        let mut state = state.lock().unwrap();
        state.asked.push(path.clone());
        match &mut state.script {
            Some((prefix, fault, left)) if path.starts_with(*prefix) && *left > 0 => {
                *left -= 1;
                let fault = fault.clone();
                state.hits += 1;
                Some(fault)
            }
            _ => None,
        }
    };
    let pass_on = || {
        // Pebble makes its URLs from the Host it is asked for, which is ours.
        let request = text.replacen(" HTTP/1.1\r\n", " HTTP/1.0\r\n", 1);
        let answer = forward(target, root, request.as_bytes()).unwrap_or_default();
        answer.replacen("\r\n", "\r\nConnection: close\r\n", 1)
    };
    let answer = match fault {
        None => pass_on(),
        Some(Fault::Refuse(status, kind, after)) => {
            let after = after.map(|after| format!("Retry-After: {after}\r\n"));
            problem(status, kind, &after.unwrap_or_default())
        }
        Some(Fault::BadNonce) => {
            let host = format!("127.0.0.1:{target}");
            let wanted =
                format!("HEAD /nonce-plz HTTP/1.0\r\nHost: {host}\r\nUser-Agent: kit\r\n\r\n");
            let fresh = forward(target, root, wanted.as_bytes()).unwrap_or_default();
            let nonce = fresh.lines().find(|line| line.starts_with("Replay-Nonce: "));
            let nonce = format!("{}\r\n", nonce.unwrap_or_default());
            problem("400 Bad Request", "badNonce", &nonce)
        }
        Some(Fault::Cut) => {
            let whole = pass_on();
            whole.get(..whole.len() - whole.len() / 4).unwrap_or_default().to_owned()
        }
        Some(Fault::Slow(pause)) => {
            std::thread::sleep(pause);
            pass_on()
        }
        Some(Fault::Silent) => {
            std::thread::sleep(Duration::from_secs(120));
            return;
        }
        Some(Fault::WrongChain) => with_body(&pass_on(), &wrong_chain()),
        Some(Fault::Rewrite(Rewrite(make))) => {
            let answer = pass_on();
            let body = answer.split_once("\r\n\r\n").map(|(_, body)| make(body));
            with_body(&answer, &body.unwrap_or_default())
        }
        Some(Fault::Invalid) => invalid(&pass_on()),
    };
    // The client may hang up in the middle.
    let _ignored = stream.write_all(answer.as_bytes());
    stream.conn.send_close_notify();
    let _ignored = stream.flush();
}

fn problem(status: &str, kind: &str, headers: &str) -> String {
    let body = format!(
        r#"{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "as the test wants it"}}"#
    );
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: application/problem+json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The answer with another body.
fn with_body(answer: &str, body: &str) -> String {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
    let head = kept.collect::<Vec<_>>().join("\r\n");
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn wrong_chain() -> String {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
    params.self_signed(&pair).unwrap().pem()
}

/// An order as the CA sent it, but invalid.
fn invalid(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let Ok(mut order) = serde_json::from_str::<serde_json::Value>(body) else {
        return answer.to_owned();
    };
    order["status"] = "invalid".into();
    order["error"] = serde_json::json!({
        "type": "urn:ietf:params:acme:error:serverInternal", "detail": "as the test wants it",
        "status": 500,
    });
    with_body(answer, &order.to_string())
}

/// One request of HTTP/1.0 to the Pebble behind, and its answer as it comes.
fn forward(port: u16, root: &Path, request: &[u8]) -> Option<String> {
    let mut roots = rustls::RootCertStore::empty();
    for root in Chain::from_pem(&std::fs::read(PathBuf::from(root)).ok()?).ok()?.to_rustls() {
        roots.add(root).ok()?;
    }
    let config = rustls::ClientConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = rustls::ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().ok()?).ok()?;
    let socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut stream = rustls::StreamOwned::new(tls, socket);
    stream.write_all(request).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Reads one request with its body.
fn read_request(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let (mut request, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = request.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if request.len() >= end + 4 + length {
                return Some(request);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => request.extend_from_slice(&part[..count]),
        }
    }
}
