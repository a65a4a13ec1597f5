//! `keyward why`: one certificate, explained in plain words.

use super::connect::Client;
use super::connect::segment;
use super::deploy;
use super::out::Out;
use super::render;
use super::render::Fields;
use super::report::DONE;
use super::report::Report;
use crate::admin::wire::care::Why;

/// `keyward why NAME`
pub(super) fn why(client: &Client, name: &str, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get(&format!("/certificates/{}/why", segment(name)))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let why: Why = answer.decode()?;
    let mut fields = Fields::default();
    let certificate = &why.certificate;
    fields.add("name", certificate.names.first().map_or("", String::as_str));
    fields.add("state", render::state(certificate.state, &certificate.condition));
    fields.add("served", &why.served);
    fields.add("doing", &why.doing);
    match &why.problem {
        None => fields.add("problem", "none"),
        Some(problem) => {
            let when = problem.at.map(|at| format!(" ({})", render::both(at, out)));
            let over = if problem.over { "; it is over" } else { "" };
            let when = when.unwrap_or_default();
            fields.add("problem", format!("{}{when}{over}", problem.message));
        }
    }
    for (number, told) in why.issuers.iter().enumerate() {
        fields.add(if number == 0 { "issuers" } else { "" }, told);
    }
    for (number, told) in why.standby.iter().enumerate() {
        fields.add(if number == 0 { "standby" } else { "" }, told);
    }
    for (number, change) in why.change.iter().enumerate() {
        fields.add(if number == 0 { "change" } else { "" }, change);
    }
    let next = why.next.map(|at| render::both(at, out));
    fields.add("next", next.as_deref().unwrap_or("nothing by itself"));
    for (number, step) in why.checked.iter().enumerate() {
        fields.add(if number == 0 { "so far" } else { "" }, step);
    }
    deploy::of_certificate(client, &certificate.id, &mut fields);
    fields.print(out)?;
    Ok(DONE)
}
