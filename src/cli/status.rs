//! `keyward status`: how the daemon is, the few figures that matter in words, all of them on demand.

use super::connect::Client;
use super::out::Out;
use super::render;
use super::render::Fields;
use super::report::DONE;
use super::report::Report;
use crate::admin::wire::Counts;
use crate::admin::wire::Figures;
use crate::admin::wire::ListenerView;
use crate::admin::wire::Status;
use crate::admin::wire::VaultView;
use crate::admin::wire::rotate::MasterView;
use crate::admin::wire::terms::DoorView;

/// `keyward status [--verbose]`
pub(super) fn status(client: &Client, verbose: bool, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get("/status")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let status: Status = answer.decode()?;
    let mut fields = Fields::default();
    let since = render::local(status.started_at, &out.zone);
    let up = render::span(status.uptime_seconds);
    fields.add(
        "keyward",
        format!("{}, process {}, up {up} since {since}", status.version, status.pid),
    );
    fields.add_if("degraded", status.degraded.as_deref());
    for alarm in &status.vault.alarms {
        fields.add("alarm", alarm);
    }
    let source = status.config.source.as_deref().unwrap_or("embedded defaults");
    let applied = render::both(status.config.applied_at, out);
    fields.add("configuration", format!("{source}, applied {applied}"));
    fields.add_if("refused", status.config.refused.as_deref());
    fields.add("sites", status.sites.to_string());
    fields.add("certificates", certificates(&status.certificates));
    fields.add_if("for clients", for_clients(&status.certificates));
    for listener in &status.listeners {
        fields.add("listening", listening(listener));
    }
    fields.add_if("balancers", balancers(&status.door));
    fields.add_if("tls", agreements(&status.door));
    fields.add_if("clients", visitors(&status.door));
    fields.add("kernel", kernel(&status.kernel, &status.edge));
    fields.add("traffic", traffic(&status.edge));
    fields.add("tickets", tickets(&status, out));
    fields.add("walls", walls(&status.walls));
    fields.add("vault", vault(&status.vault));
    for busy in &status.vault.busiest {
        let whose = busy.name.as_deref().unwrap_or("a former certificate");
        fields.add("busy key", format!("{} of {whose}: {}", busy.key, render::signing(busy, out)));
    }
    fields.add_if("key cache", key_cache(&status.vault.figures));
    fields.add("vault walls", walls(&status.vault.walls));
    fields.add_if("walls wanted", status.vault.required.as_deref());
    fields.add_if("master key", status.vault.master_key.as_deref());
    fields.add_if("former one", status.vault.master.as_ref().and_then(former));
    let next = status.next_wake.map(|at| render::both(at, out));
    fields.add("next", next.as_deref().unwrap_or("nothing"));
    for notice in &status.notices {
        fields.add("notice", notice);
    }
    if verbose {
        fields.add_if("vault channel", status.vault.channel.as_deref());
        for (whose, figures) in [("vault", &status.vault.figures), ("door", &status.edge)] {
            for (name, number) in figures {
                fields.add("figure", format!("{whose}.{name} {number}"));
            }
        }
    }
    fields.print(out)?;
    if status.certificates.needs_you > 0 {
        out.line("try: keyward list")?;
    }
    Ok(DONE)
}

/// Only what there is: `2 served, 1 needs you`.
fn certificates(counts: &Counts) -> String {
    let needs = if counts.needs_you == 1 { "needs you" } else { "need you" };
    let parts: Vec<_> =
        [(counts.served, "served"), (counts.working, "working"), (counts.needs_you, needs)]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
    let imported = match counts.imported {
        0 => String::new(),
        many => format!(" ({many} imported)"),
    };
    if parts.is_empty() {
        return "none".to_owned();
    }
    let usual = |word: &str| matches!(word, "issued" | "wanted");
    let lives = counts.conditions.iter().filter(|(word, _)| !usual(word));
    let lives: Vec<_> = lives.map(|(word, count)| format!("{count} {word}")).collect();
    let lives = if lives.is_empty() { String::new() } else { format!("; {}", lives.join(", ")) };
    format!("{}{imported}{lives}", parts.join(", "))
}

/// Those that clients asked for, where there are any: `12 issued, 1 being ordered, 3 failed`.
fn for_clients(counts: &Counts) -> Option<String> {
    let words = [("consumed", "issued"), ("reserved", "being ordered"), ("refunded", "failed")];
    let all = words.iter().filter_map(|(claim, word)| Some((counts.clients.get(*claim)?, word)));
    let parts: Vec<_> = all.map(|(count, word)| format!("{count} {word}")).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn listening(listener: &ListenerView) -> String {
    let from = if listener.inherited { " (from the service manager)" } else { "" };
    format!("{} on {}{from}", listener.purpose, listener.address)
}

/// Who is believed in who the client is.
fn balancers(door: &DoorView) -> Option<String> {
    let from = door.proxy_from.join(", ");
    (!from.is_empty()).then(|| format!("believed from {from} (PROXY protocol)"))
}

/// `default from TLS 1.2: 3 sites; modern from TLS 1.3: 1 site`.
fn agreements(door: &DoorView) -> Option<String> {
    let each = door.agreements.iter().map(|agreement| {
        let sites = render::count(agreement.sites, "site");
        format!("{} from TLS {}: {sites}", agreement.preset, agreement.min_version)
    });
    let all: Vec<_> = each.collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// How many sites ask clients who they are.
fn visitors(door: &DoorView) -> Option<String> {
    let each = [(door.clients_required, "required"), (door.clients_optional, "optional")];
    let some = each.into_iter().filter(|(count, _)| *count > 0);
    let all: Vec<_> = some
        .map(|(count, word)| format!("certificate {word} by {}", render::count(count, "site")))
        .collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What the kernel does for the front door, and how often TLS became its business.
fn kernel(offers: &[String], figures: &Figures) -> String {
    let figure = |name: &str| figures.get(name).copied().unwrap_or_default();
    let mut text = walls(offers);
    for (number, what) in [
        (figure("kernel_tls.taken"), "went over to kernel TLS"),
        (figure("kernel_tls.refused"), "refused by kernel TLS"),
        (figure("kernel_tls.rekeyed"), "ended there as the client changed its keys"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {} {what}", render::count(number, "connection")));
        }
    }
    text
}

/// What passed the front door, in words; failures only when there are some.
fn traffic(figures: &Figures) -> String {
    let figure = |name: &str| figures.get(name).copied().unwrap_or_default();
    let all = |prefix: &str| -> u64 {
        let parts = figures.iter().filter(|(name, _)| name.starts_with(prefix));
        parts.map(|(_, number)| *number).sum()
    };
    let (failed, turned_away) = (all("handshakes.failed."), all("turned_away."));
    let (full, resumed) = (figure("handshakes.full"), figure("handshakes.resumed"));
    let open = render::count(figure("connections.open"), "connection");
    let handshakes = render::count(full.saturating_add(resumed), "handshake");
    let mut text = format!(
        "{}, {open} open, {handshakes} of which {resumed} resumed",
        render::count(figure("requests"), "request"),
    );
    let http3 = figure("http3.requests");
    if http3 > 0 {
        text.push_str(&format!("; {} over HTTP/3", render::count(http3, "request")));
    }
    for (number, word) in [
        (failed, "handshakes not finished"),
        (turned_away, "clients turned away"),
        (figure("refused"), "requests refused"),
        (figure("origin_failures"), "requests without an answer of their origin"),
        (figure("origins_full"), "requests for which no origin had room"),
        (figure("panics"), "connections lost to a fault of keyward"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {number} {word}"));
        }
    }
    text
}

fn vault(vault: &VaultView) -> String {
    let Some(pid) = vault.pid else { return "being started again".to_owned() };
    let restarts = match vault.restarts {
        0 => "never restarted".to_owned(),
        many => render::count(many, "restart"),
    };
    let figure = |name: &str| vault.figures.get(name).copied().unwrap_or_default();
    let open = render::count(figure("open"), "key");
    let signatures = render::count(figure("signatures"), "signature");
    let mut text = format!("process {pid}, {restarts}, {open} open, {signatures}");
    let together = figure("together");
    if together > 0 {
        text.push_str(&format!(", {together} of them asked for together"));
    }
    let refusals = figure("refusals");
    if refusals > 0 {
        text.push_str(&format!("; {} refused", render::count(refusals, "order")));
    }
    text
}

/// `fast, key 7 since 12 minutes ago, next in 48 minutes, 3 accepted, 1 refused`.
fn tickets(status: &Status, out: &Out) -> String {
    let view = &status.tickets;
    let Some((epoch, since)) = view.epoch.zip(view.since) else {
        // A daemon of old says nothing of them.
        return if view.mode.is_empty() { "unknown".to_owned() } else { view.mode.clone() };
    };
    let figure = |name: &str| status.edge.get(name).copied().unwrap_or_default();
    let mut text = format!("{}, key {epoch} since {}", view.mode, render::both(since, out));
    if let Some(next) = view.next {
        text.push_str(&format!(", next {}", render::both(next, out)));
    }
    text.push_str(&format!(
        "; {} issued, {} accepted",
        figure("tickets.issued"),
        figure("tickets.accepted")
    ));
    let refused = figure("tickets.unknown").saturating_add(figure("tickets.refused"));
    if refused > 0 {
        text.push_str(&format!(", {refused} not accepted"));
    }
    if !view.durable {
        text.push_str("; not written to the disk, so that a restart loses them");
    }
    text
}

/// How well the vault's cache of opened keys does, in words; nothing until there is something to say.
fn key_cache(figures: &Figures) -> Option<String> {
    let figure = |name: &str| figures.get(name).copied().unwrap_or_default();
    let (open, hits, misses) = (figure("open"), figure("hits"), figure("misses"));
    let asked = hits.saturating_add(misses);
    if open == 0 && asked == 0 {
        return None;
    }
    let kib = figure("open_bytes").div_ceil(1024);
    let mut text = format!("{} open in {kib} KiB", render::count(open, "key"));
    for (number, word) in [
        (figure("pinned"), "kept open for being busy"),
        (figure("warmed"), "opened at the start for having been busy"),
        (figure("evictions"), "pushed out for others"),
        (figure("negative"), "not tried again so soon"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {number} {word}"));
        }
    }
    if let Some(share) = hits.saturating_mul(100).checked_div(asked) {
        text.push_str(&format!("; {share} % were open when they were asked for"));
    }
    Some(text)
}

/// What is left of a change of the master key.
fn former(master: &MasterView) -> Option<String> {
    let former = master.former.as_deref()?;
    let resealed = render::count(master.resealed, "record");
    let foreign = match master.foreign {
        0 => String::new(),
        many => format!("; {} opened by neither", render::count(many, "record")),
    };
    let trouble = master.trouble.as_ref().map_or_else(String::new, |t| format!("; stopped: {t}"));
    Some(match master.former_needed {
        true => format!("{former}, {resealed} sealed anew so far{foreign}{trouble}"),
        false => format!("{former}, not needed any more: it can be deleted{foreign}"),
    })
}

/// Those that stand first, then those that do not, each with its reason.
fn walls(walls: &[String]) -> String {
    let (whole, torn): (Vec<_>, Vec<_>) = walls.iter().partition(|wall| !wall.contains('('));
    let parts: Vec<_> = whole.into_iter().chain(torn).map(String::as_str).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_are_nothing_are_not_told() {
        let counts = |served, working, needs_you| {
            certificates(&Counts { served, working, needs_you, ..Counts::default() })
        };
        assert_eq!(counts(0, 0, 0), "none");
        assert_eq!(counts(3, 0, 0), "3 served");
        assert_eq!(counts(2, 1, 1), "2 served, 1 working, 1 needs you");
        assert_eq!(counts(0, 0, 2), "2 need you");
    }

    #[test]
    fn what_clients_asked_for_is_told_apart_where_there_is_any() {
        let of = |claims: &[(&str, u64)]| {
            let clients = claims.iter().map(|(claim, count)| ((*claim).to_owned(), *count));
            for_clients(&Counts { clients: clients.collect(), ..Counts::default() })
        };
        assert_eq!(of(&[]), None);
        let told = of(&[("refunded", 3), ("consumed", 12), ("reserved", 1)]);
        assert_eq!(told.as_deref(), Some("12 issued, 1 being ordered, 3 failed"));
    }

    #[test]
    fn the_key_cache_is_told_once_it_has_something_to_tell() {
        let mut figures: Figures =
            [("open", 0), ("hits", 0)].map(|(name, number)| (name.to_owned(), number)).into();
        assert_eq!(key_cache(&figures), None);
        figures.insert("open".to_owned(), 1);
        figures.insert("open_bytes".to_owned(), 480);
        assert_eq!(key_cache(&figures).unwrap(), "1 key open in 1 KiB");
        for (name, number) in [("hits", 199), ("misses", 1), ("warmed", 1), ("negative", 7)] {
            figures.insert(name.to_owned(), number);
        }
        let told = "1 key open in 1 KiB, 1 opened at the start for having been busy, 7 not tried \
                    again so soon; 99 % were open when they were asked for";
        assert_eq!(key_cache(&figures).unwrap(), told);
    }

    #[test]
    fn failures_of_traffic_are_told_only_when_there_are_some() {
        let mut figures: Figures =
            [("requests", 1), ("handshakes.full", 2), ("connections.open", 1)]
                .map(|(name, number)| (name.to_owned(), number))
                .into();
        let calm = "1 request, 1 connection open, 2 handshakes of which 0 resumed";
        assert_eq!(traffic(&figures), calm);
        figures.insert("handshakes.failed.closed".to_owned(), 3);
        figures.insert("handshakes.failed.timeout".to_owned(), 4);
        figures.insert("origin_failures".to_owned(), 5);
        figures.insert("turned_away.busy".to_owned(), 6);
        figures.insert("turned_away.connections".to_owned(), 7);
        let told = format!(
            "{calm}; 7 handshakes not finished; 13 clients turned away; \
             5 requests without an answer of their origin"
        );
        assert_eq!(traffic(&figures), told);
    }
}
