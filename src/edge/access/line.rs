//! How an entry looks as a line: JSON, the Common Log Format, and the combined one.
//!
//! What comes from a client cannot end a line or a value: JSON escapes it by its own rules, the
//! others write quotes, backslashes and all but printable ASCII as `\xHH`, as Apache and nginx do.

use std::io::Write as _;
use std::time::Duration;

use http::{HeaderValue, Version};

use super::Entry;
use crate::base::bounds::access::ACCESS_VALUE;
use crate::config::AccessFormat;
use crate::edge::connection::Client;
use crate::edge::facts::Facts;

/// What stands in the place of a query string.
const HIDDEN: &[u8] = b"[hidden]";

/// The second that was written last, in both forms: it is the same for many lines.
#[derive(Debug, Default)]
pub(super) struct Moment {
    second: Option<u64>,
    pub(super) common: String,
    pub(super) rfc3339: String,
}

impl Moment {
    pub(super) fn set(&mut self, second: u64) {
        if self.second == Some(second) {
            return;
        }
        let moment = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let moment = moment.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.common = moment.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string();
        self.rfc3339 = moment.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        self.second = Some(second);
    }
}

/// Appends the line of `entry`, with its end.
pub(super) fn write(
    out: &mut Vec<u8>,
    moment: &mut Moment,
    entry: &Entry,
    client: &Client,
    complete: bool,
) {
    moment.set(entry.millis / 1000);
    let peer = client.peer.as_bytes();
    let told = entry.terms.tls;
    match entry.terms.format {
        AccessFormat::Json => json(out, moment, entry, client, complete),
        AccessFormat::Common => common(out, moment, entry, peer),
        AccessFormat::Combined => {
            common(out, moment, entry, peer);
            for (value, is_url) in [(&entry.referer, true), (&entry.agent, false)] {
                out.extend_from_slice(b" \"");
                match value {
                    Some(value) if is_url => url(out, entry, value, escape),
                    Some(value) => escape(out, cut(value.as_bytes())),
                    None => out.push(b'-'),
                }
                out.push(b'"');
            }
        }
    }
    if told && entry.terms.format != AccessFormat::Json {
        let facts = client.facts.get();
        agreed(out, facts, client.name(), facts.and_then(|facts| facts.ja4.as_deref()));
    }
    out.push(b'\n');
}

/// What was agreed on in the handshake, at the end of a line of text: version, suite, name, JA4.
pub(super) fn agreed(
    out: &mut Vec<u8>,
    facts: Option<&Facts>,
    name: Option<&str>,
    ja4: Option<&str>,
) {
    let said = [facts.map(|facts| facts.version), facts.map(|facts| facts.suite), name, ja4];
    for text in said {
        out.push(b' ');
        escape(out, cut(text.unwrap_or("-").as_bytes()));
    }
}

fn common(out: &mut Vec<u8>, moment: &Moment, entry: &Entry, peer: &[u8]) {
    out.extend_from_slice(peer);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(moment.common.as_bytes());
    out.extend_from_slice(b"] \"");
    escape(out, cut(entry.method.as_str().as_bytes()));
    out.push(b' ');
    target(out, entry, escape);
    out.push(b' ');
    out.extend_from_slice(protocol(entry.version));
    // Writing into a Vec cannot fail.
    let _infallible = write!(out, "\" {} {}", entry.status(), entry.octets);
}

fn json(out: &mut Vec<u8>, moment: &Moment, entry: &Entry, client: &Client, complete: bool) {
    // Writing into a Vec cannot fail.
    let _infallible = write!(out, "{{\"time\":\"{}.{:03}Z\"", moment.rfc3339, entry.millis % 1000);
    member(out, "client", |out| quote(out, client.peer.as_bytes()));
    if let Some(site) = &entry.site {
        member(out, "site", |out| quote(out, site.name.as_bytes()));
    }
    if let Some(host) = &entry.host {
        member(out, "host", |out| quote(out, cut(host.as_bytes())));
    }
    member(out, "method", |out| quote(out, cut(entry.method.as_str().as_bytes())));
    out.extend_from_slice(b",\"target\":\"");
    target(out, entry, inside);
    out.push(b'"');
    member(out, "protocol", |out| quote(out, protocol(entry.version)));
    let micros = Duration::as_micros(&entry.started.elapsed());
    let _infallible = write!(
        out,
        ",\"status\":{},\"octets\":{},\"complete\":{complete},\"milliseconds\":{}.{:03}",
        entry.status(),
        entry.octets,
        micros / 1000,
        micros % 1000
    );
    if let Some(referer) = &entry.referer {
        out.extend_from_slice(b",\"referer\":\"");
        url(out, entry, referer, inside);
        out.push(b'"');
    }
    if let Some(agent) = &entry.agent {
        member(out, "user_agent", |out| quote(out, cut(agent.as_bytes())));
    }
    if let Some(ids) = &entry.ids {
        member(out, "request_id", |out| quote(out, ids.request.as_bytes()));
        member(out, "trace_id", |out| quote(out, ids.trace()));
    }
    if let Some(facts) = client.facts.get().filter(|_| entry.terms.tls) {
        member(out, "tls", |out| quote(out, facts.version.as_bytes()));
        member(out, "cipher", |out| quote(out, facts.suite.as_bytes()));
        if let Some(name) = client.name() {
            member(out, "sni", |out| quote(out, cut(name.as_bytes())));
        }
        if let Some(ja4) = &facts.ja4 {
            member(out, "ja4", |out| quote(out, ja4.as_bytes()));
        }
    }
    out.push(b'}');
}

pub(super) fn member(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    value(out);
}

/// The target without scheme and authority, which HTTP/2 splits off and HTTP/1 may have.
fn target(out: &mut Vec<u8>, entry: &Entry, escaped: fn(&mut Vec<u8>, &[u8])) {
    let path = match entry.uri.path() {
        "" => "/",
        path => path,
    };
    escaped(out, cut(path.as_bytes()));
    if let Some(query) = entry.uri.query() {
        out.push(b'?');
        escaped(out, if entry.terms.queries { cut(query.as_bytes()) } else { HIDDEN });
    }
}

/// A URL that a client sent as a value: its query is as private as one in the target.
fn url(out: &mut Vec<u8>, entry: &Entry, value: &HeaderValue, escaped: fn(&mut Vec<u8>, &[u8])) {
    let bytes = value.as_bytes();
    match memchr::memchr2(b'?', b'#', bytes) {
        Some(at) if !entry.terms.queries => {
            let (start, rest) = bytes.split_at(at);
            escaped(out, cut(start));
            escaped(out, rest.get(..1).unwrap_or_default());
            escaped(out, HIDDEN);
        }
        _ => escaped(out, cut(bytes)),
    }
}

const fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_09 => b"HTTP/0.9",
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        Version::HTTP_3 => b"HTTP/3.0",
        _ => b"HTTP/1.1",
    }
}

pub(super) fn cut(value: &[u8]) -> &[u8] {
    value.get(..ACCESS_VALUE).unwrap_or(value)
}

/// A text of JSON.
pub(super) fn quote(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    inside(out, value);
    out.push(b'"');
}

/// The inside of a text of JSON (RFC 8259, section 7). What is no UTF-8 is marked as such.
fn inside(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\') {
        out.extend_from_slice(value);
        return;
    }
    for character in String::from_utf8_lossy(value).chars() {
        // Writing into a Vec cannot fail.
        let _infallible = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(character))
            }
            _ => write!(out, "{character}"),
        };
    }
}

pub(super) fn escape(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        if (0x20..0x7f).contains(byte) && *byte != b'"' && *byte != b'\\' {
            out.push(*byte);
        } else {
            // Writing into a Vec cannot fail.
            let _infallible = write!(out, "\\x{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_client_ends_a_line_or_a_value() {
        let hostile: Vec<u8> = (0..=255).chain(*b"\"} \r\n{\"status\":200").collect();
        let mut out = Vec::new();
        quote(&mut out, &hostile);
        let text: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(text, String::from_utf8_lossy(&hostile));
        assert!(out.iter().all(|byte| *byte >= 0x20), "no control character is left");
        let mut out = Vec::new();
        escape(&mut out, &hostile);
        assert!(out.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'"'));
        assert!(String::from_utf8(out).unwrap().contains("\\x22} \\x0D\\x0A{\\x22status"));
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = vec![b'a'; 3 * ACCESS_VALUE];
        assert_eq!(cut(&long).len(), ACCESS_VALUE);
        assert_eq!(cut(b"short"), b"short");
    }

    #[test]
    fn moments_are_written_as_readers_of_logs_expect_them() {
        let mut moment = Moment::default();
        moment.set(951_782_400);
        assert_eq!(moment.common, "29/Feb/2000:00:00:00 +0000");
        assert_eq!(moment.rfc3339, "2000-02-29T00:00:00");
        moment.set(u64::MAX);
        assert_eq!(moment.rfc3339, "1970-01-01T00:00:00");
    }
}
