//! The commands for what is to become of a certificate: `host`, `unhost`, `revoke`.

use super::act::Waiting;
use super::args::Host;
use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::CertificateView;
use crate::admin::wire::Renewal;
use crate::admin::wire::care::HostAll;
use crate::admin::wire::care::HostOrder;
use crate::admin::wire::care::HostedAll;
use crate::admin::wire::care::RevokeOrder;
use crate::cert::care::Reason;

/// Certificates that cannot be hosted and are told one by one.
const TOLD: u64 = 32;

/// `keyward host NAME`, `keyward host --all`
pub(super) fn host(client: &Client, what: &Host, out: &mut Out) -> Result<u8, Report> {
    let Some(name) = &what.name else { return host_all(client, what, out) };
    let order = HostOrder { accept: what.accept.clone() };
    let answer = client.post_json(&format!("/certificates/{}/host", segment(name)), &order)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let certificate: CertificateView = answer.decode()?;
    out.line(format_args!("{} is hosted, id {}", first(&certificate), certificate.id))?;
    let agreed = &certificate.care.accept;
    if !agreed.is_empty() {
        out.line(format_args!("  agreed to: {}", agreed.join(", ")))?;
    }
    Ok(DONE)
}

fn host_all(client: &Client, what: &Host, out: &mut Out) -> Result<u8, Report> {
    let mut order = HostAll { accept: what.accept.clone(), after: None };
    let (mut hosted, mut already, mut refused) = (0_u64, 0_u64, 0_u64);
    loop {
        let answer = client.post_json("/host", &order)?;
        let all: HostedAll = answer.decode()?;
        if out.json {
            out.line(String::from_utf8_lossy(&answer.0))?;
        }
        for one in &all.refused {
            refused += 1;
            if refused <= TOLD && !out.json {
                out.line(format_args!("{} is not: {}", plain(&one.name), plain(&one.reason)))?;
            }
        }
        hosted += u64::try_from(all.hosted.len()).unwrap_or(u64::MAX);
        already += all.already;
        match all.next {
            Some(next) => order.after = Some(next),
            None => break,
        }
    }
    if !out.json {
        let told = render::count(hosted, "certificate");
        let not = if refused > 0 { format!(", {refused} not") } else { String::new() };
        out.line(format_args!("{told} hosted from now on, {already} before{not}"))?;
    }
    Ok(if refused > 0 { FAILED } else { DONE })
}

/// `keyward unhost NAME`
pub(super) fn unhost(client: &Client, name: &str, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post(&format!("/certificates/{}/unhost", segment(name)))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let certificate: CertificateView = answer.decode()?;
    out.line(format_args!("{} is not hosted any more", first(&certificate)))?;
    Ok(DONE)
}

/// `keyward revoke NAME [--reason REASON] [--wait]`, and `keyward renew NAME --force`
pub(super) fn revoke(
    client: &Client,
    name: &str,
    reason: Reason,
    wait: bool,
    out: &mut Out,
) -> Result<u8, Report> {
    let path = format!("/certificates/{}/revoke", segment(name));
    let answer = client.post_json(&path, &RevokeOrder { reason })?;
    let renewal: Renewal = answer.decode()?;
    if wait {
        let waiting = Waiting { what: "revoked", done: &["revoked"] };
        return waiting.wait(client, &renewal, out);
    }
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let certificate = &renewal.certificate;
    let serial = certificate.care.revoking.as_ref().map_or("", |one| one.serial.as_str());
    let first = first(certificate);
    out.line(format_args!(
        "serial {serial} of {first} is revoked as soon as another one is served"
    ))?;
    out.line(format_args!("  see: keyward why {first}, or keyward events --follow"))?;
    Ok(DONE)
}

fn first(certificate: &CertificateView) -> String {
    plain(certificate.names.first().map_or("", String::as_str))
}
