//! One list, over HTTP or HTTPS, whole and within bounds.
//!
//! Nothing is followed elsewhere: the operator names where it is.

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

use crate::base::bounds::visitors::CLIENT_CRL_BYTES;
use crate::base::bounds::visitors::LIST_CONNECT;
use crate::base::bounds::visitors::LIST_EXCHANGE;
use crate::base::causes::with_causes;
use crate::base::trust;

/// What is at `url`; by https only from a server that the system trusts.
///
/// # Errors
/// In words, why there is nothing to be had.
pub(super) async fn get(url: &str) -> Result<Bytes, String> {
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(LIST_CONNECT));
    let asking = async {
        if uri.scheme_str() != Some("https") {
            return ask(tcp, uri).await;
        }
        // It reads files.
        let tls = tokio::task::spawn_blocking(|| trust::checked(None)).await;
        let tls = tls.map_err(|_| "the daemon is ending".to_owned())?;
        let tls = tls.map_err(|error| error.to_string())?;
        let https = HttpsConnectorBuilder::new()
            .with_tls_config((*tls).clone())
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        ask(https, uri).await
    };
    timeout(LIST_EXCHANGE, asking)
        .await
        .unwrap_or_else(|_| Err(format!("it did not come within {} s", LIST_EXCHANGE.as_secs())))
}

async fn ask<C>(way: C, uri: Uri) -> Result<Bytes, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(way);
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("keyward"));
    let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(format!("the answer is {}", answer.status().as_u16()));
    }
    let most = usize::try_from(CLIENT_CRL_BYTES).unwrap_or(usize::MAX);
    match Limited::new(answer.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(format!("it is longer than {CLIENT_CRL_BYTES} bytes"))
        }
        Err(error) => Err(with_causes(error.as_ref())),
    }
}
