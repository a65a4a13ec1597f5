//! `keyward switch`, and what `show` tells of two certificates of a site.

use super::args_bring::Switch;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::render::Fields;
use super::report::DONE;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::CertificateView;
use crate::admin::wire::standby::StandbyView;
use crate::admin::wire::standby::SwitchOrder;
use crate::admin::wire::standby::SwitchedView;

/// `keyward switch NAME [--back]`
pub(super) fn switch(client: &Client, what: &Switch, out: &mut Out) -> Result<u8, Report> {
    let order = SwitchOrder { back: what.back };
    let path = format!("/certificates/{}/switch", segment(&what.name));
    let answer = client.post_json(&path, &order)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let switched: SwitchedView = answer.decode()?;
    for served in &switched.served {
        out.line(said(served, switched.changed, out))?;
    }
    Ok(DONE)
}

fn said(served: &CertificateView, changed: bool, out: &Out) -> String {
    let name = plain(served.names.first().map_or("", String::as_str));
    let serial = served.installed.as_ref().map_or("", |installed| installed.serial.as_str());
    let issuer = plain(&served.issuer);
    let standby = served.care.standby.as_ref();
    let by = match standby.and_then(|standby| standby.other.as_ref()) {
        Some(other) => format!("; the one of {} stands by", plain(&other.issuer)),
        None => String::new(),
    };
    if changed {
        return format!("{name} is served under serial {serial} from {issuer} now{by}");
    }
    let since = standby.map(|standby| format!(" since {}", render::both(standby.since, out)));
    let since = since.unwrap_or_default();
    format!("{name} is served under serial {serial} from {issuer} already{since}{by}")
}

/// Which of two it is, and how the other one is.
pub(super) fn stands(standby: &StandbyView, fields: &mut Fields, out: &Out) {
    let since = render::both(standby.since, out);
    let role = if standby.shown { "served" } else { "stands by, not served" };
    fields.add("standby", format!("{role} since {since}: {}", standby.reason));
    let id = &standby.beside;
    let Some(other) = &standby.other else { return };
    let fresh = match other.not_after {
        Some(until) => format!(", fresh until {}", render::both(until, out)),
        None => ", not issued yet".to_owned(),
    };
    let role = if standby.shown { "stands by" } else { "is served" };
    fields.add("", format!("{} {role}: {}, id {id}{fresh}", other.issuer, other.condition));
}
