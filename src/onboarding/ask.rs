//! One question to whoever is to say whether a name may be onboarded, as Caddy asks it: `GET` with
//! `domain=NAME`, and only 200 is a yes.
//!
//! The body is not read, and nothing is followed elsewhere.

use http::StatusCode;
use url::Url;

use super::policy::Refusal;
use crate::base::bounds::onboarding::ASK;
use crate::base::exchange::Within;
use crate::base::exchange::get;

/// Whether the one at `url` wants `name`.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn ask(url: &str, name: &str) -> Result<(), Refusal> {
    let mut url = Url::parse(url).map_err(|error| Refusal::Unasked(error.to_string()))?;
    url.query_pairs_mut().append_pair("domain", name);
    let within = Within { connect: ASK, whole: ASK, octets: 0 };
    let status = match get(url.as_str(), None, within).await {
        Ok(answer) => answer.status,
        Err(reason) => return Err(Refusal::Unasked(reason)),
    };
    let told = || format!("the answer is {}", status.as_u16());
    match status {
        StatusCode::OK => Ok(()),
        other if other.is_server_error() => Err(Refusal::Unasked(told())),
        _ => Err(Refusal::Unwanted(told())),
    }
}
