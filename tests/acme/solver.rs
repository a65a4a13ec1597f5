//! A solver that really answers on two loopback ports, and counts.

use std::collections::HashMap;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keyward::cert::challenge::BoxFuture;
use keyward::cert::challenge::Challenge;
use keyward::cert::challenge::ChallengeType;
use keyward::cert::challenge::PresentError;
use keyward::cert::challenge::Presented;
use keyward::cert::challenge::Solver;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct TestSolver {
    answers: Arc<Answers>,
    pub(crate) http_port: u16,
    pub(crate) tls_port: u16,
}

#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Key authorizations by token.
    http: Mutex<HashMap<String, String>>,
    /// Digests by name.
    tls: Mutex<HashMap<String, [u8; 32]>>,
    pub(crate) presented: Mutex<Vec<ChallengeType>>,
    pub(crate) withdrawn: AtomicUsize,
    /// Presented, but answered wrongly.
    pub(crate) http_is_broken: AtomicBool,
    pub(crate) tls_is_broken: AtomicBool,
    /// Refuses to present TLS-ALPN-01 in this way.
    pub(crate) tls_refusal: Mutex<Option<PresentError>>,
    /// Told when a challenge was presented; the issuer then waits for ever if `hold` is set.
    pub(crate) told: Notify,
    pub(crate) hold: AtomicBool,
    /// Told when the CA came to look.
    pub(crate) visited: Notify,
}

impl TestSolver {
    pub(crate) fn start() -> Self {
        let answers = Arc::new(Answers::default());
        let http = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let tls = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let http_port = http.local_addr().unwrap().port();
        let tls_port = tls.local_addr().unwrap().port();
        serve(http, Arc::downgrade(&answers), answer_http);
        serve(tls, Arc::downgrade(&answers), answer_tls);
        Self { answers, http_port, tls_port }
    }

    pub(crate) fn answers(&self) -> &Arc<Answers> {
        &self.answers
    }
}

impl Answers {
    pub(crate) fn is_empty(&self) -> bool {
        self.http.lock().unwrap().is_empty() && self.tls.lock().unwrap().is_empty()
    }
}

fn serve(listener: TcpListener, answers: Weak<Answers>, answer: fn(TcpStream, &Arc<Answers>)) {
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let Some(answers) = answers.upgrade() else { return };
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            std::thread::spawn(move || answer(stream, &answers));
        }
    });
}

fn answer_http(mut stream: TcpStream, answers: &Arc<Answers>) {
    let mut head = Vec::new();
    let mut byte = [0; 512];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) | Err(_) => return,
            Ok(n) => head.extend_from_slice(&byte[..n]),
        }
    }
    answers.visited.notify_one();
    let head = String::from_utf8_lossy(&head);
    let token = head
        .strip_prefix("GET /.well-known/acme-challenge/")
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default();
    let found = answers.http.lock().unwrap().get(token).cloned();
    let (status, body) = match found {
        Some(_) if answers.http_is_broken.load(Ordering::SeqCst) => ("200 OK", "wrong".to_owned()),
        Some(body) => ("200 OK", body),
        None => ("404 Not Found", String::new()),
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let _ignored = stream.write_all(answer.as_bytes());
}

#[derive(Debug)]
struct Resolver(Arc<Answers>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_owned();
        let digest = *self.0.tls.lock().unwrap().get(&name)?;
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name]).unwrap();
        params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&digest)];
        let certificate = params.self_signed(&pair).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
        // Not `CertifiedKey::from_der`: it parses the leaf and stumbles over the critical extension.
        let key = rustls::crypto::ring::sign::any_supported_type(&key.into()).ok()?;
        Some(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
    }
}

fn answer_tls(mut stream: TcpStream, answers: &Arc<Answers>) {
    answers.visited.notify_one();
    if answers.tls_is_broken.load(Ordering::SeqCst) {
        return;
    }
    let mut config = rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(Arc::clone(answers))));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    while tls.is_handshaking() {
        if tls.complete_io(&mut stream).is_err() {
            return;
        }
    }
    tls.send_close_notify();
    let _ignored = tls.complete_io(&mut stream);
}

#[derive(Debug)]
struct Guard(Arc<Answers>, Challenge);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.withdrawn.fetch_add(1, Ordering::SeqCst);
        match &self.1 {
            Challenge::Http01 { token, .. } => {
                self.0.http.lock().unwrap().remove(token);
            }
            Challenge::TlsAlpn01 { name, .. } => {
                self.0.tls.lock().unwrap().remove(&name.to_string());
            }
        }
    }
}

impl Solver for TestSolver {
    fn present(&self, challenge: Challenge) -> BoxFuture<'_, Result<Presented, PresentError>> {
        Box::pin(async move {
            let answers = &self.answers;
            let refusal = answers.tls_refusal.lock().unwrap().clone();
            if let (Challenge::TlsAlpn01 { .. }, Some(refusal)) = (&challenge, refusal) {
                return Err(refusal);
            }
            let kind = match &challenge {
                Challenge::Http01 { token, key_authorization, .. } => {
                    answers.http.lock().unwrap().insert(token.clone(), key_authorization.clone());
                    ChallengeType::Http01
                }
                Challenge::TlsAlpn01 { name, digest } => {
                    answers.tls.lock().unwrap().insert(name.to_string(), *digest);
                    ChallengeType::TlsAlpn01
                }
            };
            answers.presented.lock().unwrap().push(kind);
            let guard: Presented = Box::new(Guard(Arc::clone(answers), challenge));
            answers.told.notify_one();
            if answers.hold.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(guard)
        })
    }
}
