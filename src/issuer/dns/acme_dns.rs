//! acme-dns: one name for which a server of that kind takes new values over HTTP.
//!
//! The server keeps the two newest values of a name and has no way to remove one.

use std::time::Duration;

use dns_update::http::HttpClientBuilder;
use serde::Serialize;

use super::secret::Known;
use super::updater::words;
use crate::cert::zone::ZoneChange;
use crate::cert::zone::ZoneRecord;

/// For the whole exchange.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Update<'a> {
    subdomain: &'a str,
    txt: &'a str,
}

pub(super) async fn change(
    known: &Known,
    what: ZoneChange,
    record: &ZoneRecord,
) -> Result<(), String> {
    if what == ZoneChange::Remove {
        return Ok(());
    }
    let client = HttpClientBuilder::new()
        .with_header("X-Api-User", known.need("username")?)
        .with_header("X-Api-Key", known.need("password")?)
        .with_timeout(Some(PATIENCE))
        .build();
    let url = format!("{}/update", known.need("server")?.trim_end_matches('/'));
    let update = Update { subdomain: known.need("subdomain")?, txt: &record.value };
    let request = client.post(url).with_body(update).map_err(|error| words(&error))?;
    request.send_raw().await.map(drop).map_err(|error| words(&error))
}
