//! The commands that only look: `sites`, `show`; `list` and `status` have files of their own.

use comfy_table::Cell;

use super::connect::Client;
use super::connect::segment;
use super::deploy;
use super::out::Out;
use super::render;
use super::render::Fields;
use super::report::DONE;
use super::report::Report;
use crate::admin::wire::CertificateView;
use crate::admin::wire::Sites;
use crate::admin::wire::care::CareView;
use crate::admin::wire::terms::TermsView;
use crate::base::Timestamp;

/// One line of the list of certificates.
pub(super) fn row(certificate: &CertificateView, now: Timestamp) -> [Cell; 6] {
    let installed = certificate.installed.as_ref();
    let expires = installed.map(|installed| render::relative(installed.not_after, now));
    [
        render::cell(&short_name(certificate)),
        render::life(certificate.state, &certificate.condition),
        render::cell(expires.as_deref().unwrap_or("-")),
        render::cell(&next(certificate, now)),
        render::cell(short_issuer(&certificate.issuer)),
        render::cell(certificate.id.get(..8).unwrap_or(&certificate.id)),
    ]
}

fn short_name(certificate: &CertificateView) -> String {
    let first = certificate.names.first().map_or("", String::as_str);
    let more = certificate.names.len().saturating_sub(1);
    let back = certificate.care.standby.as_ref().is_some_and(|standby| !standby.shown);
    let role = match certificate.role.as_str() {
        "bridge" => " (bridge)",
        "imported" => " (imported)",
        // Where its state does not say so, because it is not there yet.
        _ if back && certificate.condition != "standby" => " (standby)",
        _ => "",
    };
    // The name of another beside it that has the usual kind of key.
    let key = if certificate.key_algorithm.starts_with("rsa") { "/rsa" } else { "" };
    let first = format!("{first}{key}");
    if more == 0 { format!("{first}{role}") } else { format!("{first} +{more}{role}") }
}

/// The last two labels of a CA's host, which are its operator's name; `show` tells all of it.
fn short_issuer(issuer: &str) -> &str {
    let mut dots = issuer.rmatch_indices('.').map(|(at, _)| at);
    let last_is_word = issuer.rsplit('.').next().is_some_and(|l| !l.starts_with(char::is_numeric));
    match (last_is_word, dots.nth(1)) {
        (true, Some(at)) => issuer.get(at + 1..).unwrap_or(issuer),
        _ => issuer,
    }
}

/// What happens to a certificate next, in a few words.
fn next(certificate: &CertificateView, now: Timestamp) -> String {
    let when = |moment| render::relative(moment, now);
    match (certificate.phase.as_str(), certificate.next_wake) {
        ("holding", wake) => match certificate.renew_at.or(wake) {
            Some(at) if certificate.care.take_over_at.is_some() => {
                format!("free one {}", when(at))
            }
            Some(at) if certificate.role == "imported" && !certificate.care.hosted => {
                format!("import again {}", when(at))
            }
            Some(at) => format!("renews {}", when(at)),
            None => "-".to_owned(),
        },
        ("waiting", Some(at)) => format!("tries again {}", when(at)),
        ("retiring", Some(at)) => format!("goes {}", when(at)),
        ("ordering", _) => "being ordered".to_owned(),
        ("due", _) => "about to be ordered".to_owned(),
        ("halted", _) => "stopped".to_owned(),
        (other, _) => other.to_owned(),
    }
}

/// `keyward sites`
pub(super) fn sites(client: &Client, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get("/sites")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let sites = answer.decode::<Sites>()?.sites;
    if sites.is_empty() {
        out.line("no site is configured")?;
        return Ok(DONE);
    }
    let mut table = render::table(out, &["SITE", "STATE", "ORIGIN", "ISSUER", "OTHER NAMES"]);
    for site in &sites {
        let others: Vec<_> = site.names.iter().filter(|name| **name != site.name).collect();
        let others: Vec<_> = others.into_iter().map(String::as_str).collect();
        let default = if site.default { " (default)" } else { "" };
        table.add_row([
            render::cell(&format!("{}{default}", site.name)),
            render::standing(site.state),
            render::cell(&site.origin),
            render::cell(short_issuer(&site.issuer)),
            render::cell(&others.join(" ")),
        ]);
    }
    render::print(&table, out)?;
    Ok(DONE)
}

/// `keyward show NAME`
pub(super) fn show(client: &Client, name: &str, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get(&format!("/certificates/{}", segment(name)))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let certificate: CertificateView = answer.decode()?;
    let mut fields = everything(&certificate, out);
    deploy::of_certificate(client, &certificate.id, &mut fields);
    fields.print(out)?;
    Ok(DONE)
}

/// The servers behind its site.
fn servers(terms: &TermsView, fields: &mut Fields) {
    for (number, server) in terms.servers.iter().enumerate() {
        let mut text = format!("{} {}", server.address, server.state);
        if server.weight != 1 {
            text = format!("{} weight={} {}", server.address, server.weight, server.state);
        }
        if let Some(since) = server.since {
            text.push_str(&format!(" for {since} s"));
        }
        if let Some(detail) = &server.detail {
            text.push_str(&format!(": {detail}"));
        }
        fields.add(if number == 0 { "servers" } else { "" }, text);
    }
}

/// Hosting and revocation.
fn cared_for(care: &CareView, fields: &mut Fields, out: &Out) {
    let since = care.hosted_since.map(|at| format!(" since {}", render::both(at, out)));
    let since = since.unwrap_or_default();
    if care.hosted {
        let agreed = match care.accept.as_slice() {
            [] => String::new(),
            words => format!(", agreed to {}", words.join(" and ")),
        };
        fields.add("hosted", format!("yes{since}{agreed}"));
    } else if let Some(difference) = &care.hosting_ended {
        fields.add("hosted", format!("not any more{since}: {difference}"));
    }
    if let Some(stand_in) = &care.stand_in {
        fields.add("stand-in", format!("{stand_in} issued it, in the place of the first CA"));
    }
    if let Some(asked) = &care.asked {
        fields.add("asked now", asked);
    }
    if let Some(standby) = &care.standby {
        super::standby::stands(standby, fields, out);
    }
    for (number, left) in care.left.iter().enumerate() {
        let text = format!("{}, {}: {}", left.issuer, render::both(left.at, out), left.reason);
        fields.add(if number == 0 { "left" } else { "" }, text);
    }
    if let Some(one) = &care.revoking {
        let then = match (&one.detail, one.next) {
            (Some(detail), Some(at)) => format!("{detail}; again at {}", render::both(at, out)),
            (None, Some(_)) => "the CA is being told".to_owned(),
            (_, None) => "as soon as another one is served".to_owned(),
        };
        fields.add("revoking", format!("serial {} ({}): {then}", one.serial, one.reason));
    }
    if let Some(one) = &care.revoked {
        let reason = one.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let at = render::both(one.at, out);
        fields.add("revoked", format!("serial {}{reason}, {at}", one.serial));
    }
}

/// What its site agrees on with clients.
fn agreed(terms: &TermsView, fields: &mut Fields, out: &Out) {
    for (number, asked) in terms.asks.iter().enumerate() {
        fields.add(if number == 0 { "asks" } else { "" }, asked.clone());
    }
    for (number, route) in terms.routes.iter().enumerate() {
        fields.add(if number == 0 { "routes" } else { "" }, route.clone());
    }
    fields.add("tls", format!("{} from TLS {}", terms.preset, terms.min_version));
    let Some(clients) = &terms.clients else { return };
    fields.add("clients", format!("certificate {}, signed by {}", clients.mode, clients.ca));
    match (&clients.crl, clients.lists) {
        (None, _) => fields.add("", "no list of revoked ones is looked at"),
        (Some(crl), None) => fields.add("", format!("revoked ones in {crl}")),
        (Some(crl), Some(lists)) => {
            let until = clients.lists_until.map(|until| render::both(until, out));
            let until = until.map(|until| format!(", good until {until}")).unwrap_or_default();
            let lists = render::count(lists, "list");
            fields.add("", format!("revoked ones in {crl}: {lists}{until}"));
        }
    }
    fields.add_if("", clients.trouble.as_deref());
}

/// Everything about one certificate, in plain words.
pub(super) fn everything(certificate: &CertificateView, out: &Out) -> Fields {
    let mut fields = Fields::default();
    let mut names = certificate.names.iter();
    fields.add("name", names.next().map_or("", String::as_str));
    for name in names {
        fields.add("", name);
    }
    fields.add("state", render::state(certificate.state, &certificate.condition));
    fields.add("next", next(certificate, out.now()));
    fields.add("id", &certificate.id);
    fields.add("issuer", &certificate.issuer);
    if certificate.role == "bridge" {
        fields.add("role", "bridge: it answers until the site's own certificate is there");
    }
    if certificate.role == "imported" {
        let care = &certificate.care;
        let text = match (care.hosted, care.take_over_at, &care.source) {
            (true, _, Some(source)) => format!("imported: its successor comes from {source}"),
            (_, Some(at), Some(source)) => format!(
                "imported: at {} a free one from {source} takes its place",
                render::both(at, out)
            ),
            _ => "imported: its successor has to be imported as well".to_owned(),
        };
        fields.add("role", text);
    }
    cared_for(&certificate.care, &mut fields, out);
    fields.add("key", &certificate.key_algorithm);
    fields.add_if("profile", certificate.profile.as_deref());
    match &certificate.installed {
        None => fields.add("served", "nothing yet"),
        Some(installed) => {
            fields.add("serial", &installed.serial);
            fields.add("signed by", &installed.issuer);
            fields.add("key id", &installed.key);
            fields.add("valid from", render::both(installed.not_before, out));
            let left = installed.percent_left;
            let until = render::both(installed.not_after, out);
            let expired = if installed.valid { "" } else { ", NOT VALID NOW" };
            fields.add("valid until", format!("{until}, {left} % left{expired}"));
            fields.add("installed", render::both(installed.installed_at, out));
        }
    }
    let signing = certificate.signing.as_ref();
    fields.add_if("signed", signing.map(|signing| render::signing(signing, out)));
    if let Some(terms) = &certificate.terms {
        servers(terms, &mut fields);
        agreed(terms, &mut fields, out);
    }
    fields.add("phase", &certificate.phase);
    fields.add_if("renewal", certificate.renew_at.map(|at| render::both(at, out)));
    if let Some(window) = &certificate.window {
        let (start, end) = (window.start, window.end);
        let (start, end) = (render::local(start, &out.zone), render::local(end, &out.zone));
        fields.add("window", format!("{start} to {end}"));
    }
    let recheck = certificate.recheck_at.map(|at| render::both(at, out));
    fields.add_if("asks the CA again", recheck);
    fields.add_if("order", certificate.order.as_deref());
    if let Some(failure) = &certificate.failure {
        fields.add("failed", format!("{}: {}", failure.kind, failure.detail));
        if certificate.attempt > 0 {
            fields.add("failures in a row", certificate.attempt.to_string());
        }
        let remedy = match (failure.remedy.as_str(), certificate.next_wake) {
            ("intervene", _) => "nothing is tried until you act".to_owned(),
            (_, Some(at)) => format!("tried again by itself at {}", render::both(at, out)),
            (_, None) => "nothing is tried until you act".to_owned(),
        };
        fields.add("then", remedy);
        let since = certificate.halted_since.map(|at| render::both(at, out));
        fields.add_if("stopped since", since);
        fields.add("try", &failure.hint);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_shortened_to_its_operator_unless_it_is_an_address() {
        assert_eq!(short_issuer("acme-v02.api.letsencrypt.org"), "letsencrypt.org");
        assert_eq!(short_issuer("localhost:14000"), "localhost:14000");
        assert_eq!(short_issuer("127.0.0.1:14000"), "127.0.0.1:14000");
        assert_eq!(short_issuer("internal"), "internal");
    }
}
