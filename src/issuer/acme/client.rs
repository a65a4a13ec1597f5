//! The way to the CA: one bounded HTTPS exchange at a time, and instant-acme's view of it.
//!
//! Follows no redirect and retries nothing. Every refusal of the CA becomes a [`CaError`] that
//! still knows the status and `Retry-After`, which instant-acme's own errors do not.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header::USER_AGENT;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use instant_acme::BodyWrapper;
use instant_acme::BytesResponse;
use instant_acme::HttpClient;
use instant_acme::Problem;
use rustls::ClientConfig;
use rustls::RootCertStore;

use super::directory::Directory;
use super::jws::Signatory;
use super::retry_after::RetryAfter;
use crate::base::bounds;
use crate::base::causes::with_causes;
use crate::base::tls;
use crate::cert::chain::Chain;
use crate::cert::failure::Failure;
use crate::cert::failure::FailureKind;

/// How keyward names itself to a CA (RFC 8555, section 6.1).
const AGENT: &str = concat!("keyward/", env!("CARGO_PKG_VERSION"));

/// The problem type that asks for the same request with another nonce (RFC 8555, section 6.5).
pub(super) const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";

/// What came instead of an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaError {
    /// No connection, no trust, or the connection ended early.
    #[error("{0}")]
    Transport(String),
    /// The whole exchange took too long.
    #[error("no answer within {} seconds", bounds::CA_EXCHANGE.as_secs())]
    Deadline,
    /// The body is larger than any sensible answer.
    #[error("the answer is larger than {} bytes", bounds::CA_ANSWER)]
    TooLarge,
    /// A status of 400 or above.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The vault did not sign it, so nothing was sent.
    #[error("{0}")]
    Unsigned(String),
}

/// A status of 400 or above, and what came with it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<RetryAfter>,
    /// The problem document, if the body is one.
    pub(super) problem: Option<Problem>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.problem {
            Some(problem) => write!(f, "{}: {problem}", self.status),
            None => write!(f, "{}", self.status),
        }
    }
}

/// A head and a whole body.
pub(super) type Answer = (http::response::Parts, Bytes);

/// Speaks HTTPS with the CA. Connections are kept and shared.
#[derive(Clone, Debug)]
pub(super) struct CaClient {
    http: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

impl CaClient {
    /// Trusts the roots in the PEM file `ca_root` and nothing else, or else the system's.
    ///
    /// Reads files: not for an async thread.
    pub(super) fn open(ca_root: Option<&Path>) -> Result<Self, Failure> {
        let roots = match ca_root {
            Some(path) => roots_of_file(path)?,
            None => roots_of_system()?,
        };
        let tls = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(FailureKind::Unreachable, error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(bounds::CA_CONNECT));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(bounds::ORDERS_AT_ONCE)
            .build(https);
        Ok(Self { http })
    }

    /// Gets `url`; a status of 400 or above is an error.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, CaError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(url)
            .body(BodyWrapper::default())
            .map_err(|error| CaError::Transport(format!("{url}: {error}")))?;
        let (parts, body) = self.exchange(request).await?;
        refuse(parts, body)
    }

    async fn exchange(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Answer, CaError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let exchange = async {
            let response = self
                .http
                .request(request)
                .await
                .map_err(|e| CaError::Transport(with_causes(&e)))?;
            let (parts, body) = response.into_parts();
            match Limited::new(body, bounds::CA_ANSWER).collect().await {
                Ok(body) => Ok((parts, body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(CaError::TooLarge),
                Err(error) => Err(CaError::Transport(with_causes(error.as_ref()))),
            }
        };
        tokio::time::timeout(bounds::CA_EXCHANGE, exchange).await.unwrap_or(Err(CaError::Deadline))
    }
}

/// The answer, unless its status is 400 or above.
fn refuse(parts: http::response::Parts, body: Bytes) -> Result<Answer, CaError> {
    if !parts.status.is_client_error() && !parts.status.is_server_error() {
        return Ok((parts, body));
    }
    Err(CaError::Refused(Box::new(Refusal {
        status: parts.status,
        retry_after: retry_after(&parts.headers),
        problem: serde_json::from_slice(&body).ok(),
    })))
}

/// The `Retry-After` of an answer.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<RetryAfter> {
    RetryAfter::parse(headers.get(http::header::RETRY_AFTER)?.to_str().ok()?)
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, Failure> {
    let bad = |reason: String| {
        Failure::new(FailureKind::Unreachable, format!("ca_root {}: {reason}", path.display()))
    };
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let chain = Chain::from_pem(&pem).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for root in chain.to_rustls() {
        roots.add(root).map_err(|error| bad(error.to_string()))?;
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let detail = "the system has no trusted roots; install the package ca-certificates";
        return Err(Failure::new(FailureKind::Unreachable, detail));
    }
    Ok(roots)
}

/// What the CA said about polling in its newest answer.
pub(super) type Hint = Arc<Mutex<Option<RetryAfter>>>;

/// The client of one job, as instant-acme wants it.
///
/// Answers the request for the directory from memory, because instant-acme fetches it anew for
/// every account object. What the account asks is signed here, by the vault.
#[derive(Debug)]
pub(super) struct JobClient {
    ca: CaClient,
    signatory: Arc<Signatory>,
    directory: Arc<Directory>,
    hint: Hint,
}

impl JobClient {
    pub(super) const fn new(
        ca: CaClient,
        signatory: Arc<Signatory>,
        directory: Arc<Directory>,
        hint: Hint,
    ) -> Self {
        Self { ca, signatory, directory, hint }
    }
}

impl HttpClient for JobClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        if request.method() == Method::GET && *request.uri() == *self.directory.url {
            let body = self.directory.body.clone();
            return Box::pin(async { Ok(BytesResponse::from(Response::new(Full::new(body)))) });
        }
        let (ca, hint) = (self.ca.clone(), Arc::clone(&self.hint));
        let (signatory, directory) = (Arc::clone(&self.signatory), Arc::clone(&self.directory));
        Box::pin(async move {
            let request = signed(signatory, request).await.map_err(wrap)?;
            let (parts, body) = ca.exchange(request).await.map_err(wrap)?;
            set_hint(&hint, retry_after(&parts.headers));
            if !is_bad_nonce(parts.status, &body) {
                let (parts, body) = refuse(parts, body).map_err(wrap)?;
                directory.learn(&body);
                return Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))));
            }
            // instant-acme takes the fresh nonce from this answer and tries again by itself.
            Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))))
        })
    }
}

/// The request with the signature of the account; one without a body has none.
async fn signed(
    signatory: Arc<Signatory>,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Request<BodyWrapper<Bytes>>, CaError> {
    if request.method() != Method::POST {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await;
    let body = body.to_bytes();
    let signed = tokio::task::spawn_blocking(move || signatory.sign(&body)).await;
    let signed = signed.unwrap_or_else(|_| Err("the runtime is ending".to_owned()));
    let signed = signed.map_err(CaError::Unsigned)?;
    Ok(Request::from_parts(head, BodyWrapper::from(signed)))
}

fn is_bad_nonce(status: StatusCode, body: &Bytes) -> bool {
    status == StatusCode::BAD_REQUEST
        && serde_json::from_slice::<Problem>(body)
            .is_ok_and(|problem| problem.r#type.as_deref() == Some(BAD_NONCE))
}

fn wrap(error: CaError) -> instant_acme::Error {
    instant_acme::Error::Other(Box::new(error))
}

fn set_hint(hint: &Hint, value: Option<RetryAfter>) {
    match hint.lock() {
        Ok(mut held) => *held = value,
        Err(poisoned) => *poisoned.into_inner() = value,
    }
}

/// Takes the newest hint.
pub(super) fn take_hint(hint: &Hint) -> Option<RetryAfter> {
    match hint.lock() {
        Ok(mut held) => held.take(),
        Err(poisoned) => poisoned.into_inner().take(),
    }
}
