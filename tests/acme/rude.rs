//! A CA that misbehaves on the wire: each answer is bounded, classified, and never a panic.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use keyward::base::Clock as _;
use keyward::base::SystemClock;
use keyward::cert::challenge::ChallengeType;
use keyward::cert::failure::Failure;
use keyward::cert::failure::FailureKind;
use keyward::cert::failure::Remedy;
use keyward::cert::identifier::Identifier;
use keyward::cert::key::KeyAlgorithm;
use keyward::cert::key::KeyUsage;
use keyward::cert::ports::Job;
use keyward::cert::spec::IssuerName;
use keyward::cert::spec::Role;
use keyward::cert::spec::Specification;
use keyward::config::Acme;
use keyward::issuer::AcmeIssuer;
use keyward::issuer::AcmeOptions;

use crate::doubles::MemoryBook;
use crate::doubles::Steps;
use crate::doubles::Vault;
use crate::rig::obtain_by;
use crate::solver::TestSolver;

/// Serves `answer`, as it is, to every request, over TLS; returns the port and the heads seen.
fn serve(dir: &std::path::Path, answer: Vec<u8>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&pair).unwrap();
    std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(keyward::base::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, socket);
            let mut head = [0; 4096];
            let Ok(length) = stream.read(&mut head) else { continue };
            seen.lock().unwrap().push(String::from_utf8_lossy(&head[..length]).into_owned());
            // The client may hang up in the middle: that is what one of the cases is about.
            let _ignored = stream.write_all(&answer);
            stream.conn.send_close_notify();
            let _ignored = stream.flush();
        }
    });
    (port, heads)
}

async fn meet(answer: impl Into<Vec<u8>>) -> (Failure, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let (port, heads) = serve(dir.path(), answer.into());
    let vault = Arc::new(Vault::default());
    let config = Acme {
        name: "acme".to_owned(),
        directory: format!("https://127.0.0.1:{port}/dir"),
        contact: Vec::new(),
        accept_terms: true,
        challenges: vec![ChallengeType::Http01],
        name_servers: vec![],
        ca_root: Some(dir.path().join("ca.pem")),
        profile: None,
        eab: None,
        preferred_chain: None,
        limits: keyward::cert::limits::Limits::default(),
        renewal_info: true,
        take_over_left: 25,
    };
    let issuer = AcmeIssuer::new(AcmeOptions {
        config: config.clone(),
        clock: Arc::new(SystemClock),
        book: Arc::new(MemoryBook::default()),
        accounts: Arc::clone(&vault) as _,
        signing: Arc::clone(&vault) as _,
        solver: Arc::new(TestSolver::start()),
        dns: None,
        has_http: true,
        has_tls: false,
    });
    let names = vec![Identifier::parse("shop.example").unwrap()];
    let name = IssuerName::Acme(config.directory);
    let spec = Specification::new(names, name, KeyAlgorithm::P256, None, Role::Primary);
    let key = vault.make(KeyAlgorithm::P256, KeyUsage::Tls);
    let job = Job {
        spec,
        key: key.into(),
        order: None,
        resumed: false,
        taken: Vec::new(),
        replaces: None,
        attempt: 0,
        before: None,
        challenge: None,
        preferred_chain: None,
    };
    let failure = obtain_by(&issuer, &job, &Steps::default()).await.unwrap_err();
    let heads = heads.lock().unwrap().clone();
    (failure, heads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_of_a_busy_ca_becomes_the_remedy() {
    let before = SystemClock.now();
    let busy =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\nContent-Length: 4\r\n\r\nbusy";
    let (failure, heads) = meet(busy).await;
    assert_eq!(failure.kind, FailureKind::CaFault);
    let Remedy::RetryAfter(at) = failure.remedy else { panic!("{failure:?}") };
    assert!((120..=150).contains(&at.since(before).as_secs()), "{at}");
    let agent = format!("user-agent: keyward/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(heads[0].to_ascii_lowercase().contains(&agent), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_with_a_problem_document_keeps_its_words() {
    let body = r#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too\r\nmany"}"#;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: Wed, 21 Oct 2065 07:28:00 GMT\r\n\
         Content-Type: application/problem+json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let (failure, _) = meet(answer).await;
    assert_eq!((failure.kind, failure.detail.as_str()), (FailureKind::RateLimited, "too many"));
    let Remedy::RetryAfter(at) = failure.remedy else { panic!("{failure:?}") };
    let wait = at.since(SystemClock.now());
    assert!(wait <= Duration::from_secs(7 * 24 * 3600), "bounded: {wait:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    answer.resize(answer.len() + 3 * 1024 * 1024, b' ');
    let (failure, _) = meet(answer).await;
    assert_eq!(failure.kind, FailureKind::CaFault);
    assert_eq!(failure.detail, "the answer is larger than 1048576 bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_cut_short_or_senseless_is_told_apart() {
    let (failure, _) = meet("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await;
    assert_eq!((failure.kind, failure.remedy), (FailureKind::Unreachable, Remedy::Retry));
    let (failure, _) = meet("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>").await;
    assert_eq!((failure.kind, failure.remedy), (FailureKind::CaFault, Remedy::Retry));
    assert!(failure.detail.contains("does not parse"), "{failure}");
    let (failure, _) = meet("220 mail.example ESMTP\r\n").await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    // A redirect is not followed: a directory that moved is for the operator to see.
    let moved = "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let (failure, _) = meet(moved).await;
    assert_eq!(failure.kind, FailureKind::CaFault);
}
