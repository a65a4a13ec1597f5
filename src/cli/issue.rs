//! `keyward issue`: one certificate by one call, or with a file as many as stand in it.

use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom as _;
use serde::Deserialize;

use super::args_issue::Issue;
use super::bulk;
use super::connect::Client;
use super::connect::segment;
use super::events;
use super::issued_files::Places;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::FAULT;
use super::report::INTERRUPTED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::CertificateView;
use crate::admin::wire::EntryView;
use crate::admin::wire::issue::Issuance;
use crate::admin::wire::issue::IssueOrder;
use crate::base::bounds;
use crate::cert::request::ClientRequest;

/// `keyward issue NAME... | --csr FILE | --file FILE`
pub(super) fn issue(client: &Client, what: &Issue, out: &mut Out) -> Result<u8, Report> {
    match &what.file {
        Some(file) => bulk::bulk(client, what, file, out),
        None => one(client, what, out),
    }
}

fn one(client: &Client, what: &Issue, out: &mut Out) -> Result<u8, Report> {
    let request = what.csr.as_deref().map(read_request).transpose()?;
    let first = match (what.names.first(), &request) {
        (Some(name), _) => name.clone(),
        (None, Some(request)) => {
            request.names().first().map(ToString::to_string).unwrap_or_default()
        }
        (None, None) => return Err(Report::new(FAULT, "no name was given")),
    };
    let mut places = Places { chain: what.chain.clone(), key: what.key_out.clone() };
    if let Some(dir) = &what.out {
        places = Places::below(dir, &first, request.is_none());
    }
    // Nothing is spent for what cannot be written.
    places.check(what.force)?;
    if places.key.is_some() {
        client.can_hand_over()?;
    }
    let key = match &what.idempotency_key {
        Some(key) => key.clone(),
        // If the answer is lost, the order is not: it is found again by this.
        None => random_key()?,
    };
    let order = IssueOrder {
        names: what.names.clone(),
        csr: request.as_ref().map(|request| STANDARD.encode(request.der())),
        key: what.key.clone(),
        exportable: what.exportable || places.key.is_some(),
        hosted: what.hosted,
        idempotency_key: Some(key.clone()),
        client: what.client.clone(),
    };
    let answer = client.post_json("/certificates", &order)?;
    let issuance: Issuance = answer.decode()?;
    let certificate = &issuance.certificate;
    let shown = plain(&first);
    if what.no_wait {
        if out.json {
            return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
        }
        let verb = if issuance.fresh { "is ordered" } else { "was ordered before" };
        out.line(format_args!("{shown} {verb}, id {}", certificate.id))?;
        out.line(format_args!("  see: keyward why {}", certificate.id))?;
        return Ok(DONE);
    }
    if certificate.installed.is_none() {
        wait(client, &issuance, (&shown, &key), out)?;
    }
    let path = format!("/certificates/{}", segment(&certificate.id));
    let answer = client.get(&path)?;
    places.write(client, &certificate.id, what.force)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    told(client, &answer.decode()?, &places, out)?;
    Ok(DONE)
}

fn told(
    client: &Client,
    certificate: &CertificateView,
    places: &Places,
    out: &mut Out,
) -> Result<(), Report> {
    let first = certificate.names.first().map_or("", String::as_str);
    out.line(format_args!("issued {}, id {}", plain(first), certificate.id))?;
    if let Some(installed) = &certificate.installed {
        let until = render::both(installed.not_after, out);
        out.line(format_args!("  serial {}, valid until {until}", installed.serial))?;
    }
    for (word, path) in [("chain", &places.chain), ("private key", &places.key)] {
        if let Some(path) = path {
            out.line(format_args!("  the {word} is in {}", path.display()))?;
        }
    }
    if places.is_nowhere() {
        out.line(format_args!("  its chain: GET /v1/certificates/{}/chain", certificate.id))?;
    }
    if let Some(issue) = &certificate.issue
        && let Ok(left) = left(client, &issue.client)
        && let Some(left) = left.classes.iter().find(|left| left.class == issue.class)
    {
        let Left { class, available, granted } = left;
        let (class, whose) = (plain(class), plain(&issue.client));
        out.line(format_args!("  of class {class}, {available} of {granted} are left to {whose}"))?;
    }
    Ok(())
}

/// Follows what happens until it is issued. A failure that is tried again is no end.
fn wait(
    client: &Client,
    issuance: &Issuance,
    (shown, key): (&str, &str),
    out: &mut Out,
) -> Result<(), Report> {
    let id = issuance.certificate.id.as_str();
    let status = client.wait(async {
        let mut visit = |entry: &EntryView, data: &str, out: &mut Out| {
            if entry.certificate.as_deref() != Some(id) {
                return Ok(ControlFlow::Continue(()));
            }
            if !out.json {
                events::print(entry, data, out)?;
            }
            Ok(match entry.kind.as_str() {
                "installed" => ControlFlow::Break(DONE),
                "halted" | "retired" | "deleted" | "issue-withdrawn" => ControlFlow::Break(FAILED),
                _ => ControlFlow::Continue(()),
            })
        };
        let place = events::Place { after: Some(issuance.after), past: 0 };
        tokio::select! {
            ended = events::follow(client, place, out, &mut visit) => ended,
            _ = tokio::signal::ctrl_c() => Ok(INTERRUPTED),
        }
    })?;
    match status {
        DONE => Ok(()),
        INTERRUPTED => {
            Err(Report::new(INTERRUPTED, format!("interrupted; the order of {shown} goes on"))
                .hint(format!("the same again with --idempotency-key {key}, or keyward why {id}")))
        }
        _ => Err(Report::new(FAILED, format!("{shown} was not issued; the allowance has it back"))
            .hint(format!("keyward why {id}"))),
    }
}

fn read_request(path: &Path) -> Result<ClientRequest, Report> {
    let file = std::fs::metadata(path).and_then(|found| {
        let small = usize::try_from(found.len()).is_ok_and(|len| len <= bounds::orders::REQUEST);
        if small { std::fs::read(path) } else { Ok(vec![0; bounds::orders::REQUEST + 1]) }
    });
    let file = file
        .map_err(|error| Report::new(FAILED, format!("cannot read {}: {error}", path.display())))?;
    ClientRequest::read(&file)
        .map_err(|error| Report::new(FAILED, format!("{}: {error}", path.display())))
}

fn random_key() -> Result<String, Report> {
    let mut octets = [0; 16];
    ring::rand::SystemRandom::new()
        .fill(&mut octets)
        .map_err(|_| Report::new(FAULT, "the system has no random numbers"))?;
    Ok(octets.iter().fold(String::from("cli-"), |text, octet| text + &format!("{octet:02x}")))
}

/// What a client has, as far as it is told here.
#[derive(Debug, Deserialize)]
pub(super) struct Allowance {
    pub(super) classes: Vec<Left>,
}

/// What is left to it of a class.
#[derive(Debug, Deserialize)]
pub(super) struct Left {
    pub(super) class: String,
    pub(super) available: u64,
    pub(super) granted: u64,
}

/// What is left to a client of each class.
pub(super) fn left(client: &Client, whose: &str) -> Result<Allowance, Report> {
    client.get(&format!("/allowances/{}", segment(whose)))?.decode()
}
