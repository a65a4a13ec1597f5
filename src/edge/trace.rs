//! The ids of a request, for whoever looks for it in several logs: `X-Request-Id`, and `traceparent`
//! of W3C Trace Context (Level 1, section 3.2).
//!
//! Here nobody takes part in a trace: a sound `traceparent` of a client passes as it is, and one
//! that is made begins a trace of which the origin is the first to record anything.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::base::bounds::access::REQUEST_ID;
use crate::config::RequestIds;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Octets of a `traceparent` of version 00.
const VERSION_00: usize = 55;

/// The ids of one request.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    pub(super) request: HeaderValue,
    parent: HeaderValue,
}

impl Ids {
    /// The id of the trace, in hexadecimal digits.
    pub(super) fn trace(&self) -> &[u8] {
        self.parent.as_bytes().get(3..35).unwrap_or_default()
    }
}

/// Sees to it that a request has ids when it goes on; `None` where nobody asked for that.
pub(super) fn identify(ids: RequestIds, headers: &mut HeaderMap) -> Option<Ids> {
    let keep = match ids {
        RequestIds::Off => return None,
        RequestIds::Make => false,
        RequestIds::Keep => true,
    };
    let sound = |name: &HeaderName, is_sound: fn(&[u8]) -> bool| {
        only(headers, name).filter(|value| keep && is_sound(value.as_bytes())).cloned()
    };
    let (request, parent) = (sound(&X_REQUEST_ID, is_request_id), sound(&TRACEPARENT, is_parent));
    if parent.is_none() {
        // It belongs to the parent (section 3.3.1.1).
        headers.remove(TRACESTATE);
    }
    let trace = fastrand::u128(1..);
    let parent = parent.unwrap_or_else(|| {
        // Recorded by whoever is asked next, as far as we know.
        value(&format!("00-{trace:032x}-{:016x}-01", fastrand::u64(1..)))
    });
    let request = request.unwrap_or_else(|| value(&format!("{trace:032x}")));
    headers.insert(X_REQUEST_ID, request.clone());
    headers.insert(TRACEPARENT, parent.clone());
    Some(Ids { request, parent })
}

/// The value of a field that stands there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Letters that mean nothing to a shell, a log or a page.
fn is_request_id(value: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/=:@".contains(b);
    (1..=REQUEST_ID).contains(&value.len()) && value.iter().all(plain)
}

/// Section 3.2.2; a later version may be longer, behind another dash.
fn is_parent(value: &[u8]) -> bool {
    let hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    let Some((known, rest)) = value.split_at_checked(VERSION_00) else { return false };
    let mut parts = known.split(|byte| *byte == b'-');
    let mut part = |length: usize, zero: bool| {
        parts.next().is_some_and(|part| {
            part.len() == length
                && part.iter().all(hex)
                && (zero || part.iter().any(|b| *b != b'0'))
        })
    };
    let whole = part(2, true) && part(32, false) && part(16, false) && part(2, true);
    let end = match known.get(..2) {
        Some(b"00") => rest.is_empty(),
        Some(b"ff") | None => false,
        Some(_) => rest.is_empty() || rest.starts_with(b"-"),
    };
    whole && end && rest.len() <= REQUEST_ID
}

fn value(text: &str) -> HeaderValue {
    // Digits and dashes are a field value.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn sound_ids_are_kept_where_that_is_wanted_and_only_there() {
        let fields = [("x-request-id", "abc-1"), ("traceparent", PARENT), ("tracestate", "a=b")];
        let mut kept = headers(&fields);
        let ids = identify(RequestIds::Keep, &mut kept).unwrap();
        assert_eq!(kept, headers(&fields));
        assert_eq!(ids.trace(), b"4bf92f3577b34da6a3ce929d0e0e4736");
        let mut made = headers(&fields);
        identify(RequestIds::Make, &mut made).unwrap();
        assert!(made["x-request-id"] != "abc-1" && made["traceparent"] != PARENT);
        assert!(is_parent(made["traceparent"].as_bytes()) && !made.contains_key("tracestate"));
        let mut off = headers(&fields);
        assert!(identify(RequestIds::Off, &mut off).is_none());
        assert_eq!(off, headers(&fields));
    }

    #[test]
    fn what_is_not_sound_is_replaced_and_so_is_what_came_twice() {
        for bad in ["", "a b", "a\"b", "<script>", "a;b", &"a".repeat(129)] {
            let mut map = headers(&[("x-request-id", bad)]);
            identify(RequestIds::Keep, &mut map).unwrap();
            assert_ne!(map["x-request-id"], bad, "{bad}");
        }
        let mut twice = headers(&[("x-request-id", "a"), ("x-request-id", "b")]);
        identify(RequestIds::Keep, &mut twice).unwrap();
        assert_eq!(twice.get_all("x-request-id").iter().count(), 1);
        assert_eq!(twice["x-request-id"].len(), 32);
    }

    #[test]
    fn parents_are_as_the_standard_has_them() {
        assert!(is_parent(PARENT.as_bytes()));
        assert!(is_parent(PARENT.replacen("00", "01", 1).as_bytes()));
        assert!(is_parent(format!("{}-more", PARENT.replacen("00", "cc", 1)).as_bytes()));
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert!(!is_parent(bad.as_bytes()), "{bad}");
        }
    }
}
