//! The commands that order something: `renew`, `forget`, `reload`, `upgrade`.

use std::ops::ControlFlow;

use super::connect::Client;
use super::connect::segment;
use super::events;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAILED;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::EntryView;
use crate::admin::wire::Reloaded;
use crate::admin::wire::Renewal;
use crate::admin::wire::transfer::Forgotten;
use crate::admin::wire::upgrade::Upgraded;
use crate::base::bounds;

/// `keyward renew NAME [--wait]`
pub(super) fn renew(client: &Client, name: &str, wait: bool, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post(&format!("/certificates/{}/renew", segment(name)))?;
    let renewal: Renewal = answer.decode()?;
    let first = plain(renewal.certificate.names.first().map_or("", String::as_str));
    if !wait {
        if out.json {
            out.line(String::from_utf8_lossy(&answer.0))?;
        } else {
            out.line(format_args!("the renewal of {first} was ordered"))?;
            out.line(format_args!("  see: keyward show {first}, or keyward events --follow"))?;
        }
        return Ok(DONE);
    }
    let waiting = Waiting { what: "renewed", done: &["installed"] };
    waiting.wait(client, &renewal, out)
}

/// What somebody waits for at a certificate.
pub(super) struct Waiting<'a> {
    /// What is to become of it, as a participle.
    pub(super) what: &'a str,
    /// Kinds of entries that say that it is done.
    pub(super) done: &'a [&'a str],
}

impl Waiting<'_> {
    /// Follows what happens until it is done or has failed.
    pub(super) fn wait(
        &self,
        client: &Client,
        renewal: &Renewal,
        out: &mut Out,
    ) -> Result<u8, Report> {
        let (what, id) = (self.what, renewal.certificate.id.as_str());
        let first = plain(renewal.certificate.names.first().map_or("", String::as_str));
        // A lease that lapses on the way is taken up again once.
        let longest = bounds::ORDER_LEASE * 2;
        let status = client.wait(async {
            let mut outcome = |entry: &EntryView, data: &str, out: &mut Out| {
                if entry.certificate.as_deref() != Some(id) {
                    return Ok(ControlFlow::Continue(()));
                }
                events::print(entry, data, out)?;
                Ok(match entry.kind.as_str() {
                    kind if self.done.contains(&kind) => ControlFlow::Break(DONE),
                    "failed" | "astray" | "halted" | "retired" | "deleted"
                    | "revocation-failed" => ControlFlow::Break(FAILED),
                    _ => ControlFlow::Continue(()),
                })
            };
            let place = events::Place { after: Some(renewal.after), past: 0 };
            let follow = events::follow(client, place, out, &mut outcome);
            tokio::select! {
                ended = tokio::time::timeout(longest, follow) => match ended {
                    Ok(ended) => ended,
                    Err(_) => Err(Report::new(
                        FAILED,
                        format!("{first} is not {what} after {}", render::span(longest.as_secs())),
                    )
                    .hint(format!("keyward why {first}"))),
                },
                _ = tokio::signal::ctrl_c() => Err(Report::new(
                    FAILED,
                    format!("interrupted; that {first} is {what} goes on"),
                )),
            }
        })?;
        if status != DONE {
            let report = Report::new(status, format!("{first} was not {what}"));
            return Err(report.hint(format!("keyward why {first}")));
        }
        Ok(status)
    }
}

/// `keyward forget NAME`
pub(super) fn forget(client: &Client, name: &str, out: &mut Out) -> Result<u8, Report> {
    let answer = client.delete(&format!("/certificates/{}", segment(name)))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let certificate = answer.decode::<Forgotten>()?.certificate;
    let first = plain(certificate.names.first().map_or("", String::as_str));
    out.line(format_args!("forgot {first}, id {}, and its key", certificate.id))?;
    Ok(DONE)
}

/// `keyward reload`
pub(super) fn reload(client: &Client, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post("/reload")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let reloaded: Reloaded = answer.decode()?;
    let lists = [("+", &reloaded.added), ("~", &reloaded.changed), ("-", &reloaded.removed)];
    let changes: usize = lists.iter().map(|(_, names)| names.len()).sum();
    if changes == 0 {
        out.line(format_args!("the configuration was read again: no site changed"))?;
    } else {
        out.line(format_args!(
            "the configuration was applied: {} added, {} changed, {} removed, {} unchanged",
            reloaded.added.len(),
            reloaded.changed.len(),
            reloaded.removed.len(),
            reloaded.unchanged
        ))?;
    }
    for (sign, names) in lists {
        for name in names {
            out.line(format_args!("{sign} {}", plain(name)))?;
        }
    }
    for note in &reloaded.notes {
        out.line(format_args!("note: {}", plain(note)))?;
    }
    Ok(DONE)
}

/// `keyward upgrade`
pub(super) fn upgrade(client: &Client, out: &mut Out) -> Result<u8, Report> {
    let answer = client.post("/upgrade")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let Upgraded { pid, former, version, waited, .. } = answer.decode()?;
    out.line(format_args!(
        "keyward {} serves as process {pid}; process {former} finishes what it began",
        plain(&version)
    ))?;
    out.line(format_args!("  new connections waited for {waited} ms, none was refused"))?;
    Ok(DONE)
}
