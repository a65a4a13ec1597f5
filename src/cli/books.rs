//! `keyward pack`, `ledger` and `allowance`: what clients may have, and what became of it.

use super::args_books::Grant;
use super::args_books::Ledger as Which;
use super::args_books::Pack;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::LIST_MOST;
use crate::admin::wire::books::AllowanceView;
use crate::admin::wire::books::Allowances;
use crate::admin::wire::books::Ledger;
use crate::admin::wire::books::LedgerView;
use crate::admin::wire::books::PackOrder;
use crate::admin::wire::books::PackRevoked;
use crate::admin::wire::books::PackView;
use crate::admin::wire::books::Packs;
use crate::cert::client::ClientName;

const PACKS: [&str; 8] = ["ID", "CLIENT", "CLASS", "COUNT", "LEFT", "STATE", "UNTIL", "NOTE"];
const ENTRIES: [&str; 9] =
    ["SEQ", "WHEN", "CLIENT", "CLASS", "WHAT", "PACK", "LEFT", "CERTIFICATE", "NOTE"];
const BALANCES: [&str; 6] = ["CLIENT", "CLASS", "GRANTED", "LEFT", "ORDERED", "ISSUED"];

/// `keyward pack grant|list|revoke`
pub(super) fn pack(client: &Client, what: &Pack, out: &mut Out) -> Result<u8, Report> {
    match what {
        Pack::Grant(grant) => self::grant(client, grant, out),
        Pack::List { client: whose } => list(client, whose.as_ref(), out),
        Pack::Revoke { id } => revoke(client, *id, out),
    }
}

fn grant(client: &Client, what: &Grant, out: &mut Out) -> Result<u8, Report> {
    let order = PackOrder {
        client: what.client.to_string(),
        class: what.class.to_string(),
        count: what.count,
        until: what.until.map(Into::into),
        note: what.note.clone(),
    };
    let answer = client.post_json("/packs", &order)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let pack: PackView = answer.decode()?;
    let PackView { id, count, client, class, .. } = &pack;
    let count = render::count(*count, "certificate");
    let (client, class) = (plain(client), plain(class));
    let until = match pack.until {
        Some(until) => format!("may be had until {}", render::both(until, out)),
        None => "may be had for ever".to_owned(),
    };
    out.line(format_args!("pack {id}: {count} of class {class} for {client}, which {until}"))?;
    out.line(format_args!("  see: keyward allowance {client}"))?;
    Ok(DONE)
}

fn list(client: &Client, whose: Option<&ClientName>, out: &mut Out) -> Result<u8, Report> {
    let (mut after, mut first) = (None::<u64>, true);
    loop {
        let answer = client.get(&format!("/packs?limit={LIST_MOST}{}", page(whose, after)))?;
        let packs: Packs = answer.decode()?;
        if out.json {
            // A document for each page, as they come.
            out.line(String::from_utf8_lossy(&answer.0))?;
        } else if first && packs.packs.is_empty() {
            out.line("no pack was granted")?;
        } else {
            let mut table = render::table(out, if first { &PACKS } else { &[] });
            for pack in &packs.packs {
                table.add_row(row(pack, out));
            }
            render::print(&table, out)?;
        }
        first = false;
        after = packs.next;
        if after.is_none() {
            return Ok(DONE);
        }
    }
}

fn row(pack: &PackView, out: &Out) -> [String; 8] {
    [
        pack.id.to_string(),
        plain(&pack.client),
        plain(&pack.class),
        pack.count.to_string(),
        pack.left.to_string(),
        plain(&pack.state),
        pack.until.map_or_else(String::new, |until| render::both(until, out)),
        plain(&pack.note),
    ]
}

fn revoke(client: &Client, id: u64, out: &mut Out) -> Result<u8, Report> {
    let answer = client.delete(&format!("/packs/{id}"))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let PackRevoked { pack, taken } = answer.decode()?;
    let (whose, class) = (plain(&pack.client), plain(&pack.class));
    let taken = match taken {
        0 => format!("nothing was left of it, it is {}", plain(&pack.state)),
        taken => format!("{} of class {class} taken back", render::count(taken, "certificate")),
    };
    out.line(format_args!("pack {id} of {whose}: {taken}"))?;
    Ok(DONE)
}

/// `keyward ledger [CLIENT] [--after SEQ] [--limit N | --all]`
pub(super) fn ledger(client: &Client, which: &Which, out: &mut Out) -> Result<u8, Report> {
    let mut left = if which.all { usize::MAX } else { which.limit.unwrap_or(LIST_MOST) };
    let (mut after, mut first) = (which.after, true);
    loop {
        let limit = left.min(LIST_MOST);
        let page = page(which.client.as_ref(), Some(after));
        let answer = client.get(&format!("/ledger?limit={limit}{page}"))?;
        let ledger: Ledger = answer.decode()?;
        left = left.saturating_sub(ledger.entries.len());
        if out.json {
            // A document for each page, as they come.
            out.line(String::from_utf8_lossy(&answer.0))?;
        } else if first && ledger.entries.is_empty() {
            out.line("nothing stands in the ledger")?;
        } else {
            let mut table = render::table(out, if first { &ENTRIES } else { &[] });
            for entry in &ledger.entries {
                table.add_row(line(entry, out));
            }
            render::print(&table, out)?;
        }
        first = false;
        let Some(next) = ledger.next else { return Ok(DONE) };
        after = next;
        if left == 0 {
            if !out.json {
                out.note(format_args!("there is more: --after {after}, or --all"));
            }
            return Ok(DONE);
        }
    }
}

fn line(entry: &LedgerView, out: &Out) -> [String; 9] {
    let sign = match entry.what.as_str() {
        "granted" | "refunded" => "+",
        "reserved" | "expired" | "revoked" => "-",
        _ => "",
    };
    [
        entry.seq.to_string(),
        render::local(entry.at, &out.zone),
        plain(&entry.client),
        plain(&entry.balance.class),
        format!("{} {sign}{}", plain(&entry.what), entry.amount),
        entry.pack.map_or_else(|| "free".to_owned(), |id| id.to_string()),
        format!("{} of {}", entry.balance.available, entry.balance.granted),
        plain(entry.certificate.as_deref().unwrap_or_default()),
        plain(&entry.note),
    ]
}

/// `keyward allowance [CLIENT]`
pub(super) fn allowance(
    client: &Client,
    whose: Option<&ClientName>,
    out: &mut Out,
) -> Result<u8, Report> {
    if let Some(whose) = whose {
        let answer = client.get(&format!("/allowances/{}", segment(whose.as_str())))?;
        if out.json {
            return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
        }
        let view: AllowanceView = answer.decode()?;
        return balances(&[view], true, out).map(|()| DONE);
    }
    let (mut after, mut first) = (None::<String>, true);
    loop {
        let from = after.map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
        let answer = client.get(&format!("/allowances?limit={LIST_MOST}{from}"))?;
        let page: Allowances = answer.decode()?;
        if out.json {
            out.line(String::from_utf8_lossy(&answer.0))?;
        } else if first && page.clients.is_empty() {
            out.line("no client asked for a certificate yet, and none was granted a pack")?;
        } else {
            balances(&page.clients, first, out)?;
        }
        first = false;
        after = page.next;
        if after.is_none() {
            return Ok(DONE);
        }
    }
}

fn balances(clients: &[AllowanceView], first: bool, out: &mut Out) -> Result<(), Report> {
    let mut table = render::table(out, if first { &BALANCES } else { &[] });
    for client in clients {
        for balance in &client.classes {
            table.add_row([
                plain(&client.client),
                plain(&balance.class),
                balance.granted.to_string(),
                balance.available.to_string(),
                balance.reserved.to_string(),
                balance.consumed.to_string(),
            ]);
        }
    }
    render::print(&table, out)
}

fn page(whose: Option<&ClientName>, after: Option<u64>) -> String {
    let whose = whose.map(|whose| format!("&client={}", segment(whose.as_str())));
    let after = after.map(|after| format!("&after={after}"));
    whose.into_iter().chain(after).collect()
}
