//! Answers to the CA's challenges: tokens for HTTP-01, certificates for TLS-ALPN-01.
//!
//! Both live in maps that are swapped whole, so that every worker answers as soon as
//! [`Solver::present`] returns. What is presented is withdrawn when its guard is dropped.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::tls;
use crate::cert::challenge::BoxFuture;
use crate::cert::challenge::Challenge;
use crate::cert::challenge::ChallengeType;
use crate::cert::challenge::PresentError;
use crate::cert::challenge::Presented;
use crate::cert::challenge::Solver;
use crate::cert::identifier::Identifier;

/// What is being presented.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    /// By token.
    tokens: ArcSwap<HashMap<String, Standing<String>>>,
    /// By the server name that the CA will send.
    handshakes: ArcSwap<HashMap<String, Standing<Arc<ServerConfig>>>>,
    /// Tells presentations apart, so that dropping an old one leaves its successor alone.
    serial: AtomicU64,
    https: AtomicBool,
    http: AtomicBool,
}

#[derive(Clone, Debug)]
struct Standing<T> {
    serial: u64,
    answer: T,
}

impl Challenges {
    /// Which kinds of listeners there are.
    pub(super) fn listeners(&self, https: bool, http: bool) {
        self.https.store(https, Ordering::Release);
        self.http.store(http, Ordering::Release);
    }

    /// The key authorization for `token`.
    pub(super) fn token(&self, token: &str) -> Option<String> {
        self.tokens.load().get(token).map(|standing| standing.answer.clone())
    }

    /// The configuration of a handshake under `acme-tls/1` for `server_name`.
    pub(super) fn handshake(&self, server_name: &str) -> Option<Arc<ServerConfig>> {
        let handshakes = self.handshakes.load();
        let found = handshakes.get(server_name).or_else(|| {
            handshakes.get(server_name.trim_end_matches('.').to_ascii_lowercase().as_str())
        });
        found.map(|standing| Arc::clone(&standing.answer))
    }

    fn start(self: &Arc<Self>, challenge: Challenge) -> Result<Presented, PresentError> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        match challenge {
            Challenge::Http01 { token, key_authorization, .. } => {
                if !self.http.load(Ordering::Acquire) {
                    return Err(PresentError::NoListener(ChallengeType::Http01));
                }
                let standing = Standing { serial, answer: key_authorization };
                insert(&self.tokens, &token, &standing);
                Ok(Box::new(Guard { of: Arc::clone(self), serial, place: Place::Token(token) }))
            }
            Challenge::TlsAlpn01 { name, digest } => {
                if !self.https.load(Ordering::Acquire) {
                    return Err(PresentError::NoListener(ChallengeType::TlsAlpn01));
                }
                let answer = configuration(&name, &digest)
                    .map_err(|reason| PresentError::Certificate { name: name.clone(), reason })?;
                let server_name = server_name(&name);
                insert(&self.handshakes, &server_name, &Standing { serial, answer });
                let place = Place::Handshake(server_name);
                Ok(Box::new(Guard { of: Arc::clone(self), serial, place }))
            }
        }
    }
}

/// The edge as the issuer sees it.
#[derive(Debug)]
pub(super) struct EdgeSolver(pub(super) Arc<Challenges>);

impl Solver for EdgeSolver {
    fn present(&self, challenge: Challenge) -> BoxFuture<'_, Result<Presented, PresentError>> {
        Box::pin(async move { self.0.start(challenge) })
    }
}

enum Place {
    Token(String),
    Handshake(String),
}

struct Guard {
    of: Arc<Challenges>,
    serial: u64,
    place: Place,
}

impl std::fmt::Debug for Guard {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented({})", self.serial)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        match &self.place {
            Place::Token(token) => remove(&self.of.tokens, token, self.serial),
            Place::Handshake(name) => remove(&self.of.handshakes, name, self.serial),
        }
    }
}

fn insert<T: Clone>(
    map: &ArcSwap<HashMap<String, Standing<T>>>,
    key: &str,
    standing: &Standing<T>,
) {
    map.rcu(|present| {
        let mut next = HashMap::clone(present);
        next.insert(key.to_owned(), standing.clone());
        next
    });
}

fn remove<T: Clone>(map: &ArcSwap<HashMap<String, Standing<T>>>, key: &str, serial: u64) {
    map.rcu(|present| {
        let mut next = HashMap::clone(present);
        if next.get(key).is_some_and(|standing| standing.serial == serial) {
            next.remove(key);
        }
        next
    });
}

/// The name in the CA's ClientHello: for an address, its reverse name (RFC 8738, section 6).
fn server_name(name: &Identifier) -> String {
    match name {
        Identifier::Dns(dns) | Identifier::Wildcard(dns) => dns.as_str().to_owned(),
        Identifier::Ip(IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(IpAddr::V6(v6)) => {
            let mut text = String::with_capacity(72);
            for byte in v6.octets().iter().rev() {
                // Writing to a string does not fail.
                let _ = write!(text, "{:x}.{:x}.", byte & 15, byte >> 4);
            }
            text.push_str("ip6.arpa");
            text
        }
    }
}

/// A self-signed certificate for `name` with the digest in a critical extension (RFC 8737,
/// section 3). Its key proves nothing and is thrown away with it, so it need not be in the vault.
fn configuration(name: &Identifier, digest: &[u8; 32]) -> Result<Arc<ServerConfig>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut params = rcgen::CertificateParams::new(vec![name.to_string()]).map_err(|e| text(&e))?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    let key = rcgen::KeyPair::generate().map_err(|e| text(&e))?;
    let certificate = params.self_signed(&key).map_err(|e| text(&e))?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    tls::challenge_config(certificate.der().clone(), der).map_err(|e| text(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenges() -> Arc<Challenges> {
        let challenges = Arc::new(Challenges::default());
        challenges.listeners(true, true);
        challenges
    }

    fn http(token: &str, answer: &str) -> Challenge {
        Challenge::Http01 {
            name: Identifier::parse("a.example").unwrap(),
            token: token.to_owned(),
            key_authorization: answer.to_owned(),
        }
    }

    #[test]
    fn invariant_11_what_was_presented_is_withdrawn_with_its_guard() {
        let challenges = challenges();
        let presented = challenges.start(http("t", "t.k")).unwrap();
        assert_eq!(challenges.token("t").as_deref(), Some("t.k"));
        drop(presented);
        assert_eq!(challenges.token("t"), None);
    }

    #[test]
    fn an_older_guard_leaves_its_successor_alone() {
        let challenges = challenges();
        let older = challenges.start(http("t", "one")).unwrap();
        let newer = challenges.start(http("t", "two")).unwrap();
        drop(older);
        assert_eq!(challenges.token("t").as_deref(), Some("two"));
        drop(newer);
        assert_eq!(challenges.token("t"), None);
    }

    #[test]
    fn without_a_listener_nothing_is_presented() {
        let challenges = challenges();
        challenges.listeners(true, false);
        let refused = challenges.start(http("t", "t.k")).unwrap_err();
        assert_eq!(refused, PresentError::NoListener(ChallengeType::Http01));
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        for (address, expected) in [
            ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            ),
        ] {
            assert_eq!(server_name(&Identifier::parse(address).unwrap()), expected);
        }
    }
}
