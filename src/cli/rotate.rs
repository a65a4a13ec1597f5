//! `keyward rotate`: secrets replaced before their time.

use super::args::Rotate;
use super::connect::Client;
use super::out::Out;
use super::report::DONE;
use super::report::Report;
use crate::admin::wire::tickets::TicketsView;

/// `keyward rotate WHAT`
pub(super) fn rotate(client: &Client, what: &Rotate, out: &mut Out) -> Result<u8, Report> {
    match what {
        Rotate::Tickets => tickets(client, out),
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
