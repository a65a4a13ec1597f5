//! `keyward onboard`, `offboard` and `onboarded`: names that are in no site.

use super::act::Waiting;
use super::args_bring::Onboard;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::LIST_MOST;
use crate::admin::wire::Renewal;
use crate::admin::wire::guests::GuestView;
use crate::admin::wire::guests::Guests;
use crate::admin::wire::guests::OnboardOrder;

const TITLES: [&str; 5] = ["NAME", "STATE", "SINCE", "ORIGIN", "PROBLEM"];

/// `keyward onboard NAME [--origin URL] [--wait]`
pub(super) fn onboard(client: &Client, what: &Onboard, out: &mut Out) -> Result<u8, Report> {
    let order = OnboardOrder { name: what.name.clone(), origin: what.origin.clone() };
    let answer = client.post_json("/onboarded", &order)?;
    let renewal: Renewal = answer.decode()?;
    let name = plain(renewal.certificate.names.first().map_or("", String::as_str));
    let there = renewal.certificate.installed.is_some();
    if what.wait && !there {
        let waiting = Waiting { what: "issued", done: &["installed"] };
        return waiting.wait(client, &renewal, out);
    }
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    if there {
        out.line(format_args!("{name} is onboarded and has a certificate"))?;
    } else {
        out.line(format_args!("{name} is onboarded, and a certificate was ordered"))?;
        out.line(format_args!("  see: keyward why {name}, or keyward events --follow"))?;
    }
    Ok(DONE)
}

/// `keyward offboard NAME [--may-return]`
pub(super) fn offboard(
    client: &Client,
    name: &str,
    may_return: bool,
    out: &mut Out,
) -> Result<u8, Report> {
    let path = format!("/onboarded/{}?may_return={may_return}", segment(name));
    let answer = client.delete(&path)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let name = plain(name);
    out.line(format_args!("{name} is not served any more; its certificate and keys are deleted"))?;
    if !may_return {
        out.line(format_args!("  it does not come back by itself: keyward onboard {name}"))?;
    }
    Ok(DONE)
}

/// `keyward onboarded [--limit N | --all]`
pub(super) fn onboarded(
    client: &Client,
    limit: Option<usize>,
    all: bool,
    out: &mut Out,
) -> Result<u8, Report> {
    let mut left = if all { usize::MAX } else { limit.unwrap_or(LIST_MOST) };
    let (mut after, mut first) = (None::<String>, true);
    loop {
        let from = after.map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let limit = left.min(LIST_MOST);
        let answer = client.get(&format!("/onboarded?limit={limit}{from}"))?;
        let page: Guests = answer.decode()?;
        left = left.saturating_sub(page.names.len());
        if out.json {
            // A document for each page, as they come.
            out.line(String::from_utf8_lossy(&answer.0))?;
        } else {
            told(&page, first, out)?;
        }
        first = false;
        after = page.next;
        if after.is_none() || left == 0 || page.names.is_empty() {
            if after.is_some() && !out.json {
                let total = page.total;
                out.note(format_args!("there are {total}: keyward onboarded --all"));
            }
            return Ok(DONE);
        }
    }
}

fn told(page: &Guests, first: bool, out: &mut Out) -> Result<(), Report> {
    if first && page.names.is_empty() {
        return out.line("no name is onboarded");
    }
    if first && !page.on {
        out.note(format_args!("none of them is served: [onboarding] has no target"));
    }
    let titles = if first { &TITLES[..] } else { &[] };
    let mut table = render::table(out, titles);
    for guest in &page.names {
        table.add_row(row(guest));
    }
    render::print(&table, out)
}

fn row(guest: &GuestView) -> [String; 5] {
    let failure = guest.certificate.as_ref().and_then(|one| one.failure.as_ref());
    let state = match &guest.certificate {
        _ if guest.barred => "offboarded",
        None => "no certificate",
        Some(one) if one.installed.is_none() && failure.is_none() => "ordered",
        Some(one) if one.installed.is_none() => "failed",
        Some(_) if failure.is_some() => "served, not renewed",
        Some(_) => "served",
    };
    [
        plain(&guest.name),
        state.to_owned(),
        guest.since.to_string(),
        guest.origin.as_deref().map_or_else(|| "-".to_owned(), plain),
        failure.map_or_else(|| "-".to_owned(), |failure| plain(&failure.detail)),
    ]
}
