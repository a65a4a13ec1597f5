//! `keyward events`: the journal as a list, or followed for as long as the reader likes, through
//! restarts of the daemon.

use std::ops::ControlFlow;
use std::time::Duration;

use anstyle::AnsiColor;
use anstyle::Style;
use http_body_util::BodyExt as _;

use super::args::Events;
use super::connect::Client;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::FAULT;
use super::report::NO_DAEMON;
use super::report::Report;
use super::report::plain;
use super::sse::Reader;
use crate::admin::wire::EntryView;
use crate::admin::wire::Journal;
use crate::base::bounds;

/// Entries of the past that a follower sees first.
const PAST: u64 = 20;

/// Pause before a follower comes back.
const PAUSE: Duration = Duration::from_secs(1);

/// Where a follower begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// After this entry.
    pub(super) after: Option<u64>,
    /// If that is not said: with so many entries of the past.
    pub(super) past: u64,
}

/// What a follower does with an entry, given also its JSON; a break ends it with a status.
pub(super) type Visit<'a> =
    dyn FnMut(&EntryView, &str, &mut Out) -> Result<ControlFlow<u8>, Report> + 'a;

/// `keyward events`
pub(super) fn events(client: &Client, which: &Events, out: &mut Out) -> Result<u8, Report> {
    if which.follow {
        let place = Place { after: which.after, past: which.limit.unwrap_or(PAST) };
        return client.wait(async {
            let mut visit = |entry: &EntryView, data: &str, out: &mut Out| {
                print(entry, data, out).map(|()| ControlFlow::Continue(()))
            };
            tokio::select! {
                ended = follow(client, place, out, &mut visit) => ended,
                // To be interrupted is how this command ends.
                _ = tokio::signal::ctrl_c() => Ok(DONE),
            }
        });
    }
    let mut path = format!("/events?limit={}", which.limit.unwrap_or(100));
    if let Some(after) = which.after {
        path.push_str(&format!("&after={after}"));
    }
    let answer = client.get(&path)?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    for entry in answer.decode::<Journal>()?.entries {
        print(&entry, "", out)?;
    }
    Ok(DONE)
}

/// One entry in one line: as `data` where JSON is wanted, else for a person.
pub(super) fn print(entry: &EntryView, data: &str, out: &mut Out) -> Result<(), Report> {
    if out.json {
        return out.line(data);
    }
    let color = match entry.level.as_str() {
        "error" => Style::new().fg_color(Some(AnsiColor::Red.into())),
        "warning" => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        _ => Style::new(),
    };
    let at = render::local(entry.at, &out.zone);
    let name = entry.name.as_deref().map(|name| format!("{name}: ")).unwrap_or_default();
    out.line(format_args!(
        "{at}  {color}{:7}{color:#}  {:15}  {}{}",
        plain(&entry.level),
        plain(&entry.kind),
        plain(&name),
        plain(&entry.message)
    ))
}

/// Follows the journal until `visit` breaks. A daemon that goes away is waited for, and no entry
/// is shown twice or left out; one that never was there is an error.
pub(super) async fn follow(
    client: &Client,
    place: Place,
    out: &mut Out,
    visit: &mut Visit<'_>,
) -> Result<u8, Report> {
    let mut last = None;
    let mut told = false;
    let mut met = false;
    loop {
        let path = match place.after {
            Some(after) => format!("/events?follow=true&after={after}"),
            None => format!("/events?follow=true&limit={}", place.past),
        };
        match client.stream(&path, last).await {
            Ok(response) => {
                met = true;
                told = false;
                if let ControlFlow::Break(status) =
                    drain(response.into_body(), &mut last, out, visit).await?
                {
                    return Ok(status);
                }
            }
            Err(report) if !met || report.status != NO_DAEMON => return Err(report),
            Err(_) => {}
        }
        if !told {
            out.note("the daemon went away; waiting for it");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads one stream to its end. Only what `visit` or the reader of standard output says ends the
/// whole; a broken stream is opened again by the caller.
async fn drain(
    mut body: hyper::body::Incoming,
    last: &mut Option<u64>,
    out: &mut Out,
    visit: &mut Visit<'_>,
) -> Result<ControlFlow<u8>, Report> {
    let mut reader = Reader::default();
    loop {
        // The daemon says something every so often; a long silence is a connection that is dead.
        let silence = bounds::ADMIN_KEEP_ALIVE * 4;
        let Ok(Some(Ok(frame))) = tokio::time::timeout(silence, body.frame()).await else {
            return Ok(ControlFlow::Continue(()));
        };
        let Ok(piece) = frame.into_data() else { continue };
        let events = reader
            .feed(&piece)
            .map_err(|_| Report::new(FAULT, "the daemon sends an event without end"))?;
        for data in events {
            let entry: EntryView = serde_json::from_str(&data).map_err(|error| {
                Report::new(FAULT, format!("an event of the daemon is not understood: {error}"))
            })?;
            *last = Some(entry.seq);
            if let ControlFlow::Break(status) = visit(&entry, &data, out)? {
                return Ok(ControlFlow::Break(status));
            }
        }
    }
}
