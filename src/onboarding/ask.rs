//! One question to whoever is to say whether a name may be onboarded, as Caddy asks it: `GET` with
//! `domain=NAME`, and only 200 is a yes.
//!
//! The body is not read, and nothing is followed elsewhere.

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use url::Url;

use super::policy::Refusal;
use crate::base::bounds::onboarding::ASK;
use crate::base::causes::with_causes;
use crate::base::trust;

/// Whether the one at `url` wants `name`.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn ask(url: &str, name: &str) -> Result<(), Refusal> {
    let asking = async {
        let mut url = Url::parse(url).map_err(|error| error.to_string())?;
        url.query_pairs_mut().append_pair("domain", name);
        let uri: Uri =
            url.as_str().parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        if uri.scheme_str() != Some("https") {
            return status(tcp, uri).await;
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
        status(https, uri).await
    };
    match timeout(ASK, asking).await {
        Ok(Ok(StatusCode::OK)) => Ok(()),
        Ok(Ok(other)) if other.is_server_error() => {
            Err(Refusal::Unasked(format!("the answer is {}", other.as_u16())))
        }
        Ok(Ok(other)) => Err(Refusal::Unwanted(format!("the answer is {}", other.as_u16()))),
        Ok(Err(reason)) => Err(Refusal::Unasked(reason)),
        Err(_) => Err(Refusal::Unasked(format!("none within {} s", ASK.as_secs()))),
    }
}

async fn status<C>(way: C, uri: Uri) -> Result<StatusCode, String>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(way);
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("keyward"));
    let answer = client.request(request).await.map_err(|error| with_causes(&error))?;
    Ok(answer.status())
}
