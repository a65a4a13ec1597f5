//! `keyward rotate`: secrets replaced before their time.

use std::time::Duration;

use super::args_account::Rotate;
use super::args_account::RotateKeys;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::report::DONE;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::Status;
use crate::admin::wire::rotate;
use crate::admin::wire::rotate::AccountView;
use crate::admin::wire::rotate::MasterView;
use crate::admin::wire::rotate::RotatedKeys;
use crate::admin::wire::tickets::TicketsView;

/// `keyward rotate WHAT`
pub(super) fn rotate(client: &Client, what: &Rotate, out: &mut Out) -> Result<u8, Report> {
    match what {
        Rotate::Tickets => tickets(client, out),
        Rotate::Master { wait } => master(client, *wait, out),
        Rotate::Keys(which) => keys(client, which, out),
        Rotate::Account { ca } => account(client, ca, out),
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

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// `keyward rotate master [--wait]`
fn master(client: &Client, wait: bool, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post("/rotate/master")?;
    let begun: MasterView = answer.decode()?;
    if !wait {
        if out.json {
            out.line(String::from_utf8_lossy(&answer.0))?;
        } else {
            out.line(format_args!("the master key is now that of {}", begun.mark))?;
            out.line("what the former one sealed is being sealed anew; see: keyward status")?;
        }
        return Ok(DONE);
    }
    if !out.json {
        out.note(format_args!("the master key is now that of {}", begun.mark));
    }
    let mut told = None;
    loop {
        client.wait(async { tokio::time::sleep(LOOK).await });
        let status: Status = client.get("/status")?.decode()?;
        // While a vault takes the place of another, none says anything.
        let Some(master) = status.vault.master else { continue };
        // That the former key is gone is told below, and not by the same number again.
        let news = (master.resealed, master.trouble.clone());
        if told.as_ref() != Some(&news) && !out.json {
            out.note(format_args!("  {} records are sealed anew", master.resealed));
            if let Some(trouble) = &master.trouble {
                out.note(format_args!("  it does not go on: {}", plain(trouble)));
            }
        }
        if master.mark == begun.mark && !master.former_needed {
            if out.json {
                let text = serde_json::to_string(&master).unwrap_or_default();
                out.line(text)?;
            } else {
                out.line(format_args!(
                    "{} records are sealed under the master key of {}; the former one is gone",
                    master.resealed, master.mark
                ))?;
            }
            return Ok(DONE);
        }
        told = Some(news);
    }
}

/// `keyward rotate account [--ca NAME]`
fn account(client: &Client, ca: &str, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post(&format!("/rotate/account?ca={}", segment(ca)))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let view: AccountView = answer.decode()?;
    let short = |key: &str| key.chars().take(12).collect::<String>();
    out.line(format_args!(
        "the account {} has the key {} in the place of {}",
        plain(&view.account),
        short(&view.present),
        short(&view.former)
    ))?;
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
