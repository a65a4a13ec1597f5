//! One exchange over http or https, whole and within bounds.
//!
//! Nothing is followed elsewhere, and no connection is kept: whoever asks again asks rarely.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::causes::with_causes;
use super::trust;

/// The bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// To connect.
    pub connect: Duration,
    /// Until everything is there.
    pub whole: Duration,
    /// Octets of the body at most; with 0 it is not read.
    pub octets: u64,
}

/// What came: a status, and the body of a success.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; empty unless the status is one of success and it was wanted.
    pub body: Bytes,
    /// After how long to ask again, where the answer says so in seconds (RFC 9110, section 10.2.3).
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The body.
    ///
    /// # Errors
    /// In words, when the status is another than 200.
    pub fn ok(self) -> Result<Bytes, String> {
        if self.status == StatusCode::OK {
            Ok(self.body)
        } else {
            Err(format!("the answer is {}", self.status.as_u16()))
        }
    }
}

/// What is at `url`; by https only from a server that one of the PEM file `ca` vouches for, or without
/// it one that the system trusts.
///
/// # Errors
/// In words, why there is no answer.
pub async fn get(url: &str, ca: Option<&Path>, within: Within) -> Result<Answer, String> {
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let mut request = Request::new(Full::default());
    *request.uri_mut() = uri;
    send(request, ca, within).await
}

/// What the server says to `request`, which has a whole URL; whom it believes as [`get`] does.
///
/// # Errors
/// In words, why there is no answer.
pub async fn send(
    mut request: Request<Full<Bytes>>,
    ca: Option<&Path>,
    within: Within,
) -> Result<Answer, String> {
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("keyward"));
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(within.connect));
    let asking = async {
        if request.uri().scheme_str() != Some("https") {
            return ask(tcp, request, within.octets).await;
        }
        let ca: Option<PathBuf> = ca.map(Path::to_owned);
        // It reads files.
        let tls = tokio::task::spawn_blocking(move || trust::checked(ca.as_deref())).await;
        let tls = tls.map_err(|_| "the daemon is ending".to_owned())?;
        let tls = tls.map_err(|error| error.to_string())?;
        let https = HttpsConnectorBuilder::new()
            .with_tls_config((*tls).clone())
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        ask(https, request, within.octets).await
    };
    timeout(within.whole, asking)
        .await
        .unwrap_or_else(|_| Err(format!("it did not come within {} s", within.whole.as_secs())))
}

async fn ask<C>(way: C, request: Request<Full<Bytes>>, octets: u64) -> Result<Answer, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(way);
    let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
    let status = answer.status();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    if !status.is_success() || octets == 0 {
        return Ok(Answer { status, body: Bytes::new(), retry_after });
    }
    let most = usize::try_from(octets).unwrap_or(usize::MAX);
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(body) => Ok(Answer { status, body: body.to_bytes(), retry_after }),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(format!("it is longer than {octets} bytes"))
        }
        Err(error) => Err(with_causes(error.as_ref())),
    }
}
