//! `keyward rotate`: secrets replaced before their time.

use super::args::Rotate;
use super::args::RotateKeys;
use super::connect::Client;
use super::out::Out;
use super::report::DONE;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::rotate;
use crate::admin::wire::rotate::RotatedKeys;
use crate::admin::wire::tickets::TicketsView;

/// `keyward rotate WHAT`
pub(super) fn rotate(client: &Client, what: &Rotate, out: &mut Out) -> Result<u8, Report> {
    match what {
        Rotate::Tickets => tickets(client, out),
        Rotate::Keys(which) => keys(client, which, out),
    }
}

fn tickets(client: &Client, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post("/rotate/tickets")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let view: TicketsView = answer.decode()?;
    let number = view.epoch.unwrap_or_default();
    out.line(format_args!("the ticket keys were replaced, number {number} is in use"))?;
    out.line("  every client shakes hands in full once; no older ticket is accepted")?;
    Ok(DONE)
}

/// `keyward rotate keys NAME... | --all [--now]`
fn keys(client: &Client, which: &RotateKeys, out: &mut Out) -> Result<u8, Report> {
    let order =
        rotate::RotateKeys { certificates: which.names.clone(), all: which.all, now: which.now };
    let answer = client.post_json("/rotate/keys", &order)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let rotated = answer.decode::<RotatedKeys>()?.certificates;
    if rotated.is_empty() {
        out.line("there is no certificate that is renewed here")?;
    }
    for one in &rotated {
        let first = plain(one.certificate.names.first().map_or("", String::as_str));
        out.line(match one.when.as_str() {
            "now" => format!("{first} is being renewed with a new key"),
            "at-work" => format!(
                "{first} is being ordered already, maybe with its former key; a new one comes \
                 with the renewal after: ask again when it ended"
            ),
            _ => format!("{first} gets a new key at its next renewal"),
        })?;
    }
    if rotated.iter().any(|one| one.when == "now") {
        out.line("  see: keyward events --follow")?;
    }
    Ok(DONE)
}
