//! One `GET` over http or https, whole and within bounds.
//!
//! Nothing is followed elsewhere, and no connection is kept: whoever asks again asks rarely.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::BodyExt as _;
use http_body_util::Empty;
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

/// What came: a status, and the body of a 200.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; empty unless the status is 200 and it was wanted.
    pub body: Bytes,
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
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(within.connect));
    let asking = async {
        if uri.scheme_str() != Some("https") {
            return ask(tcp, uri, within.octets).await;
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
        ask(https, uri, within.octets).await
    };
    timeout(within.whole, asking)
        .await
        .unwrap_or_else(|_| Err(format!("it did not come within {} s", within.whole.as_secs())))
}

async fn ask<C>(way: C, uri: Uri, octets: u64) -> Result<Answer, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(way);
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("keyward"));
    let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
    let status = answer.status();
    if status != StatusCode::OK || octets == 0 {
        return Ok(Answer { status, body: Bytes::new() });
    }
    let most = usize::try_from(octets).unwrap_or(usize::MAX);
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(format!("it is longer than {octets} bytes"))
        }
        Err(error) => Err(with_causes(error.as_ref())),
    }
}
