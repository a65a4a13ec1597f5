//! The line of a connection to a service that is no HTTP, in the forms that requests have.
//!
//! Where a form has a place for a request there stands what was asked for: `TCP name version`.

use std::io::Write as _;
use std::net::IpAddr;

use tokio::time::Instant;

use super::Terms;
use super::line::Moment;
use super::line::agreed;
use super::line::cut;
use super::line::escape;
use super::line::member;
use super::line::quote;
use crate::config::AccessFormat;
use crate::edge::facts::Facts;

/// A connection, from its beginning.
#[derive(Debug)]
pub(in crate::edge) struct Visit {
    terms: Terms,
    /// It is one of the sample.
    drawn: bool,
    /// When it began: milliseconds since the epoch, and by the clock that never jumps.
    millis: u64,
    started: Instant,
}

/// What became of it.
#[derive(Debug)]
pub(in crate::edge) struct Told<'a> {
    pub(in crate::edge) client: IpAddr,
    pub(in crate::edge) service: &'a str,
    pub(in crate::edge) name: Option<&'a str>,
    /// `None` where TLS was passed through.
    pub(in crate::edge) facts: Option<&'a Facts>,
    pub(in crate::edge) ja4: Option<&'a str>,
    pub(in crate::edge) received: u64,
    pub(in crate::edge) sent: u64,
    /// One word.
    pub(in crate::edge) end: &'static str,
}

impl Visit {
    pub(super) fn new(terms: Terms, drawn: bool, millis: u64) -> Self {
        Self { terms, drawn, millis, started: Instant::now() }
    }

    /// Whether there is a line of it: it is one of the sample, or was not served.
    pub(super) fn is_wanted(&self, told: &Told<'_>) -> bool {
        self.drawn || told.status() >= 500
    }
}

impl Told<'_> {
    /// In the numbers of HTTP, which readers of logs look for.
    fn status(&self) -> u16 {
        match self.end {
            "no-server" => 502,
            "silent" => 408,
            "broken" => 499,
            _ => 200,
        }
    }
}

/// Appends the line, with its end.
pub(super) fn write(out: &mut Vec<u8>, moment: &mut Moment, visit: &Visit, told: &Told<'_>) {
    moment.set(visit.millis / 1000);
    match visit.terms.format {
        AccessFormat::Json => json(out, moment, visit, told),
        AccessFormat::Common => common(out, moment, told),
        AccessFormat::Combined => {
            common(out, moment, told);
            out.extend_from_slice(b" \"-\" \"-\"");
        }
    }
    if visit.terms.tls && visit.terms.format != AccessFormat::Json {
        agreed(out, told.facts, told.name, told.ja4);
    }
    out.push(b'\n');
}

fn common(out: &mut Vec<u8>, moment: &Moment, told: &Told<'_>) {
    // Writing into a Vec cannot fail.
    let _infallible = write!(out, "{} - - [{}] \"TCP ", told.client.to_canonical(), moment.common);
    escape(out, cut(told.name.unwrap_or(told.service).as_bytes()));
    let version = told.facts.map_or("passthrough", |facts| facts.version);
    let _infallible = write!(out, " {version}\" {} {}", told.status(), told.sent);
}

fn json(out: &mut Vec<u8>, moment: &Moment, visit: &Visit, told: &Told<'_>) {
    // Writing into a Vec cannot fail.
    let _infallible = write!(
        out,
        "{{\"time\":\"{}.{:03}Z\",\"client\":\"{}\"",
        moment.rfc3339,
        visit.millis % 1000,
        told.client.to_canonical()
    );
    member(out, "service", |out| quote(out, told.service.as_bytes()));
    if let Some(name) = told.name {
        member(out, "host", |out| quote(out, cut(name.as_bytes())));
    }
    if let Some(ja4) = told.ja4 {
        member(out, "ja4", |out| quote(out, ja4.as_bytes()));
    }
    if let Some(facts) = told.facts {
        member(out, "tls", |out| quote(out, facts.version.as_bytes()));
        member(out, "cipher", |out| quote(out, facts.suite.as_bytes()));
        if let Some(alpn) = &facts.alpn {
            member(out, "alpn", |out| quote(out, alpn.as_bytes()));
        }
    }
    let micros = visit.started.elapsed().as_micros();
    let _infallible = write!(
        out,
        ",\"received\":{},\"sent\":{},\"end\":\"{}\",\"milliseconds\":{}.{:03}}}",
        told.received,
        told.sent,
        told.end,
        micros / 1000,
        micros % 1000
    );
}
