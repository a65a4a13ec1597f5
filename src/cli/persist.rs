//! `keyward dns-persist`: the records that prove names for good, to be set once.

use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::persist::Persist;

/// `keyward dns-persist NAME`
pub(super) fn persist(client: &Client, name: &str, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get(&format!("/dns-persist/{}", segment(name)))?;
    let persist: Persist = answer.decode()?;
    let lacks = persist.records.iter().any(|record| record.good == Some(false));
    let status = if lacks { FAILED } else { DONE };
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| status);
    }
    for record in &persist.records {
        out.line(format_args!("{}. TXT \"{}\"", plain(&record.place), plain(&record.value)))?;
        let lacking = record.lacking.as_deref().map(plain).unwrap_or_default();
        let word = match (record.good, record.until) {
            (Some(true), None) => "it is there".to_owned(),
            (Some(true), Some(until)) => format!("it is there, until {}", render::both(until, out)),
            (Some(false), _) => lacking,
            (None, _) => format!("it cannot be seen from here: {lacking}"),
        };
        out.line(format_args!("  {}: {word}", plain(&record.name)))?;
    }
    if persist.records.is_empty() {
        out.line("none of its names can be proven by a record")?;
    }
    Ok(status)
}
