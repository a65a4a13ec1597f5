//! The cookie by which a client is led to the same server each time.
//!
//! It is sealed, so that it names no server to anybody and nobody makes one for himself. Where it
//! cannot be opened, or its server is gone, down or full, a server is chosen as for everybody, and
//! the client gets a cookie for that one. Whose key it is sealed under, the house decides.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use ring::digest;

use crate::base::tls;
use crate::config::Server;
use crate::vault::ticket::Context;
use crate::vault::ticket::RawTicketKey;
use crate::vault::ticket::TicketKey;

/// The key of all such cookies.
#[derive(Debug)]
pub(super) struct StickyKey(ArcSwap<TicketKey>);

/// The cookie of a site with several servers.
#[derive(Debug)]
pub(super) struct Sticky {
    name: String,
    /// What it is bound to: a cookie of one site is none of another.
    context: Context,
    /// What it says of each server, by number.
    tokens: Vec<[u8; TOKEN]>,
}

const TOKEN: usize = 16;

impl StickyKey {
    /// One that ends with the process.
    pub(super) fn passing() -> Self {
        let (mut name, mut octets) = ([0; 16], [0; 32]);
        // Without randomness nobody shakes hands either.
        let _ = tls::fill(&mut name).and_then(|()| tls::fill(&mut octets));
        Self(ArcSwap::from_pointee(TicketKey::new(name, &octets)))
    }

    /// Uses another one from now on.
    pub(super) fn change(&self, raw: &RawTicketKey) {
        if let Some(octets) = &raw.key {
            self.0.store(Arc::new(TicketKey::new(raw.name, octets)));
        }
    }
}

impl Sticky {
    pub(super) fn new(name: &str, site: &str, servers: &[Server]) -> Self {
        let token = |server: &Server| {
            let digest = digest::digest(&digest::SHA256, server.address.to_string().as_bytes());
            let mut token = [0; TOKEN];
            token.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
            token
        };
        let bound = format!("keyward sticky, {name}, {site}");
        let mut context = [0; 32];
        context.copy_from_slice(digest::digest(&digest::SHA256, bound.as_bytes()).as_ref());
        Self { name: name.to_owned(), context, tokens: servers.iter().map(token).collect() }
    }

    /// Takes the cookie out of a request, which is nobody's business but ours, and says which server
    /// it is for.
    pub(super) fn take(&self, headers: &mut HeaderMap, key: &StickyKey) -> Option<usize> {
        let value = take(headers, &self.name)?;
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let token = key.0.load().open(&self.context, &sealed)?;
        self.tokens.iter().position(|known| known.as_slice() == token.as_slice())
    }

    /// Gives a client the cookie of the server with this number.
    pub(super) fn give(&self, number: usize, headers: &mut HeaderMap, key: &StickyKey) {
        let sealed =
            self.tokens.get(number).and_then(|token| key.0.load().seal(&self.context, token));
        let Some(sealed) = sealed else { return };
        let value = URL_SAFE_NO_PAD.encode(sealed);
        let cookie = format!("{}={value}; Path=/; Secure; HttpOnly; SameSite=Lax", self.name);
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// Takes all cookies called `name` out; the value of the first.
fn take(headers: &mut HeaderMap, name: &str) -> Option<String> {
    let ours = |crumb: &str| crumb.trim().split_once('=').filter(|(n, _)| *n == name).is_some();
    let is_there = |value: &HeaderValue| value.to_str().is_ok_and(|v| v.split(';').any(ours));
    if !headers.get_all(COOKIE).iter().any(is_there) {
        return None;
    }
    let all: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    let mut found = None;
    for value in all {
        let Some(text) = value.to_str().ok().filter(|text| text.split(';').any(ours)) else {
            headers.append(COOKIE, value);
            continue;
        };
        let (mine, others): (Vec<&str>, Vec<&str>) = text.split(';').partition(|c| ours(c));
        let first = mine.first().and_then(|crumb| crumb.trim().split_once('='));
        found = found.or_else(|| first.map(|(_, value)| value.to_owned()));
        let left = others.join(";");
        if let Ok(left) = HeaderValue::from_str(left.trim())
            && !left.is_empty()
        {
            headers.append(COOKIE, left);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;

    fn servers() -> Vec<Server> {
        let at = |port: u16| Address::Http(format!("10.0.0.1:{port}").parse().unwrap());
        (1..4).map(|port| Server { address: at(port), weight: 1 }).collect()
    }

    fn with(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        headers
    }

    fn given(sticky: &Sticky, number: usize, key: &StickyKey) -> String {
        let mut headers = HeaderMap::new();
        sticky.give(number, &mut headers, key);
        let cookie = headers[SET_COOKIE].to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_leads_to_its_server_and_goes_no_further() {
        let (sticky, key) = (Sticky::new("to", "a.example", &servers()), StickyKey::passing());
        let cookie = given(&sticky, 2, &key);
        assert_ne!(cookie, given(&sticky, 2, &key), "one tells nothing by being the same");
        let mut headers = with(&[&format!("a=1; {cookie}; b=2"), "c=3"]);
        assert_eq!(sticky.take(&mut headers, &key), Some(2));
        let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(left, ["a=1; b=2", "c=3"]);
        let mut alone = with(&[&cookie]);
        assert_eq!(sticky.take(&mut alone, &key), Some(2));
        assert!(alone.is_empty());
        // The order of the servers may change.
        let mut turned = servers();
        turned.reverse();
        let turned = Sticky::new("to", "a.example", &turned);
        assert_eq!(turned.take(&mut with(&[&cookie]), &key), Some(0));
    }

    #[test]
    fn what_is_no_cookie_of_this_site_leads_nowhere() {
        let (sticky, key) = (Sticky::new("to", "a.example", &servers()), StickyKey::passing());
        let cookie = given(&sticky, 1, &key);
        let other = Sticky::new("to", "b.example", &servers());
        assert_eq!(other.take(&mut with(&[&cookie]), &key), None);
        assert_eq!(sticky.take(&mut with(&[&cookie]), &StickyKey::passing()), None);
        let gone = Sticky::new("to", "a.example", servers().get(..1).unwrap());
        assert_eq!(gone.take(&mut with(&[&cookie]), &key), None);
        let at = cookie.len() - 4;
        let altered = format!("{}AAAA", &cookie[..at]);
        for wrong in [altered.as_str(), "to=", "to=%%%", "to", "tox=1", "a=to=1"] {
            assert_eq!(sticky.take(&mut with(&[wrong]), &key), None, "{wrong}");
        }
        // What is not ours stays.
        let mut headers = with(&["tox=1; a=to=1"]);
        sticky.take(&mut headers, &key);
        assert_eq!(headers[COOKIE], "tox=1; a=to=1");
    }
}
