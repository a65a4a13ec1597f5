//! `keyward notify`: by which ways people are told, how each fares, and a trial of one.

use clap::Subcommand;

use super::connect::Client;
use super::connect::segment;
use super::out::Out;
use super::render;
use super::report::DONE;
use super::report::Report;
use super::report::plain;
use crate::admin::wire::news::ChannelView;
use crate::admin::wire::news::Channels;
use crate::admin::wire::news::TriedOut;

#[derive(Debug, clap::Args)]
pub(super) struct Notify {
    #[command(subcommand)]
    what: Option<NotifyOrder>,
}

#[derive(Debug, Subcommand)]
enum NotifyOrder {
    /// Have a channel tell a word now, and wait until it is taken
    Test {
        /// The name of a `[[notify]]`
        channel: String,
    },
}

/// `keyward notify [test CHANNEL]`
pub(super) fn notify(client: &Client, what: &Notify, out: &mut Out) -> Result<u8, Report> {
    let Some(NotifyOrder::Test { channel }) = &what.what else { return list(client, out) };
    let answer = client.post(&format!("/notify/{}/test", segment(channel)))?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let tried: TriedOut = answer.decode()?;
    out.line(format_args!("the channel {} took a word", plain(&tried.channel)))?;
    Ok(DONE)
}

fn list(client: &Client, out: &mut Out) -> Result<u8, Report> {
    let answer = client.get("/notify")?;
    if out.json {
        return out.line(String::from_utf8_lossy(&answer.0)).map(|()| DONE);
    }
    let Channels { channels } = answer.decode()?;
    if channels.is_empty() {
        out.line("nobody is told of what happens: no [[notify]] is in the configuration")?;
        return Ok(DONE);
    }
    let titles = ["CHANNEL", "WAY", "STATE", "WAITING", "TOLD", "LAST"];
    let (mut table, now) = (render::table(out, &titles), out.now());
    for one in &channels {
        let last = one.told_at.map(|at| render::relative(at, now));
        table.add_row([
            render::cell(&one.name),
            render::cell(&one.way),
            render::cell(state(one)),
            render::cell(&one.waiting.to_string()),
            render::cell(&one.told.to_string()),
            render::cell(last.as_deref().unwrap_or("-")),
        ]);
    }
    render::print(&table, out)?;
    for one in channels.iter().filter(|one| one.failures > 0) {
        let (name, reason) = (plain(&one.name), plain(one.reason.as_deref().unwrap_or("-")));
        let tries = render::count(one.failures.into(), "try");
        let next = one.next.map(|next| format!("; next {}", render::relative(next, now)));
        out.line(format_args!("{name}: {tries} failed: {reason}{}", next.unwrap_or_default()))?;
    }
    for one in channels.iter().filter(|one| one.lost > 0) {
        out.line(format_args!("{}: {} news were given up", plain(&one.name), one.lost))?;
    }
    Ok(DONE)
}

const fn state(one: &ChannelView) -> &'static str {
    match (one.failures, one.told_at.is_some(), one.waiting) {
        (1.., _, _) => "failing",
        (0, _, 1..) => "collecting",
        (0, true, 0) => "good",
        (0, false, 0) => "not used yet",
    }
}
